"""Templates of webhooks, texts and JSON: `{"msgtype": "text", "text": {"content": "{text}"}}`.

    {text} {chat} {channel} {platform} {id} {attempt}        of the delivery
    {{ }}                                                    braces
    ${NAME}                                                  of the environment, when it is read: for secrets

One pass: a value is never searched for placeholders. A mistake is a ValueError when the template is read, and never when
a text is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fabric.config.schema import similar
from fabric.routes.model import Delivery

FIELDS = ("text", "chat", "channel", "platform", "id", "attempt")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def with_variables(text: str, environment: Mapping[str, str]) -> str:
    """`text` with each `${NAME}` replaced. ValueError if there is no such variable."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in environment:
            raise ValueError(f"${{{name}}} is not set in the environment")
        return environment[name]

    return _VARIABLE.sub(value, text)


def checked(template: Any, environment: Mapping[str, str]) -> Any:
    """A JSON value whose texts are templates, checked, with its variables filled in. ValueError for a mistake."""
    if isinstance(template, str):
        # Values of variables are escaped: a secret may contain braces.
        parts = [_checked(part) if number % 2 == 0 else part for number, part in enumerate(_VARIABLE.split(template))]
        return _Text(
            part if number % 2 == 0 else _escaped(with_variables(f"${{{part}}}", environment))
            for number, part in enumerate(parts)
        )
    if isinstance(template, Mapping):
        return {str(key): checked(value, environment) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [checked(value, environment) for value in template]
    return template


def filled(template: Any, delivery: Delivery) -> Any:
    """Fill in a value that `checked` returned."""
    if isinstance(template, _Text):
        return template.fill(delivery)
    if isinstance(template, dict):
        return {key: filled(value, delivery) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, delivery) for value in template]
    return template


class _Text:
    """A checked text. Only its texts are filled in, not keys of tables."""

    def __init__(self, parts: Any) -> None:
        self._text = "".join(parts)

    def fill(self, delivery: Delivery) -> str:
        def value(found: re.Match[str]) -> str:
            return found[0][0] if found[1] is None else str(getattr(delivery, found[1]))

        return _TOKEN.sub(value, self._text)


def _checked(text: str) -> str:
    for found in _TOKEN.finditer(text):
        if found[0] in ("{{", "}}"):
            continue
        if found[1] is None:
            raise ValueError(f"a single {found[0]!r}: write {found[0] * 2} for a brace")
        if found[1] not in FIELDS:
            hint = similar(found[1], FIELDS) or f"; there are {', '.join(FIELDS)}"
            raise ValueError(f"there is no {{{found[1]}}}{hint}")
    return text


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
