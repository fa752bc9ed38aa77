"""Recovery: asks an origin for events that did not arrive, and holds the events that came after them meanwhile.

    a hole ──▸ begin ──▸ asked ──answer────▸ result      the events found, then the events held, in order
                  ▴         │ ──no answer──▸ asked again, after `RETRY_INTERVAL`
                  │         └──────────────▸ result      after `TIMEOUT`, or when too much is held: the events so far
                  └── the answer was cut: ask for the rest

A recovery concerns one origin and topic. Other topics of that origin are delivered meanwhile: recovered events are in order
per origin and topic, not across topics.

After a restart of the proxy a hole often shows before the message plane is back, or before the origin is known there
again: so an origin that is `gone` is asked again, until the deadline.

Pure: no socket, no clock; one thread uses it. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fabric.protocol.envelope import Envelope

#: Seconds that a recovery may take: nodes are back two seconds after a proxy is, and a mark shows a lost tail within two.
TIMEOUT = 5.0
#: Seconds between an answer that did not help and the next question about the same hole.
RETRY_INTERVAL = 0.1
#: Seconds that an answer may take before the question counts as lost.
ANSWER_TIMEOUT = 1.0
#: Events, and their bytes, held in all recoveries together; above that they end with the events they have.
MAX_HELD = 100_000
MAX_HELD_BYTES = 64 * 1024 * 1024
#: Holes recovered at a time; above that a hole is a gap at once. Any peer can make holes.
MAX_HOLES = 1_000

Key = tuple[bytes, str]


class Question(NamedTuple):
    """Ask the origin for the events `first` to `last`; pass the answer, or None, to `answered` with the key."""

    key: Key
    first: int
    last: int


class RecoveryResult(NamedTuple):
    """A recovery that is over: the events to judge and deliver, `(number, envelope)`, in order; None for a mark."""

    key: Key
    events: list[tuple[int, Envelope | None]]
    #: The hole that was asked about: events that are still missing in it are a gap.
    first: int
    last: int


class _Hole:
    __slots__ = ("asked_at", "deadline", "first", "found", "held", "held_bytes", "last", "next", "waiting")

    def __init__(self, first: int, last: int, now: float) -> None:
        self.first, self.last, self.next = first, last, first
        self.deadline = now + TIMEOUT
        self.asked_at = now
        self.waiting = False  # whether for an answer
        self.found: list[tuple[int, Envelope | None]] = []
        self.held: list[tuple[int, Envelope | None]] = []
        self.held_bytes = 0


class Recovery:
    """All holes of one receiver that are being recovered."""

    def __init__(
        self, *, max_held: int = MAX_HELD, max_held_bytes: int = MAX_HELD_BYTES, max_holes: int = MAX_HOLES
    ) -> None:
        self._max_held = max_held
        self._max_held_bytes = max_held_bytes
        self._max_holes = max_holes
        self._holes: dict[Key, _Hole] = {}
        #: Their origins and topics.
        self.keys = self._holes.keys()
        self._held = 0
        self._held_bytes = 0
        #: Events that were missing and came after all.
        self.recovered = 0

    def __len__(self) -> int:
        return len(self._holes)

    def stats(self) -> dict[str, int]:
        """`holes` being recovered; events `held` behind them, and their bytes."""
        return {"holes": len(self._holes), "held": self._held, "held_bytes": self._held_bytes}

    def begin(self, key: Key, first: int, last: int, now: float) -> bool:
        """Events `first` to `last` are missing. False if too many holes are being recovered."""
        if len(self._holes) >= self._max_holes:
            return False
        self._holes[key] = _Hole(first, last, now)
        return True

    def hold(self, key: Key, number: int, envelope: Envelope | None, size: int = 0) -> None:
        """Hold an event that came after the hole; its size in bytes."""
        hole = self._holes[key]
        hole.held.append((number, envelope))
        hole.held_bytes += size
        self._held += 1
        self._held_bytes += size

    def questions(self, now: float) -> list[Question]:
        """The questions to ask now."""
        asked: list[Question] = []
        for key, hole in self._holes.items():
            if hole.waiting and now - hole.asked_at >= ANSWER_TIMEOUT:
                hole.waiting = False
            if not hole.waiting and hole.asked_at <= now < hole.deadline:
                hole.waiting, hole.asked_at = True, now
                asked.append(Question(key, hole.next, hole.last))
        return asked

    def answered(self, key: Key, answer: Any, now: float) -> RecoveryResult | None:
        """The origin's answer, `{"events": [[number, envelope], …], "more": bool}`; anything else counts as no answer.

        The result if that ends the recovery.
        """
        hole = self._holes.get(key)
        if hole is None or not hole.waiting:
            return None
        hole.waiting = False
        events = _decode_answer(answer, hole.next, hole.last)
        if events is None:
            hole.asked_at = now + RETRY_INTERVAL
            return None
        hole.found += events
        if answer.get("more") is True and events and events[-1][0] < hole.last:
            hole.next = events[-1][0] + 1
            hole.asked_at = now
            return None
        return self._end(key)

    def overdue(self, now: float) -> Iterator[RecoveryResult]:
        """End the recoveries that have taken too long, and all of them while too much is held."""
        for key, hole in list(self._holes.items()):
            too_much = self._held > self._max_held or self._held_bytes > self._max_held_bytes
            if too_much or now >= hole.deadline:
                yield self._end(key)

    def forget(self, wanted: Callable[[str], object]) -> None:
        """Drop the recoveries of topics for which `wanted(topic)` is false: their subscriptions have ended."""
        for key in [key for key in self._holes if not wanted(key[1])]:
            self._pop(key)

    def next_deadline(self) -> float | None:
        """When to call `questions` and `overdue` again, at the latest; None: not before the next hole."""
        if not self._holes:
            return None
        return min(
            min(each.deadline, each.asked_at + ANSWER_TIMEOUT if each.waiting else each.asked_at)
            for each in self._holes.values()
        )

    def _end(self, key: Key) -> RecoveryResult:
        hole = self._pop(key)
        self.recovered += len(hole.found)
        return RecoveryResult(key, hole.found + hole.held, hole.first, hole.last)

    def _pop(self, key: Key) -> _Hole:
        hole = self._holes.pop(key)
        self._held -= len(hole.held)
        self._held_bytes -= hole.held_bytes
        return hole


def _decode_answer(answer: Any, first: int, last: int) -> list[tuple[int, Envelope | None]] | None:
    """The events of an answer; None if it is malformed, or has other events than asked for."""
    if not isinstance(answer, dict) or not isinstance(answer.get("events"), list):
        return None
    events: list[tuple[int, Envelope | None]] = []
    for event in answer["events"]:
        if not (isinstance(event, list) and len(event) == 2 and type(event[0]) is int and isinstance(event[1], dict)):
            return None
        if not first <= event[0] <= last:
            return None
        first = event[0] + 1
        events.append((event[0], event[1]))
    return events
