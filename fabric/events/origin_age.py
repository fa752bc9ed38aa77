"""Origin age: whether events before the first one seen of a topic are lost.

A ledger begins with the first event that arrives, because earlier ones may have been sent before any subscription here.
That cannot be so if the origin is younger than the subscription: then all its events on this topic were for this node,
and those that did not arrive are lost. (A subscriber that was stopped while the proxy was restarted finds such origins.)

Only the origin knows its age, so it is asked, once. It answers for how long it has lived, not since when, because the
clocks of two hosts differ. The age counts from the moment of asking, so an origin never looks younger than it is.

Pure: no socket, no clock; one thread uses it. Times are monotonic seconds of this node.
"""

from __future__ import annotations

from typing import Any

#: Origins kept; the oldest entries are dropped first.
MAX_ORIGINS = 10_000
#: Topics of one origin that wait for its answer.
MAX_WAITING = 1_000
#: Seconds between two questions to an origin, and until it is not asked any more: after a restart of the proxy it takes
#: a moment until an origin is known there again.
RETRY_INTERVAL = 0.1
TIMEOUT = 10.0


class _Origin:
    __slots__ = ("ask_at", "asked_at", "asking", "born", "deadline", "waiting")

    def __init__(self, now: float) -> None:
        self.ask_at = self.asked_at = now
        self.deadline = now + TIMEOUT
        self.asking = False
        self.born: float | None = None
        #: topic → the number of events before the first one seen, and since when a subscription was ready for them
        self.waiting: dict[str, tuple[int, float]] = {}


class OriginAges:
    """See the module."""

    def __init__(self, *, max_origins: int = MAX_ORIGINS, max_waiting: int = MAX_WAITING) -> None:
        self._max_origins = max_origins
        self._max_waiting = max_waiting
        self._origins: dict[bytes, _Origin] = {}
        self._unanswered: set[bytes] = set()  # before their answer and their deadline

    def __len__(self) -> int:
        return len(self._unanswered)

    def first_seen(self, origin: bytes, topic: str, before: int, ready: float, now: float) -> None:
        """The first event of `topic` is seen; `before` events were sent before it.

        A subscription here has been ready for them since `ready`.
        """
        known = self._origins.get(origin)
        if known is None:
            if len(self._origins) >= self._max_origins:
                oldest = next(iter(self._origins))
                del self._origins[oldest]
                self._unanswered.discard(oldest)
            known = self._origins[origin] = _Origin(now)
            self._unanswered.add(origin)
        if len(known.waiting) < self._max_waiting:
            known.waiting[topic] = (before, ready)

    def questions(self, now: float) -> list[bytes]:
        """The origins to ask now for their age."""
        asked: list[bytes] = []
        for origin in list(self._unanswered):
            known = self._origins[origin]
            if now >= known.deadline:
                self._unanswered.discard(origin)
                known.waiting.clear()
            elif not known.asking and now >= known.ask_at:
                known.asking, known.asked_at = True, now
                asked.append(origin)
        return asked

    def answered(self, origin: bytes, answer: Any, now: float) -> list[tuple[str, int]]:
        """The origin's answer, `{"age": seconds}`. Returns topics, and the number of events lost on each.

        After anything else, or None, it is asked again.
        """
        known = self._origins.get(origin)
        if known is None:
            return []
        known.asking = False
        age = answer.get("age") if isinstance(answer, dict) else None
        if not isinstance(age, int | float) or isinstance(age, bool) or not age >= 0:
            known.ask_at = now + RETRY_INTERVAL
            return []
        known.born = known.asked_at - age
        self._unanswered.discard(origin)
        return self.lost(origin)

    def lost(self, origin: bytes) -> list[tuple[str, int]]:
        """Topics of `origin` and the number of events lost on each, as far as its age is known; each topic once."""
        known = self._origins.get(origin)
        if known is None or known.born is None or not known.waiting:
            return []
        found = [(topic, before) for topic, (before, ready) in known.waiting.items() if known.born > ready]
        known.waiting.clear()
        return found

    def next_deadline(self) -> float | None:
        """When to call `questions` again, at the latest; None: not before the next `first_seen`."""
        due = [
            known.deadline if known.asking else known.ask_at
            for known in map(self._origins.__getitem__, self._unanswered)
        ]
        return min(due, default=None)
