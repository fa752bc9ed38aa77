"""The grammar of topics and patterns, and matching.

A **topic** names what happened: segments joined by dots, `tui.tool.start`. A **pattern** is a topic with wildcards:
`*` stands for one segment, `**` for zero or more, anywhere. A `*` beside other characters in one segment is refused
(`b*` would look like a wildcard and match nothing).

    a.b       only a.b                a.**      a, a.b, a.b.c, …        *.start    tui.start
    a.*       a.b, not a.b.c          **        everything              a.**.z     a.z, a.b.z, a.b.c.z

Names in a topic are at most 255 bytes of UTF-8 without white space, control or format characters: they end up in log
lines, in terminals and in ZeroMQ subscriptions, where longer ones are refused.

Matching is a walk over a trie of segments that keeps the *set* of places a topic can be at (Thompson's construction,
CACM 11(6), 1968): its cost is segments × places, never exponential in the number of `**`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from fabric.protocol.names import check_characters

ONE = "*"
DEEP = "**"
MAX_BYTES = 255
#: Topics below this segment are the system's own: applications cannot publish them.
RESERVED = "fabric"
#: How a proxy tells one asker where its answer stands among the events (`proxy.events.retained`). Only who subscribes
#: to exactly
#: this gets it: it is no news for anybody else, `**` or not.
KEPT_TOPIC = "fabric.kept"

_Value = TypeVar("_Value")


def check_topic(topic: str) -> str:
    """Return `topic` if it is one. ValueError says what is wrong with it; TypeError if it is no str."""
    for segment in _segments(topic, "topic"):
        if "*" in segment:
            raise ValueError(f"topic {topic!r} has a wildcard in it: only patterns may (publish names one topic)")
    return topic


def check_pattern(pattern: str) -> str:
    """Return `pattern` if it is one. ValueError says what is wrong with it; TypeError if it is no str."""
    for segment in _segments(pattern, "pattern"):
        if "*" in segment and segment not in (ONE, DEEP):
            raise ValueError(f"pattern {pattern!r}: a wildcard must be a whole segment, '*' or '**', not {segment!r}")
    return pattern


def is_reserved(topic: str) -> bool:
    """Whether a topic belongs to the system (`fabric.…`)."""
    return topic == RESERVED or topic.startswith(RESERVED + ".")


def matches(pattern: str, topic: str) -> bool:
    """Whether `pattern` matches `topic`. Both must have been checked."""
    return bool(PatternTable[bool]().adding(pattern, True).match(topic))


def _segments(name: str, what: str) -> list[str]:
    if not isinstance(name, str):
        raise TypeError(f"a {what} is a str such as 'tui.tool.start', not {type(name).__name__}")
    if not name:
        raise ValueError(f"a {what} must not be empty")
    check_characters(name, what, MAX_BYTES)
    segments = name.split(".")
    if "" in segments:
        raise ValueError(f"{what} {name!r} has an empty segment: dots separate segments, none may stand at the ends")
    return segments


class PatternTable(Generic[_Value]):
    """Values filed under patterns, immutable: `adding` and `removing` return a new table.

    Any number of threads may read one while another makes the next. Building the next one copies the nodes on the
    pattern's path and shares the rest, so it costs as much as the widest node on that path is wide.
    """

    __slots__ = ("_children", "_deep", "_here", "size")

    def __init__(
        self,
        here: tuple[_Value, ...] = (),
        children: dict[str, PatternTable[_Value]] | None = None,
        *,
        size: int = 0,
        deep: bool = False,
    ) -> None:
        self._here = here
        self._children = children or {}
        #: Reached by `**`: once here, any further segment leaves us here.
        self._deep = deep
        #: How many values are filed in the whole table.
        self.size = size

    def adding(self, pattern: str, value: _Value) -> PatternTable[_Value]:
        """This table plus `value` under `pattern`; the same value may be filed more than once."""
        return self._changed(_collapsed(pattern), 0, value, 1)

    def removing(self, pattern: str, value: _Value) -> PatternTable[_Value]:
        """This table less one `value`, found by identity, under `pattern`. KeyError if it is not there."""
        return self._changed(_collapsed(pattern), 0, value, -1)

    def _changed(self, path: list[str], at: int, value: _Value, change: int) -> PatternTable[_Value]:
        if at == len(path):
            here = (*self._here, value) if change > 0 else self._without(value)
            return PatternTable(here, self._children, size=self.size + change, deep=self._deep)
        name = path[at]
        child: PatternTable[_Value] = self._children.get(name) or PatternTable(deep=name == DEEP)
        child = child._changed(path, at + 1, value, change)
        children = self._children.copy()
        if child.size:
            children[name] = child
        else:
            del children[name]
        return PatternTable(self._here, children, size=self.size + change, deep=self._deep)

    def _without(self, value: _Value) -> tuple[_Value, ...]:
        for index, present in enumerate(self._here):
            if present is value:
                return self._here[:index] + self._here[index + 1 :]
        raise KeyError(value)

    def match(self, topic: str) -> list[_Value]:
        """The values of all patterns that match `topic`, in no particular order."""
        # Dicts as ordered sets: two ways to one place must not deliver twice, and the walk stays repeatable.
        places: dict[PatternTable[_Value], None] = {}
        _enter(places, self)
        for segment in topic.split("."):
            following: dict[PatternTable[_Value], None] = {}
            for place in places:
                if place._deep:
                    following[place] = None
                for name in (segment, ONE):
                    if (child := place._children.get(name)) is not None:
                        _enter(following, child)
            if not following:
                return []
            places = following
        return [value for place in places for value in place._here]

    def __iter__(self) -> Iterator[_Value]:
        yield from self._here
        for child in self._children.values():
            yield from child


def _enter(places: dict[PatternTable[_Value], None], place: PatternTable[_Value]) -> None:
    """Be at `place`, and also where a `**` that stands for nothing leads from there."""
    places[place] = None
    if (deep := place._children.get(DEEP)) is not None:
        places[deep] = None


def _collapsed(pattern: str) -> list[str]:
    """The segments of `pattern`; `**.**` says no more than `**`, and is filed as one."""
    path: list[str] = []
    for segment in pattern.split("."):
        if not (segment == DEEP and path and path[-1] == DEEP):
            path.append(segment)
    return path
