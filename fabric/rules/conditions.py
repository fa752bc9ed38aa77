"""Conditions of a rule: patterns for names, and values of fields.

    a topic                    as for `subscribe`: `*` one segment, `**` zero or more (`fabric.protocol.topics`)
    any other name with dots   the same, and inside a segment `*` any characters: `worker.*-eu`
    a name without dots        `*` any characters, dots too, `?` one, `[ab]` one of these: `task_*`, `anonymous:*`
    ""                         no name

A list matches if one of its patterns does; a rule, if all its conditions do. Names are case-sensitive. The system's own
events (`fabric.…`) match only patterns that begin with `fabric`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Any, NamedTuple

from fabric.protocol.topics import DEEP, check_pattern, is_reserved
from fabric.rules.item import MISSING, Item, look_up

#: Characters. A longer name matches nothing: the fabric has none so long, and matching takes time in proportion.
MAX_NAME = 1_024

#: The keys of a rule that are conditions on names.
NAMES = ("type", "from", "to", "topic", "channel")


class ValuePattern(NamedTuple):
    """A compiled pattern."""

    text: str
    #: Compiled segments, None for `**`.
    segments: tuple[re.Pattern[str] | None, ...]
    #: Whether it matches segment by segment.
    dotted: bool

    def matches(self, name: str) -> bool:
        """Whether it matches the whole of `name`."""
        if not self.text or not name:
            return self.text == name
        if len(name) > MAX_NAME:
            return False
        if not self.dotted:
            only = self.segments[0]
            return only is None or only.match(name) is not None
        return _walk(self.segments, name.split("."))


def _walk(pattern: tuple[re.Pattern[str] | None, ...], name: list[str]) -> bool:
    """Runs the pattern as an automaton with one state a segment (as `fabric.protocol.topics` does): it keeps the set of
    states that the name can be in, so the time is never exponential in the number of `**`.
    """
    states = _closure(pattern, {0})
    for segment in name:
        following = set()
        for state in states:
            if state == len(pattern):
                continue
            expected = pattern[state]
            if expected is None:
                following.add(state)
            elif expected.match(segment):
                following.add(state + 1)
        states = _closure(pattern, following)
        if not states:
            return False
    return len(pattern) in states


def _closure(pattern: tuple[re.Pattern[str] | None, ...], states: set[int]) -> set[int]:
    """`states`, and those reached from them by a `**` that matches no segment."""
    found = set(states)
    for state in states:
        while state < len(pattern) and pattern[state] is None:
            state += 1
            found.add(state)
    return found


def pattern(text: str, field: str) -> ValuePattern:
    """`text` as a pattern for the key `field` of a rule. ValueError if it is none."""
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
    #: Alternatives: a pattern for a text, else the value itself.
    values: tuple[Any, ...]

    def matches(self, item: Item) -> bool:
        """Whether the field has one of the values. A missing field matches the empty pattern only."""
        found = look_up({**item.source, "body": item.body}, self.keys)
        return any(_is(found, value) for value in self.values)


def _is(found: Any, value: Any) -> bool:
    if isinstance(value, ValuePattern):
        if found is MISSING:
            return value.text == ""
        return isinstance(found, str) and value.matches(found)
    # In Python True equals 1, in JSON it does not.
    return found is not MISSING and isinstance(found, bool) == isinstance(value, bool) and bool(found == value)


class Conditions(NamedTuple):
    """All conditions of a rule: patterns by key, of which one must match, and values of fields."""

    names: tuple[tuple[str, tuple[ValuePattern, ...]], ...] = ()
    where: tuple[FieldCondition, ...] = ()

    def match(self, item: Item) -> bool:
        """Whether all of them match."""
        for key, patterns in self.names:
            name: str = _FIELDS[key](item)
            if key == "topic" and item.kind == "event" and is_reserved(name):
                # `**` means all events of applications, not nodes that join and leave.
                patterns = tuple(each for each in patterns if is_reserved(each.text))
            if not any(each.matches(name) for each in patterns):
                return False
        return all(each.matches(item) for each in self.where)

    def patterns(self, key: str) -> tuple[str, ...]:
        """The patterns for that key, as written."""
        return tuple(each.text for name, patterns in self.names if name == key for each in patterns)


_FIELDS: dict[str, Callable[[Item], str]] = {
    "type": lambda item: item.type,
    "from": lambda item: item.sender,
    "to": lambda item: item.to,
    "topic": lambda item: item.topic,
    "channel": lambda item: item.channel,
}
