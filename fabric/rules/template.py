"""Text made of a message or an event: `"{ts:%H:%M} {color:green}{from}{reset}: {text}"`.

    {from} {to} {id}            who sent it, to which endpoint, under which id; for an event {from} is its `src`
    {name} {color:from}         the sender's name and colour in the file's [names]; without an entry {from}, and none
    {type} {topic} {channel}    see `fabric.rules.item`
    {topic.1}                   the topic's first segment; {topic.2} …
    {text}                      the body's `text`
    {body} {body.a.b} {body.0}  all of it as JSON, one field: text as it is, anything else as JSON, nothing if there is none
    {summary}                   the text, if the body has nothing else (but a type or a channel); else the body as JSON
    {message}                   the whole message (or the event's envelope) as JSON
    {ts} {ts:%H:%M}             when: unix seconds, or as strftime says, local time
    {kind} {rule}               message or event; the name of the rule
    {text:lines}                and {summary:lines} {body.a:lines}: line breaks stay, the lines after them are indented
    {color:red} {bold_red} …    {color:bold_red} {bold} {dim} {reset}: only where the output has colours, else nothing
    {{ }}                       braces

**One pass**: what a value says is never looked at again, so a text with `{from}` in it says `{from}`. **Inert**: for
people, values go through `fabric.system.terminal`, and only the template's own colours are colours. As data (`plain`)
they are what they are, and whoever shows them escapes them.

A template is checked when it is made: what it cannot mean is a ValueError then, and never when a message comes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from fabric.config.schema import similar
from fabric.rules.item import MISSING, Item, look_up
from fabric.system.terminal import safe, safe_lines

_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
COLOURS: Mapping[str, str] = {
    **{name: f"\x1b[{30 + number}m" for number, name in enumerate(_COLOURS)},
    **{f"bold_{name}": f"\x1b[1;{30 + number}m" for number, name in enumerate(_COLOURS)},
}
_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "reset": "\x1b[0m"}
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LINES = "lines"


class TemplateName(NamedTuple):
    """An entry of the file's `[names]`."""

    name: str
    color: str = ""


class Context(NamedTuple):
    """What a template is filled in with."""

    item: Item
    rule: str = ""
    names: Mapping[str, TemplateName] = {}
    #: Whether the output has colours.
    colour: bool = False


class Field(NamedTuple):
    """A placeholder: `{name:spec}`; `keys` are what follows the first dot of the name."""

    name: str
    keys: tuple[str, ...] = ()
    spec: str = ""


class Template(NamedTuple):
    """Literal texts and placeholders, in order."""

    parts: tuple[str | Field, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether it says the same of every message."""
        return all(isinstance(part, str) for part in self.parts)

    @property
    def begins_with_a_value(self) -> bool:
        """Whether what it begins with is somebody else's."""
        return bool(self.parts) and isinstance(self.parts[0], Field) and self.parts[0].name not in _MARKS


def template(text: str) -> Template:
    """`text` as a template. ValueError names what it cannot mean."""
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
    if name in _MARKS:
        return _checked_mark(field, text)
    if name not in _VALUES:
        known = ", ".join(f"{{{each}}}" for each in sorted({*_VALUES, *_MARKS}))
        raise ValueError(
            f"there is no placeholder {{{text}}}{similar(name, [*_VALUES, *_MARKS]) or f'; known are {known}'}"
        )
    if keys and (name not in ("body", "topic") or "" in keys or (name == "topic" and not _is_position(keys))):
        raise ValueError(f"{{{text}}} has no parts: those of {{body.a.b}} and {{topic.1}} do")
    if ":" in text:
        if name == "ts":
            _check_time(spec)
        elif spec != _LINES or name not in ("text", "summary", "body") or (name == "body" and not keys):
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
            f"there are {', '.join(_COLOURS)}, each also as bold_…, and {{color:from}}"
        )
    return field


