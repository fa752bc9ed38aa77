"""Sequence numbers: the sender counts the events that leave, the receiver finds duplicates and gaps.

A sequence counts the events that one origin sent on one topic, so that a subscriber to some of the topics sees no holes.
The sender keeps a `Counter`, each receiver a `Ledger`.

    number   means at the sender                      a receiver that last saw 4
    5        the fifth event of the topic             delivers it
    7        the seventh                              delivers it, and reports 2 missed
    4, 3     (from an old connection, or a repeat)    drops it: a duplicate
    -9       at most the ninth: predecessor unknown   delivers it, counts on from 9, reports nothing
    mark 6   the last event was the sixth             reports 2 missed

Both keep a bounded number of topics. A forgotten topic resumes above the highest number forgotten, so that the numbers of
a topic only grow for as long as an origin lives. A receiver's ledger of a topic starts with the first number it sees:
events before that may have been sent before it subscribed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf

#: Topics that a sender counts.
COUNTER_SIZE = 10_000
#: Topics, over all origins, in a receiver's ledger.
LEDGER_SIZE = 100_000
DUPLICATE = -1
#: Seconds without an event after which a topic's first mark is sent, and the longest delay between two marks.
FIRST_MARK = 1.0
LAST_MARK = 64.0


class Counter:
    """Numbers events as they leave. Not thread-safe: only the holder of the outgoing socket's lock calls it."""

    def __init__(self, limit: int = COUNTER_SIZE) -> None:
        self._limit = limit
        #: The last number of each counted topic. A caller that numbers a run of one topic by itself writes its last here.
        self.numbers: dict[str, int] = {}
        self._highest_forgotten = 0

    def next(self, topic: str) -> int:
        """The number of the event that leaves now. Negative: the number of its predecessor was forgotten."""
        last = self.numbers.get(topic)
        if last is None:
            return self._begin(topic)
        self.numbers[topic] = number = last + 1
        return number

    def _begin(self, topic: str) -> int:
        if len(self.numbers) >= self._limit:
            # A tenth at a time, oldest first: to forget one by one would cost a search each.
            for old in list(self.numbers)[: self._limit // 10 or 1]:
                self._highest_forgotten = max(self._highest_forgotten, self.numbers.pop(old))
        number = self.numbers[topic] = self._highest_forgotten + 1
        return -number if self._highest_forgotten else number


class TailMarks:
    """The schedule of marks: a receiver that lost the last events of a burst learns of it only by a topic's last number.

    A topic without an event for `FIRST_MARK` seconds is due, and again after 4, 16 and 64: a receiver whose pipe was full
    during the burst may have lost the first marks, too.
    """

    def __init__(self) -> None:
        self._plans: dict[str, tuple[int, float, float]] = {}  # topic → number, due, delay of the mark after it

    def due(self, last_numbers: Mapping[str, int], now: float, limit: int) -> list[tuple[str, int]]:
        """At most `limit` topics to mark now, with their numbers."""
        plans = self._plans
        if len(plans) > len(last_numbers):
            self._plans = plans = {topic: plan for topic, plan in plans.items() if topic in last_numbers}
        found: list[tuple[str, int]] = []
        for topic, number in last_numbers.items():
            plan = plans.get(topic)
            if plan is None or plan[0] != number:
                plans[topic] = (number, now + FIRST_MARK, 4 * FIRST_MARK)
            elif plan[1] <= now and len(found) < limit:
                found.append((topic, number))
                delay = plan[2]
                plans[topic] = (number, now + delay if delay <= LAST_MARK else inf, 4 * delay)
        return found

    def __len__(self) -> int:
        """Number of topics in the schedule."""
        return len(self._plans)

    def restart(self) -> None:
        """There is a new subscriber, which may lack the last events: all topics are due again."""
        self._plans.clear()


class Ledger:
    """The last number that arrived, by origin and topic. Not thread-safe: the delivery thread owns it."""

    def __init__(self, limit: int = LEDGER_SIZE) -> None:
        self._limit = limit
        self._size = 0
        self._seen: dict[bytes, dict[str, int]] = {}
        self._newest = b""
        #: Topics evicted for lack of space. Their next event starts them anew.
        self.evicted = 0

    def of(self, origin: bytes) -> dict[str, int]:
        """The last number of each topic of `origin`. A caller that finds `last + 1` in an event may write it here itself.

        Valid until the next call: an origin without an entry is not kept then. (Any peer can invent origins.)
        """
        seen = self._seen.get(origin)
        if seen is None:
            if not self._seen.get(self._newest, True):
                del self._seen[self._newest]
            seen = self._seen[origin] = {}
            self._newest = origin
        return seen

    def judge(self, seen: dict[str, int], topic: str, number: int) -> int:
        """Record an event: the number of events missing before it, or `DUPLICATE`."""
        last = seen.get(topic)
        known = abs(number)
        if last is None:
            self._admit(seen)
        elif known <= last:
            return DUPLICATE
        seen[topic] = known
        return 0 if last is None or number < 0 else known - last - 1

    def judge_mark(self, seen: dict[str, int], topic: str, number: int) -> int:
        """Record a mark: the number of events missing up to it."""
        last = seen.get(topic)
        known = abs(number)
        if last is None:
            self._admit(seen)
        elif known <= last:
            return 0
        seen[topic] = known
        return 0 if last is None else known - last

    def forget(self, unwanted: Collection[str]) -> None:
        """Forget these topics of all origins."""
        for origin, seen in list(self._seen.items()):
            for topic in [topic for topic in seen if topic in unwanted]:
                del seen[topic]
                self._size -= 1
            if not seen:
                del self._seen[origin]

    def topics(self) -> set[str]:
        """All topics with an entry."""
        return {topic for seen in self._seen.values() for topic in seen}

    def stats(self) -> dict[str, int]:
        """Number of origins with an entry, and of their topics."""
        return {"origins": len(self._seen), "topics": sum(map(len, self._seen.values()))}

    def _admit(self, seen: dict[str, int]) -> None:
        self._size += 1
        while self._size > self._limit:
            # The origin seen first is evicted first: most likely a process that has ended. If not, its topics start anew.
            oldest = next((origin for origin in self._seen if self._seen[origin] is not seen), None)
            if oldest is None:
                self._size -= len(seen)
                self.evicted += len(seen)
                seen.clear()
                return
            gone = len(self._seen.pop(oldest))
            self._size -= gone
            self.evicted += gone
