"""Who does not keep up: one report when it begins, one when it is over.

    keeping up ──lag ≥ `SLOW`, or something was dropped──▸ slow ──lag < `FINE`, nothing dropped for `CALM`──▸ keeping up
                        `state: slow`                                    `state: recovered`

Lag is how long ago what is handled now came in. Nothing is stamped for that: each look notes how much had come in by
then, and what is handled now is the so-many-th, so it came between two looks.

Pure: the clock is an argument. One thread looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

#: Seconds of lag at which a consumer counts as slow, and below which it does not any more.
SLOW = 1.0
FINE = 0.5
#: Seconds without a drop until an episode is over.
CALM = 1.0
#: Looks that are remembered; four a second: a lag of more than a minute is told as a minute.
LOOKS = 256


class Backlog(NamedTuple):
    """One queue, as it is now. All counts only grow, but for `waiting`."""

    key: Hashable
    #: What reads it: the callback's name, its pattern, and the topic at hand, as far as they are known.
    handler: str
    pattern: str
    topic: str
    handled: int
    waiting: int
    dropped: int = 0


class _Consumer:
    __slots__ = ("calm_since", "dropped", "dropped_before", "looks", "slow_since")

    def __init__(self, dropped: int, now: float) -> None:
        self.looks: deque[tuple[float, int]] = deque(maxlen=LOOKS)
        self.dropped = self.dropped_before = dropped
        self.slow_since: float | None = None
        self.calm_since = now

    def lag(self, backlog: Backlog, now: float) -> float:
        came, done = backlog.handled + backlog.waiting + backlog.dropped, backlog.handled + backlog.dropped
        # A look at which no more had come than is done by now says nothing of what is at hand.
        while self.looks and self.looks[0][1] <= done:
            self.looks.popleft()
        lag = now - self.looks[0][0] if self.looks else 0.0
        self.looks.append((now, came))
        return lag


class SlowConsumers:
    """All consumers of one node."""

    def __init__(self) -> None:
        self._consumers: dict[Hashable, _Consumer] = {}
        self._looked = False

    def look(self, backlogs: Iterable[Backlog], now: float) -> list[dict[str, Any]]:
        """What to report: `state`, `handler`, `pattern`, `topic`, `lag` (s), `waiting`, `dropped` (in this episode)."""
        reports: list[dict[str, Any]] = []
        here: dict[Hashable, _Consumer] = {}
        for backlog in backlogs:
            # What was dropped before anybody looked is no news; a consumer that is new since then began with nothing.
            consumer = self._consumers.get(backlog.key) or _Consumer(0 if self._looked else backlog.dropped, now)
            here[backlog.key] = consumer
            if (report := self._judge(consumer, backlog, now)) is not None:
                reports.append(report)
        self._consumers, self._looked = here, True
        return reports

    def _judge(self, consumer: _Consumer, backlog: Backlog, now: float) -> dict[str, Any] | None:
        lag = consumer.lag(backlog, now)
        dropping, consumer.dropped = backlog.dropped > consumer.dropped, backlog.dropped
        if dropping or lag >= FINE:
            consumer.calm_since = now
        if consumer.slow_since is None:
            if not dropping and lag < SLOW:
                consumer.dropped_before = backlog.dropped
                return None
            consumer.slow_since = now
            return _facts(consumer, backlog, "slow") | {"lag": round(lag, 3)}
        if now - consumer.calm_since < CALM:
            return None
        lasted, consumer.slow_since = now - consumer.slow_since, None
        report = _facts(consumer, backlog, "recovered") | {"lag": round(lag, 3), "lasted": round(lasted, 3)}
        consumer.dropped_before = backlog.dropped
        return report


def _facts(consumer: _Consumer, backlog: Backlog, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "handler": backlog.handler,
        "pattern": backlog.pattern,
        "topic": backlog.topic,
        "waiting": backlog.waiting,
        "dropped": backlog.dropped - consumer.dropped_before,
    }
