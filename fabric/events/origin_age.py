"""Whether the first number that is seen of a topic should have been a 1.

A ledger begins with the first event that arrives: what came before may have been sent before anybody here subscribed. But
not if its origin is younger than the subscription: then whatever it has ever sent on this topic was for us, too, and what
did not arrive is lost. (A subscriber that was stopped while the proxy was restarted finds such origins.)

How old an origin is only it can say, so it is asked, once. It says for how long it has lived, not since when: clocks of
two hosts differ. Reckoned from the moment of asking, so never as younger than it is.

Pure: no socket, no clock; one thread uses it.
"""

from __future__ import annotations

from typing import Any

#: Origins that are remembered; the first go first.
MAX_ORIGINS = 10_000
#: Topics of one origin that wait for its answer.
MAX_WAITING = 1_000
#: Seconds between two questions, and until nobody is asked any more: after a restart of the proxy it takes a moment until
#: an origin is known there again.
RETRY_INTERVAL = 0.1
TIMEOUT = 10.0


class _Origin:
    __slots__ = ("ask_at", "asked_at", "asking", "born", "deadline", "waiting")

    def __init__(self, now: float) -> None:
        self.ask_at = self.asked_at = now
        self.deadline = now + TIMEOUT
        self.asking = False
        self.born: float | None = None
        #: topic → how many events came before the first that was seen, and since when somebody was ready for them
        self.waiting: dict[str, tuple[int, float]] = {}


class OriginAges:
    """See the module. All times are monotonic, and ours."""

    def __init__(self) -> None:
        self._origins: dict[bytes, _Origin] = {}
        self._unanswered: set[bytes] = set()  # not answered yet, and not given up

    def __len__(self) -> int:
        return len(self._unanswered)

    def first_seen(self, origin: bytes, topic: str, before: int, ready: float, now: float) -> None:
        """`before` events were sent on `topic` before the first that was seen.

        `ready` is since when a subscription here has been ready for them.
        """
        known = self._origins.get(origin)
        if known is None:
            if len(self._origins) >= MAX_ORIGINS:
                oldest = next(iter(self._origins))
                del self._origins[oldest]
                self._unanswered.discard(oldest)
            known = self._origins[origin] = _Origin(now)
            self._unanswered.add(origin)
        if len(known.waiting) < MAX_WAITING:
            known.waiting[topic] = (before, ready)

    def questions(self, now: float) -> list[bytes]:
        """Origins to ask now how old they are."""
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
        """What the origin said, `{"age": seconds}`: topics, and how many events of each are lost.

        Anything else, or None: nobody knows, and it is asked again.
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
        """Topics of `origin`, and how many events of each are known to be lost by now; each is told once."""
        known = self._origins.get(origin)
        if known is None or known.born is None or not known.waiting:
            return []
        found = [(topic, before) for topic, (before, ready) in known.waiting.items() if known.born > ready]
        known.waiting.clear()
        return found

    def next_deadline(self) -> float | None:
        """When `questions` has something to say, at the latest."""
        due = [
            known.deadline if known.asking else known.ask_at
            for known in map(self._origins.__getitem__, self._unanswered)
        ]
        return min(due, default=None)
