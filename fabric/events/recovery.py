"""Asking an origin for what did not arrive, and holding back what came after it meanwhile.

    a hole ──▸ begin ──▸ asked ──answer──▸ done      what was found, then what was held, in order
                  ▴         │ ──no answer──▸ asked again, after `AGAIN`
                  │         └──────▸ done            past the deadline, or too much is held: with what there is
                  └── the answer was cut: ask for the rest

One recovery is about one origin and topic. Other topics of that origin go on meanwhile: what is recovered is in order per
origin and topic, not across topics.

After a restart of the proxy the hole is often seen before the message plane is back, or before the origin is known there
again: so an origin that is `gone` is asked again, until the deadline.

Pure: no socket, no clock; one thread uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fabric.protocol.envelope import Envelope

#: Seconds that a recovery may take: nodes are back two seconds after a proxy is, and a lost tail is noticed within two.
PATIENCE = 5.0
#: Seconds between two questions about one hole.
AGAIN = 0.1
#: Seconds that an answer may take before the question counts as lost.
ANSWER_TIMEOUT = 1.0
#: Events, and bytes of them, held back over all recoveries; past it they end with what they have.
HELD = 100_000
HELD_BYTES = 64 * 1024 * 1024
#: Holes recovered at a time. Anybody can make holes; past it they are gaps at once.
MOST = 1_000

Key = tuple[bytes, str]


class Question(NamedTuple):
    """To be asked of `origin`; the answer, or None, is handed to `answered` with the key."""

    key: Key
    first: int
    last: int


class Done(NamedTuple):
    """A recovery that is over: what to judge and deliver, `(number, envelope)`, None for a mark, in order."""

    key: Key
    events: list[tuple[int, Envelope | None]]
    #: The hole that was asked about: what is missing in it now is a gap.
    first: int
    last: int


class _Pending:
    __slots__ = ("asked_at", "deadline", "first", "found", "held", "held_bytes", "last", "next", "waiting")

    def __init__(self, first: int, last: int, now: float) -> None:
        self.first, self.last, self.next = first, last, first
        self.deadline = now + PATIENCE
        self.asked_at = now
        self.waiting = False  # for an answer
        self.found: list[tuple[int, Envelope | None]] = []
        self.held: list[tuple[int, Envelope | None]] = []
        self.held_bytes = 0


class Recovery:
    """All holes of one receiver that are being recovered."""

    def __init__(self) -> None:
        self._pending: dict[Key, _Pending] = {}
        #: Their origins and topics.
        self.keys = self._pending.keys()
        self._held = 0
        self._held_bytes = 0
        #: Events that were missing and came after all.
        self.recovered = 0

    def __len__(self) -> int:
        return len(self._pending)

    def stats(self) -> dict[str, int]:
        """`holes` being recovered; events `held` behind them, and their bytes."""
        return {"holes": len(self._pending), "held": self._held, "held_bytes": self._held_bytes}

    def begin(self, key: Key, first: int, last: int, now: float) -> bool:
        """Events `first` to `last` are missing. False if too many holes are being recovered."""
        if len(self._pending) >= MOST:
            return False
        self._pending[key] = _Pending(first, last, now)
        return True

    def hold(self, key: Key, number: int, envelope: Envelope | None, size: int = 0) -> None:
        """What came after it; `size` in bytes."""
        pending = self._pending[key]
        pending.held.append((number, envelope))
        pending.held_bytes += size
        self._held += 1
        self._held_bytes += size

    def questions(self, now: float) -> list[Question]:
        """What to ask now."""
        asked: list[Question] = []
        for key, pending in self._pending.items():
            if pending.waiting and now - pending.asked_at >= ANSWER_TIMEOUT:
                pending.waiting = False
            if not pending.waiting and pending.asked_at <= now < pending.deadline:
                pending.waiting, pending.asked_at = True, now
                asked.append(Question(key, pending.next, pending.last))
        return asked

    def answered(self, key: Key, answer: Any, now: float) -> Done | None:
        """What the origin said, `{"events": [[number, envelope], …], "more": bool}`; None or anything else: nothing."""
        pending = self._pending.get(key)
        if pending is None or not pending.waiting:
            return None
        pending.waiting = False
        events = _read(answer, pending.next, pending.last)
        if events is None:
            pending.asked_at = now + AGAIN
            return None
        pending.found += events
        if answer.get("more") is True and events and events[-1][0] < pending.last:
            pending.next = events[-1][0] + 1
            pending.asked_at = now
            return None
        return self._end(key)

    def overdue(self, now: float) -> Iterator[Done]:
        """Those that have taken too long, or hold too much."""
        for key, pending in list(self._pending.items()):
            if now >= pending.deadline or self._held > HELD or self._held_bytes > HELD_BYTES:
                yield self._end(key)

    def forget(self, wanted: Callable[[str], object]) -> None:
        """Drop those of topics for which `wanted(topic)` is false: nobody listens any more."""
        for key in [key for key in self._pending if not wanted(key[1])]:
            self._pop(key)

    def next_deadline(self) -> float | None:
        """When `questions` or `overdue` has something to say, at the latest."""
        if not self._pending:
            return None
        return min(
            min(each.deadline, each.asked_at + ANSWER_TIMEOUT if each.waiting else each.asked_at)
            for each in self._pending.values()
        )

    def _end(self, key: Key) -> Done:
        pending = self._pop(key)
        self.recovered += len(pending.found)
        return Done(key, pending.found + pending.held, pending.first, pending.last)

    def _pop(self, key: Key) -> _Pending:
        pending = self._pending.pop(key)
        self._held -= len(pending.held)
        self._held_bytes -= pending.held_bytes
        return pending


def _read(answer: Any, first: int, last: int) -> list[tuple[int, Envelope | None]] | None:
    """Whatever another node may have answered."""
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
