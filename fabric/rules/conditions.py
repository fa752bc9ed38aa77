"""What a rule matches: patterns for names, and values of fields.

    a topic                    as for `subscribe`: `*` one segment, `**` zero or more (`fabric.protocol.topics`)
    any other name with dots   the same, and inside a segment `*` any characters: `worker.*-eu`
    a name without dots        `*` any characters, dots too, `?` one, `[ab]` one of these: `task_*`, `anonymous:*`
    ""                         where there is none

A list matches if one of its patterns does; a rule, if all its conditions do. Names are matched exactly, case and all.
The system's own events (`fabric.…`) match only patterns that begin with `fabric`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Any, NamedTuple

from fabric.protocol.topics import DEEP, check_pattern, is_reserved
from fabric.rules.item import MISSING, Item, look_up

#: A name that is longer matches nothing: it is none of ours, and matching takes as long as it is.
MAX_NAME = 1_024


#: The keys of a rule that are conditions on names.
NAMES = ("type", "from", "to", "topic", "channel")


class ValuePattern(NamedTuple):
    """One of the above, ready to match."""

    text: str
    #: Compiled segments, None for `**`.
    segments: tuple[re.Pattern[str] | None, ...]
    #: Whether a name is taken segment by segment.
    dotted: bool

    def matches(self, name: str) -> bool:
        """Whether `name` is one that it means."""
        if not self.text or not name:
            return self.text == name
        if len(name) > MAX_NAME:
            return False
        if not self.dotted:
            only = self.segments[0]
            return only is None or only.match(name) is not None
        return _walk(self.segments, name.split("."))


def _walk(pattern: tuple[re.Pattern[str] | None, ...], name: list[str]) -> bool:
    """Keeps the set of places that the name can be at (as `fabric.protocol.topics`): never exponential in the number of
    `**`.
    """
    places = _entered(pattern, {0})
    for segment in name:
        following = set()
        for place in places:
            if place == len(pattern):
                continue
            one = pattern[place]
            if one is None:
                following.add(place)
            elif one.match(segment):
                following.add(place + 1)
        places = _entered(pattern, following)
        if not places:
            return False
    return len(pattern) in places


def _entered(pattern: tuple[re.Pattern[str] | None, ...], places: set[int]) -> set[int]:
    """`places`, and where a `**` that stands for nothing leads from there."""
    found = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] is None:
            place += 1
            found.add(place)
    return found


def pattern(text: str, field: str) -> ValuePattern:
    """`text` as a pattern for that key of a rule. ValueError if it can be none."""
    if field == "topic" and text:
        check_pattern(text)
    dotted = field == "topic" or "." in text
    segments = text.split(".") if dotted else [text]
    if dotted and text and "" in segments:
        raise ValueError(f"pattern {text!r} has an empty segment: dots separate segments, none may stand at the ends")
    if len(text) > MAX_NAME:
        raise ValueError(f"a pattern of {len(text)} characters: {MAX_NAME} are allowed")
    return ValuePattern(text, tuple(None if each == DEEP else re.compile(translate(each)) for each in segments), dotted)


class FieldCondition(NamedTuple):
    """A condition on the value of one field: `body.job` is 7."""

    text: str
    keys: tuple[str, ...]
    #: One of these: a pattern for a text, else the value itself.
    values: tuple[Any, ...]

    def matches(self, item: Item) -> bool:
        """Whether the field has one of the values."""
        found = look_up({**item.source, "body": item.body}, self.keys)
        return any(_is(found, value) for value in self.values)


def _is(found: Any, value: Any) -> bool:
    if isinstance(value, ValuePattern):
        if found is MISSING:
            return value.text == ""
        return isinstance(found, str) and value.matches(found)
    # True is 1 in Python, and not in JSON.
    return found is not MISSING and isinstance(found, bool) == isinstance(value, bool) and bool(found == value)


class Conditions(NamedTuple):
    """All of a rule's: key → patterns, of which one must match; and fields' values."""

    names: tuple[tuple[str, tuple[ValuePattern, ...]], ...] = ()
    where: tuple[FieldCondition, ...] = ()

    def match(self, item: Item) -> bool:
        """Whether every one of them is met."""
        for key, patterns in self.names:
            name: str = _FIELDS[key](item)
            if key == "topic" and item.kind == "event" and is_reserved(name):
                # Whoever asks for everything wants what applications say, not who joins and leaves.
                patterns = tuple(each for each in patterns if is_reserved(each.text))
            if not any(each.matches(name) for each in patterns):
                return False
        return all(each.matches(item) for each in self.where)

    def patterns(self, key: str) -> tuple[str, ...]:
        """The patterns for that key, as they were written."""
        return tuple(each.text for name, patterns in self.names if name == key for each in patterns)


_FIELDS: dict[str, Callable[[Item], str]] = {
    "type": lambda item: item.type,
    "from": lambda item: item.sender,
    "to": lambda item: item.to,
    "topic": lambda item: item.topic,
    "channel": lambda item: item.channel,
}
