"""Templates filled in with a message or an event: for people, as data, as JSON, as a topic.

    shown       values escaped (`fabric.system.terminal`), colours if the output has them       lines, arguments
    plain       values as they are, no colours                                                  variables, names
    value       the value itself where a template is one `{body.…}`                             payloads
    in_topic    each value one segment                                                          topics

**One pass**: values are never searched for placeholders, so a text with `{from}` in it stays `{from}`. **Inert**: for
people, only the template's own colours are colours. Data is escaped where it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from fabric.protocol.topics import MAX_BYTES
from fabric.rules.item import MISSING, Item, look_up
from fabric.rules.template import COLOURS, LINES, MARKS, Field, Template, TemplateName
from fabric.system.terminal import safe, safe_lines

_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "reset": "\x1b[0m"}
#: A colour or style of a terminal.
_COLOUR_SEQUENCE = re.compile(r"(\x1b\[[0-9;]{0,32}m)")
#: Unicode categories of characters that a topic segment may not have: controls and the like, white space.
_NOT_IN_A_SEGMENT = ("C", "Z")


class Context(NamedTuple):
    """The item, rule and names that a template is filled in with."""

    item: Item
    rule: str = ""
    names: Mapping[str, TemplateName] = {}
    #: Whether the output has colours.
    colour: bool = False


def shown(template: Template, context: Context, *, limit: int) -> str:
    """For people: values escaped, and at most `limit` characters of them; literals of the template as they are."""
    texts = []
    left = limit
    for part in template.parts:
        if isinstance(part, str):
            texts.append(part)
        elif part.name in MARKS:
            texts.append(_mark(part, context) if context.colour else "")
        else:
            # Cut first: a megabyte need not be escaped.
            text = _text_of(part, context)
            kept = text[:left]
            left -= len(kept)
            texts.append(safe_lines(kept.rstrip()) if part.spec == LINES else safe(kept))
            if len(kept) < len(text):
                texts.append(f"… (+{len(text) - len(kept):,} characters)")
    return "".join(texts)


def plain(template: Template, context: Context) -> str:
    """As data: values as they are, no colours."""
    return "".join(
        part if isinstance(part, str) else "" if part.name in MARKS else _text_of(part, context)
        for part in template.parts
    )


def value(template: Template, context: Context) -> Any:
    """As JSON: where a template is nothing but one `{body.…}` the value itself, None if there is none; else text."""
    if len(template.parts) == 1 and isinstance(field := template.parts[0], Field) and field.name == "body":
        found = look_up(context.item.body, field.keys)
        return None if found is MISSING else found
    return plain(template, context)


def in_topic(template: Template, context: Context) -> str:
    """As a topic: each value is one segment, `{topic}` as many as it has. It may still be no valid topic (too long)."""
    texts = []
    for part in template.parts:
        if isinstance(part, str):
            texts.append(part)
        elif part.name == "topic":
            texts.append(_text_of(part, context))
        elif part.name not in MARKS:
            texts.append(_segment(_text_of(part, context)[:MAX_BYTES]))
    return "".join(texts)


def without_controls(text: str, *, colour: bool, limit: int) -> str:
    """The output of a format program: line breaks stay; escape sequences do not, except colours if `colour`."""
    text = text[:limit].rstrip()
    if not colour:
        return safe_lines(text, indent="")
    shown = "".join(
        piece if number % 2 else safe_lines(piece, indent="")
        for number, piece in enumerate(_COLOUR_SEQUENCE.split(text))
    )
    return shown + _STYLES["reset"] if "\x1b" in shown else shown


def to_text(value: Any) -> str:
    """A value as text: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # nested deeper than orjson writes, which is less than it reads; or half surrogates
        return "(cannot be shown)"


def is_only_text(body: Mapping[str, Any]) -> bool:
    """Whether a body has a text and nothing else but type and channel."""
    return isinstance(body.get("text"), str) and body.keys() <= {"text", "type", "channel"}


def _segment(text: str) -> str:
    return "".join(
        "_" if character in ".*" or unicodedata.category(character)[0] in _NOT_IN_A_SEGMENT else character
        for character in text
    )


# Placeholders


def _mark(field: Field, context: Context) -> str:
    if field.name != "color":
        return _STYLES[field.name]
    if field.spec == "from":
        entry = context.names.get(context.item.sender)
        return COLOURS.get(entry.color, "") if entry else ""
    return COLOURS[field.spec]


def _text_of(field: Field, context: Context) -> str:
    return _TEXTS[field.name](field, context)


def _name(field: Field, context: Context) -> str:
    entry = context.names.get(context.item.sender)
    return entry.name if entry else context.item.sender


def _time(field: Field, context: Context) -> str:
    ts = context.item.ts
    if ts is None:
        return ""
    if not field.spec:
        return str(int(ts))
    try:
        return datetime.fromtimestamp(ts).strftime(field.spec)
    except (ValueError, OverflowError, OSError, UnicodeError):  # a year that the platform cannot format
        return ""


def _body(field: Field, context: Context) -> str:
    found = look_up(context.item.body, field.keys)
    return "" if found is MISSING else to_text(found)


def _topic(field: Field, context: Context) -> str:
    if not field.keys:
        return context.item.topic
    segments = context.item.topic.split(".")
    number = int(field.keys[0])
    return segments[number - 1] if number <= len(segments) else ""


def _summary(field: Field, context: Context) -> str:
    body = context.item.body
    return context.item.text if is_only_text(body) else to_text(body)


#: Text of each placeholder of `fabric.rules.template.VALUES`.
_TEXTS: dict[str, Callable[[Field, Context], str]] = {
    "from": lambda _, context: context.item.sender,
    "to": lambda _, context: context.item.to,
    "id": lambda _, context: context.item.id,
    "name": _name,
    "type": lambda _, context: context.item.type,
    "topic": _topic,
    "channel": lambda _, context: context.item.channel,
    "text": lambda _, context: context.item.text,
    "body": _body,
    "summary": _summary,
    "message": lambda _, context: to_text(context.item.source),
    "ts": _time,
    "kind": lambda _, context: context.item.kind,
    "rule": lambda _, context: context.rule,
}