def _check_time(spec: str) -> None:
    if not spec:
        raise ValueError("{ts:} says no format: {ts} are unix seconds, {ts:%H:%M} a time of day")
    try:
        said = datetime(2001, 2, 3, 4, 5, 6).strftime(spec)
        said.encode()
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{{ts:{spec}}} is no format of a time: {error}") from None


# Filling in


def shown(template: Template, context: Context, *, limit: int) -> str:
    """For people: every value escaped, at most `limit` characters of values; the template's own text is as it is."""
    said = []
    room = limit
    for part in template.parts:
        if isinstance(part, str):
            said.append(part)
        elif part.name in _MARKS:
            said.append(_mark(part, context) if context.colour else "")
        else:
            # Cut first, so that escaping a megabyte is not paid for.
            text = _text_of(part, context)
            kept = text[:room]
            room -= len(kept)
            said.append(safe_lines(kept.rstrip()) if part.spec == _LINES else safe(kept))
            if len(kept) < len(text):
                said.append(f"… (+{len(text) - len(kept):,} characters)")
    return "".join(said)


def plain(template: Template, context: Context) -> str:
    """As data: values as they are, no colours."""
    return "".join(
        part if isinstance(part, str) else "" if part.name in _MARKS else _text_of(part, context)
        for part in template.parts
    )


def value(template: Template, context: Context) -> Any:
    """As JSON: the value itself, and None if there is none, where a template is nothing but one `{body.…}`; else text."""
    if len(template.parts) == 1 and isinstance(field := template.parts[0], Field) and field.name == "body":
        found = look_up(context.item.body, field.keys)
        return None if found is MISSING else found
    return plain(template, context)


def without_controls(text: str, *, colour: bool, limit: int) -> str:
    """What a format program printed: line breaks stay, escape sequences do not, but for colours if `colour`."""
    text = text[:limit].rstrip()
    if not colour:
        return safe_lines(text, indent="")
    said = "".join(
        piece if number % 2 else safe_lines(piece, indent="") for number, piece in enumerate(_SGR.split(text))
    )
    return said + _STYLES["reset"] if "\x1b" in said else said


_SGR = re.compile(r"(\x1b\[[0-9;]{0,32}m)")


def _text_of(field: Field, context: Context) -> str:
    return _VALUES[field.name](field, context)


def _mark(field: Field, context: Context) -> str:
    if field.name != "color":
        return _STYLES[field.name]
    if field.spec == "from":
        entry = context.names.get(context.item.sender)
        return COLOURS.get(entry.color, "") if entry else ""
    return COLOURS[field.spec]


def to_text(value: Any) -> str:
    """A value as text: a string as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # what can be read may be nested deeper than what can be written; half surrogates
        return "(cannot be shown)"


def is_only_text(body: Mapping[str, Any]) -> bool:
    """Whether a body's text is all that it says."""
    return isinstance(body.get("text"), str) and body.keys() <= {"text", "type", "channel"}


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
    except (ValueError, OverflowError, OSError, UnicodeError):  # a year that the platform has no words for
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


#: Colours and the like: the template's own, and no value.
_MARKS = ("bold", "color", "dim", "reset")
_VALUES: dict[str, Callable[[Field, Context], str]] = {
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

#: Where a segment of a topic may not have what a value has in it.
_NOT_IN_A_SEGMENT = ("C", "Z")


def in_topic(template: Template, context: Context) -> str:
    """As a topic: a value is one segment of it (`{topic}` as many as it has), whatever is in it. It may still be none."""
    said = []
    for part in template.parts:
        if isinstance(part, str):
            said.append(part)
        elif part.name == "topic":
            said.append(_text_of(part, context))
        elif part.name not in _MARKS:
            said.append(_segment(_text_of(part, context)[:255]))
    return "".join(said)


def _segment(text: str) -> str:
    return "".join(
        "_" if character in ".*" or unicodedata.category(character)[0] in _NOT_IN_A_SEGMENT else character
        for character in text
    )
