"""Grammar of templates: `"{ts:%H:%M} {color:green}{from}{reset}: {text}"` → literals and placeholders.

    {from} {to} {id}            sender, receiving endpoint, id of the message; for an event {from} is its `src`
    {name} {color:from}         the sender's name and colour in the file's [names]; without an entry {from}, and none
    {type} {topic} {channel}    see `fabric.rules.item`
    {topic.1}                   the topic's first segment; {topic.2} …
    {text}                      the body's `text`
    {body} {body.a.b} {body.0}  all of it as JSON, one field: text as it is, anything else as JSON, nothing if there is none
    {summary}                   the text, if the body has nothing else (but a type or a channel); else the body as JSON
    {message}                   the whole message (or the event's envelope) as JSON
    {ts} {ts:%H:%M}             time: unix seconds, or a strftime format, local time
    {kind} {rule}               message or event; the name of the rule
    {text:lines}                and {summary:lines} {body.a:lines}: line breaks stay, the lines after them are indented
    {color:red} {bold_red} …    {color:bold_red} {bold} {dim} {reset}: only where the output has colours, else nothing
    {{ }}                       braces

A template is checked when it is made: a mistake is a ValueError then, and never when a message arrives.
`fabric.rules.fill` fills in the placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from fabric.config.schema import similar

COLOUR_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
#: Name → escape sequence.
COLOURS: Mapping[str, str] = {
    **{name: f"\x1b[{30 + number}m" for number, name in enumerate(COLOUR_NAMES)},
    **{f"bold_{name}": f"\x1b[1;{30 + number}m" for number, name in enumerate(COLOUR_NAMES)},
}
#: Placeholders that stand for a value of the message.
VALUES = (
    "from", "to", "id", "name", "type", "topic", "channel", "text", "body", "summary", "message", "ts", "kind", "rule",
)  # fmt: skip
#: Placeholders that stand for colours and the like: part of the template, no value.
MARKS = ("bold", "color", "dim", "reset")
#: Spec that keeps line breaks.
LINES = "lines"

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class TemplateName(NamedTuple):
    """An entry of the file's `[names]`."""

    name: str
    color: str = ""


class Field(NamedTuple):
    """A placeholder: `{name:spec}`; `keys` are the parts of the name after its first dot."""

    name: str
    keys: tuple[str, ...] = ()
    spec: str = ""

    def __str__(self) -> str:
        return "{" + ".".join((self.name, *self.keys)) + (f":{self.spec}" if self.spec else "") + "}"


class Template(NamedTuple):
    """Literal texts and placeholders, in order. As a str: the text it was made of, with single braces for doubled ones."""

    parts: tuple[str | Field, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether it has no placeholder."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def begins_with_a_value(self) -> bool:
        """Whether its first character is part of a message."""
        return bool(self.parts) and isinstance(self.parts[0], Field) and self.parts[0].name not in MARKS

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


def template(text: str) -> Template:
    """`text` as a template. ValueError names the first mistake."""
    parts: list[str | Field] = []
    literal = ""
    at = 0
    for match in _TOKEN.finditer(text):
        literal += text[at : match.start()]
        at = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
            continue
        if match[1] is None:
            raise ValueError(f"a single {match[0]!r}: placeholders are {{name}}, a brace itself is written twice")
        if literal:
            parts.append(literal)
        parts.append(_field(match[1]))
        literal = ""
    literal += text[at:]
    return Template((*parts, literal) if literal else tuple(parts))


def _field(text: str) -> Field:
    whole, _, spec = text.partition(":")
    name, *keys = whole.split(".")
    field = Field(name, tuple(keys), spec)
    if name in MARKS:
        return _checked_mark(field, text)
    if name not in VALUES:
        known = ", ".join(f"{{{each}}}" for each in sorted({*VALUES, *MARKS}))
        raise ValueError(
            f"there is no placeholder {{{text}}}{similar(name, [*VALUES, *MARKS]) or f'; known are {known}'}"
        )
    if keys and (name not in ("body", "topic") or "" in keys or (name == "topic" and not _is_position(keys))):
        raise ValueError(f"{{{text}}} has no parts: those of {{body.a.b}} and {{topic.1}} do")
    if ":" in text:
        if name == "ts":
            _check_time(spec)
        elif spec != LINES or name not in ("text", "summary", "body") or (name == "body" and not keys):
            raise ValueError(f"{{{text}}}: nothing like that can follow the colon here")
    return field


def _is_position(keys: list[str]) -> bool:
    return len(keys) == 1 and keys[0].isdecimal() and keys[0].isascii() and 0 < int(keys[0]) < 1_000


def _checked_mark(field: Field, text: str) -> Field:
    if field.keys or (field.name != "color" and field.spec):
        raise ValueError(f"{{{text}}}: nothing can follow {field.name!r} here")
    if field.name == "color" and field.spec != "from" and field.spec not in COLOURS:
        raise ValueError(
            f"there is no colour {field.spec!r}{similar(field.spec, list(COLOURS))}; "
            f"there are {', '.join(COLOUR_NAMES)}, each also as bold_…, and {{color:from}}"
        )
    return field


def _check_time(spec: str) -> None:
    if not spec:
        raise ValueError("{ts:} says no format: {ts} are unix seconds, {ts:%H:%M} a time of day")
    try:
        datetime(2001, 2, 3, 4, 5, 6).strftime(spec).encode()
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{{ts:{spec}}} is no format of a time: {error}") from None
