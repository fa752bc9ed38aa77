"""Numbering what leaves, and noticing what did not arrive.

A sequence counts what one origin sent on one topic: a subscriber to some of the topics still sees no holes. The sender
keeps a `Counter`, each receiver a `Ledger`.

    number   the sender says                          a receiver that saw 4 last
    5        this is the fifth                        delivers it
    7        this is the seventh                      delivers it, and reports 2 missed
    4, 3     (an old connection's, or a repeat)       drops it: a duplicate
    -9       the ninth or so: I forgot what I sent    delivers it, counts on from 9, reports nothing
    mark 6   six is the last that I sent              reports 2 missed

Both keep a bounded number of topics. A forgotten topic resumes above the highest number forgotten, so that numbers
only grow for as long as an origin lives. The first number seen of a topic is where a receiver's ledger of it starts:
what was sent before may have been sent before it subscribed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf

#: Topics that a sender counts.
COUNTED = 10_000
#: Topics, over all origins, that a receiver keeps a ledger of.
LEDGER = 100_000
DUPLICATE = -1
#: Seconds of quiet after which a topic's last number is told first, and the longest wait before it is told again.
FIRST_MARK = 1.0
LAST_MARK = 64.0


class Counter:
    """Gives each event its number when it leaves. Not thread-safe: the owner of the outgoing socket calls it."""

    def __init__(self, limit: int = COUNTED) -> None:
        self._limit = limit
        #: The last number of each topic that is counted. Who counts a run of one topic by itself writes its last here.
        self.numbers: dict[str, int] = {}
        self._highest_forgotten = 0

    def next(self, topic: str) -> int:
        """The number of the event that leaves now; negative: its predecessor is not known any more."""
        last = self.numbers.get(topic)
        if last is None:
            return self._begin(topic)
        self.numbers[topic] = number = last + 1
        return number

    def _begin(self, topic: str) -> int:
        if len(self.numbers) >= self._limit:
            # A tenth at a time, oldest first: forgetting one by one would cost a search each.
            for old in list(self.numbers)[: self._limit // 10 or 1]:
                self._highest_forgotten = max(self._highest_forgotten, self.numbers.pop(old))
        number = self.numbers[topic] = self._highest_forgotten + 1
        return -number if self._highest_forgotten else number


class TailMarks:
    """Decides when to tell a topic's last number: a receiver that lost the tail of a burst cannot see it otherwise.

    A topic that was quiet for `FIRST_MARK` seconds is due, and again after 4, 16 and 64: whoever's pipe was full when
    the burst came may have lost the first marks, too.
    """

    def __init__(self) -> None:
        self._plans: dict[str, tuple[int, float, float]] = {}  # topic → number, due, seconds until the one after

    def due(self, last_numbers: Mapping[str, int], now: float, most: int) -> list[tuple[str, int]]:
        """At most `most` topics to mark now, with their numbers."""
        plans = self._plans
        if len(plans) > len(last_numbers):
            self._plans = plans = {topic: plan for topic, plan in plans.items() if topic in last_numbers}
        found: list[tuple[str, int]] = []
        for topic, number in last_numbers.items():
            plan = plans.get(topic)
            if plan is None or plan[0] != number:
                plans[topic] = (number, now + FIRST_MARK, 4 * FIRST_MARK)
            elif plan[1] <= now and len(found) < most:
                found.append((topic, number))
                again = plan[2]
                plans[topic] = (number, now + again if again <= LAST_MARK else inf, 4 * again)
        return found

    def restart(self) -> None:
        """Somebody new listens, who may need to be told: all topics are due again."""
        self._plans.clear()


class Ledger:
    """What arrived, by origin and topic. Not thread-safe: the delivery thread owns it."""

    def __init__(self, limit: int = LEDGER) -> None:
        self._limit = limit
        self._size = 0
        self._seen: dict[bytes, dict[str, int]] = {}
        self._newest = b""
        #: Topics that had to make room, and would begin anew.
        self.evicted = 0

    def of(self, origin: bytes) -> dict[str, int]:
        """The last number seen of each topic of `origin`, to be changed by whoever finds `last + 1` in an event.

        Good until the next call: an origin of which nothing was noted is not kept. (Anybody can invent origins.)
        """
        seen = self._seen.get(origin)
        if seen is None:
            if not self._seen.get(self._newest, True):
                del self._seen[self._newest]
            seen = self._seen[origin] = {}
            self._newest = origin
        return seen

    def judge(self, seen: dict[str, int], topic: str, number: int) -> int:
        """Note an event: how many are missing before it, or `DUPLICATE`."""
        last = seen.get(topic)
        known = abs(number)
        if last is None:
            self._admit(seen)
        elif known <= last:
            return DUPLICATE
        seen[topic] = known
        return 0 if last is None or number < 0 else known - last - 1

    def judge_mark(self, seen: dict[str, int], topic: str, number: int) -> int:
        """Note a mark: how many are missing up to it."""
        last = seen.get(topic)
        known = abs(number)
        if last is None:
            self._admit(seen)
        elif known <= last:
            return 0
        seen[topic] = known
        return 0 if last is None else known - last

    def forget(self, unwanted: Collection[str]) -> None:
        """Forget these topics, of all origins."""
        for origin, seen in list(self._seen.items()):
            for topic in [topic for topic in seen if topic in unwanted]:
                del seen[topic]
                self._size -= 1
            if not seen:
                del self._seen[origin]

    def topics(self) -> set[str]:
        """Every topic there is an entry of."""
        return {topic for seen in self._seen.values() for topic in seen}

    def _admit(self, seen: dict[str, int]) -> None:
        self._size += 1
        while self._size > self._limit:
            # The origin heard first goes first: most likely a process that has ended. Its topics start anew if not.
            oldest = next((origin for origin in self._seen if self._seen[origin] is not seen), None)
            if oldest is None:
                self._size -= len(seen)
                self.evicted += len(seen)
                seen.clear()
                return
            gone = len(self._seen.pop(oldest))
            self._size -= gone
            self.evicted += gone
