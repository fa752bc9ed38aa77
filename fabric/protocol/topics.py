"""The grammar of topics and patterns, and matching.

A **topic** is the name of a kind of event: segments joined by dots, `tui.tool.start`. A **pattern** is a topic with
wildcards: `*` stands for one segment, `**` for zero or more, anywhere. A `*` beside other characters in one segment is
refused (`b*` would look like a wildcard and match nothing).

    a.b       only a.b                a.**      a, a.b, a.b.c, …        *.start    tui.start
    a.*       a.b, not a.b.c          **        everything              a.**.z     a.z, a.b.z, a.b.c.z

Topics are at most 255 bytes of UTF-8 (the proxy refuses longer ZeroMQ subscriptions), with the characters of a name (see
`fabric.protocol.names`).

Matching walks a trie of segments and keeps the *set* of nodes that a prefix of the topic can have reached (Thompson's
construction, CACM 11(6), 1968): its cost is segments × nodes, never exponential in the number of `**`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from fabric.protocol.names import check_characters

ONE = "*"
DEEP = "**"
MAX_BYTES = 255
#: First segment of the system's own topics. Applications cannot publish them.
RESERVED = "fabric"
#: Topic of the marks by which a proxy tells one node where its page of retained events stands among the live events
#: (`proxy.events.retained`). Only a subscription to exactly this topic gets them; wildcards, `**` included, do not match.
KEPT_TOPIC = "fabric.kept"

_Value = TypeVar("_Value")


def check_topic(topic: str) -> str:
    """Return `topic` if it is valid. ValueError says why not; TypeError if it is no str."""
    for segment in _segments(topic, "topic"):
        if "*" in segment:
            raise ValueError(f"topic {topic!r} has a wildcard in it: only patterns may (publish names one topic)")
    return topic


def check_pattern(pattern: str) -> str:
    """Return `pattern` if it is valid. ValueError says why not; TypeError if it is no str."""
    for segment in _segments(pattern, "pattern"):
        if "*" in segment and segment not in (ONE, DEEP):
            raise ValueError(f"pattern {pattern!r}: a wildcard must be a whole segment, '*' or '**', not {segment!r}")
    return pattern


def is_reserved(topic: str) -> bool:
    """Whether a topic is one of the system's own (`fabric.…`)."""
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
    """An immutable map from patterns to values, with several values a pattern: a trie of segments.

    `adding` and `removing` return a new table. Any number of threads may read a table while another thread makes the next.
    Making the next table copies the nodes on the pattern's path and shares the rest: its cost is the number of children of
    the widest node on that path.
    """

    __slots__ = ("_children", "_deep", "_values", "size")

    def __init__(
        self,
        values: tuple[_Value, ...] = (),
        children: dict[str, PatternTable[_Value]] | None = None,
        *,
        size: int = 0,
        deep: bool = False,
    ) -> None:
        self._values = values
        self._children = children or {}
        #: Reached by `**`: any further segment of the topic stays at this node.
        self._deep = deep
        #: Number of values in this node and below.
        self.size = size

    def adding(self, pattern: str, value: _Value) -> PatternTable[_Value]:
        """This table plus `value` under `pattern`. The same value may be added more than once."""
        return self._changed(_collapsed(pattern), 0, value, 1)

    def removing(self, pattern: str, value: _Value) -> PatternTable[_Value]:
        """This table without one `value`, compared by identity, under `pattern`. KeyError if it is not there."""
        return self._changed(_collapsed(pattern), 0, value, -1)

    def _changed(self, path: list[str], at: int, value: _Value, change: int) -> PatternTable[_Value]:
        if at == len(path):
            values = (*self._values, value) if change > 0 else self._without(value)
            return PatternTable(values, self._children, size=self.size + change, deep=self._deep)
        name = path[at]
        child: PatternTable[_Value] = self._children.get(name) or PatternTable(deep=name == DEEP)
        child = child._changed(path, at + 1, value, change)
        children = self._children.copy()
        if child.size:
            children[name] = child
        else:
            del children[name]
        return PatternTable(self._values, children, size=self.size + change, deep=self._deep)

    def _without(self, value: _Value) -> tuple[_Value, ...]:
        for index, present in enumerate(self._values):
            if present is value:
                return self._values[:index] + self._values[index + 1 :]
        raise KeyError(value)

    def match(self, topic: str) -> list[_Value]:
        """The values of all patterns that match `topic`, in no particular order."""
        # Dicts as ordered sets: two paths to one node must not deliver twice, and the order of the walk is repeatable.
        nodes: dict[PatternTable[_Value], None] = {}
        _enter(nodes, self)
        for segment in topic.split("."):
            following: dict[PatternTable[_Value], None] = {}
            for node in nodes:
                if node._deep:
                    following[node] = None
                for name in (segment, ONE):
                    if (child := node._children.get(name)) is not None:
                        _enter(following, child)
            if not following:
                return []
            nodes = following
        return [value for node in nodes for value in node._values]

    def __iter__(self) -> Iterator[_Value]:
        yield from self._values
        for child in self._children.values():
            yield from child


def _enter(nodes: dict[PatternTable[_Value], None], node: PatternTable[_Value]) -> None:
    """Add `node`, and its child `**`, which may stand for no segment."""
    nodes[node] = None
    if (deep := node._children.get(DEEP)) is not None:
        nodes[deep] = None


def _collapsed(pattern: str) -> list[str]:
    """The segments of `pattern`, with `**.**`, which matches the same topics as `**`, as one."""
    path: list[str] = []
    for segment in pattern.split("."):
        if not (segment == DEEP and path and path[-1] == DEEP):
            path.append(segment)
    return path
