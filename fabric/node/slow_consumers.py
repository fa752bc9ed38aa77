"""Detects consumers that do not keep up: one report when an episode begins, one when it is over.

    keeping up ──lag ≥ `SLOW_LAG`, or a drop──▸ slow ──lag < `FINE_LAG`, no drop for `CALM_TIME`──▸ keeping up
                       `state: slow`                               `state: recovered`

A consumer is what reads one of a node's queues:

    delivery     packs that were read and not delivered; the callback that runs is on the delivery thread's stack
    a loop       events to callbacks of one event loop; the next one names the callback
    a stream     events that an iteration has not taken

The queues are polled, so a delivery costs nothing more. Events carry no time of arrival either. The lag is computed: each
poll records how many events had arrived by then, so event number n arrived between the two polls whose counts enclose n.

Pure: the clock is an argument. One thread calls `look`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from fabric.bus.bus import Bus
from fabric.bus.callbacks import callbacks_of_thread

if TYPE_CHECKING:
    from fabric.events.receiver import Receiver

#: Seconds of lag from which a consumer is slow, and below which it has recovered.
SLOW_LAG = 1.0
FINE_LAG = 0.5
#: Seconds without a drop, and below `FINE_LAG`, after which an episode is over.
CALM_TIME = 1.0
#: Polls that are recorded, four a second: a longer lag than a minute is reported as a minute.
MAX_POLLS = 256


class Backlog(NamedTuple):
    """One queue, as it is now. All counts but `waiting` only grow."""

    key: Hashable
    #: The consumer: the callback's name, its pattern, and the topic of the present event, as far as they are known.
    handler: str
    pattern: str
    topic: str
    handled: int
    waiting: int
    dropped: int = 0


def backlogs(bus: Bus, receiver: Receiver) -> Iterator[Backlog]:
    """Every queue between the link and a callback. Any thread."""
    taken = receiver.taken
    waiting = receiver.begun - taken + receiver.waiting
    handler, pattern, topic = _running(receiver) if waiting else ("", "", "")
    yield Backlog("delivery", handler, pattern, topic, taken, waiting)
    for queue in bus.queues():
        head = queue.first
        subscription, topic = (None, "") if head is None else head[:2]
        yield Backlog(
            id(queue),
            subscription.handler if subscription else "an event loop",
            subscription.pattern if subscription else "",
            topic,
            queue.handled,
            len(queue),
            queue.dropped,
        )
    for stream in bus.streams():
        yield Backlog(
            id(stream), "an iteration over events", stream.pattern, "", stream.taken, len(stream), stream.dropped
        )


def _running(receiver: Receiver) -> tuple[str, str, str]:
    """Name, pattern and topic of the callback that the delivery thread is in."""
    for subscription, topic in callbacks_of_thread(receiver.thread_id):
        return subscription.handler, subscription.pattern, topic
    return "", "", ""


class _Consumer:
    __slots__ = ("calm_since", "dropped", "dropped_before", "polls", "slow_since")

    def __init__(self, dropped: int, now: float) -> None:
        #: (time, number of events that had arrived by then)
        self.polls: deque[tuple[float, int]] = deque(maxlen=MAX_POLLS)
        self.dropped = self.dropped_before = dropped
        self.slow_since: float | None = None
        self.calm_since = now

    def lag(self, backlog: Backlog, now: float) -> float:
        arrived, done = backlog.handled + backlog.waiting + backlog.dropped, backlog.handled + backlog.dropped
        # The present event arrived after every poll by which no more events had arrived than are done now.
        while self.polls and self.polls[0][1] <= done:
            self.polls.popleft()
        lag = now - self.polls[0][0] if self.polls else 0.0
        self.polls.append((now, arrived))
        return lag


class SlowConsumers:
    """The consumers of one node."""

    def __init__(self) -> None:
        self._consumers: dict[Hashable, _Consumer] = {}
        self._has_looked = False

    def look(self, backlogs: Iterable[Backlog], now: float) -> list[dict[str, Any]]:
        """The reports that are due: `state`, `handler`, `pattern`, `topic`, `lag` (s), `waiting`, `dropped`.

        `dropped` counts the present episode. A report with `state: recovered` also has `lasted` (s).
        """
        reports: list[dict[str, Any]] = []
        present: dict[Hashable, _Consumer] = {}
        for backlog in backlogs:
            # Drops before the first look are not reported. A consumer that is new since the last one began with none.
            consumer = self._consumers.get(backlog.key) or _Consumer(0 if self._has_looked else backlog.dropped, now)
            present[backlog.key] = consumer
            if (report := self._judge(consumer, backlog, now)) is not None:
                reports.append(report)
        self._consumers, self._has_looked = present, True
        return reports

    def _judge(self, consumer: _Consumer, backlog: Backlog, now: float) -> dict[str, Any] | None:
        lag = consumer.lag(backlog, now)
        dropping, consumer.dropped = backlog.dropped > consumer.dropped, backlog.dropped
        if dropping or lag >= FINE_LAG:
            consumer.calm_since = now
        if consumer.slow_since is None:
            if not dropping and lag < SLOW_LAG:
                consumer.dropped_before = backlog.dropped
                return None
            consumer.slow_since = now
            return _facts(consumer, backlog, "slow") | {"lag": round(lag, 3)}
        if now - consumer.calm_since < CALM_TIME:
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
