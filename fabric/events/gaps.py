"""Gap detection: whether an event that arrived is delivered, held or dropped, and which events are missing before it.

The number of an event is compared with the last number seen of its origin and topic. The first row that fits decides:

    event                                                     verdict
    its topic is being recovered                              HOLD     it is delivered after the events recovered
    the first one of its topic                                DELIVER  `origin_age` finds out what was lost before it
    a number not above the last: a duplicate                  DROP
    the next number                                           DELIVER
    a hole before it ┬ a subscription has `recover`           HOLD     a recovery begins
                     ├ all its subscriptions are joining      DELIVER  the hole is counted as `joining`
                     └ otherwise                              DELIVER  after a `Gap`

A mark (an envelope of None) shows a hole in the same way. It carries no event: its verdict is HOLD or DROP.

A subscription is *joining* for `JOINING_SECONDS`, or until `ready` says that every publisher knows of it: until a
publisher has read a new prefix, an event may travel under a topic that the newcomer did not ask for. A hole from that
time shows only when the next event or mark arrives, up to `MARK_SECONDS` later, and still counts as `joining`.

A hole concerns one origin and topic; others are not delayed. The ledger stays at the hole while it is being recovered.

Pure: no socket, no clock; times are monotonic seconds. `expect`, `ready` and `forget` may be called by any thread: each is
one operation on a dict. Everything else belongs to the delivery thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import Any, NamedTuple

from fabric.bus.subscription import Subscription
from fabric.errors import WireError
from fabric.events.origin_age import OriginAges
from fabric.events.recovery import Key, Recovery
from fabric.protocol.events import Event
from fabric.protocol.sequence import DUPLICATE, LEDGER_SIZE, Ledger
from fabric.protocol.topics import PatternTable, check_topic

#: Seconds after subscribing before holes are reported as gaps.
JOINING_SECONDS = 1.0
#: Seconds after which a mark has shown that the last event of a quiet topic is missing (see `sequence.TailMarks`).
MARK_SECONDS = 2.0
#: Origins whose name is remembered for reports.
MAX_SOURCES = 10_000


class Fate(Enum):
    """What becomes of an event."""

    DELIVER = "deliver"
    HOLD = "hold"
    DROP = "drop"


DELIVER, HOLD, DROP = Fate


class Gap(NamedTuple):
    """`missed` events of a topic of `origin` are lost; `src` is the name that the origin published under last."""

    origin: bytes
    src: str | None
    topic: str
    missed: int


#: The fate of an event, and the gaps to report before the event is delivered.
Judgement = tuple[Fate, Sequence[Gap]]
_HELD: Judgement = HOLD, ()
_DUPLICATE: Judgement = DROP, ()

Subscribers = tuple[Subscription, ...]


class GapDetector:
    """See the module."""

    def __init__(self) -> None:
        #: Events missing from before a subscription counted as ready.
        self.joining = 0
        #: When the link was up first; no subscription is ready before then.
        self.live_since = inf
        #: The holes that are being recovered. The caller holds events there that got HOLD, and runs it.
        self.recovery = Recovery()
        #: The origins that are being asked for their age. The caller runs it; answers go to `aged`.
        self.origin_ages = OriginAges()
        #: The last number seen, by origin and topic. The caller may judge the next number of a topic itself, and note it.
        self.ledger = Ledger()
        self._ready_at: dict[Subscription, float] = {}
        self._sources: dict[bytes, str] = {}  # origin → the src it published under last
        self._began_joining: set[Key] = set()  # topics first seen while all their subscriptions were joining

    # Any thread

    def expect(self, subscription: Subscription, now: float) -> None:
        """A subscription begins: it is joining."""
        self._ready_at[subscription] = now + JOINING_SECONDS

    def ready(self, subscription: Subscription, now: float) -> None:
        """Every publisher knows of the subscription: a hole from now on is a gap."""
        if subscription in self._ready_at:
            self._ready_at[subscription] = now

    def forget(self, subscription: Subscription) -> None:
        """A subscription has ended. `forget_topics` must follow, on the delivery thread."""
        self._ready_at.pop(subscription, None)

    # The delivery thread

    def judge(
        self, origin: bytes, event: Event, subscribers: Subscribers, now: float, recover_above: float = 0
    ) -> Judgement:
        """The verdict on an event that `subscribers` (at least one) want, and the gaps that it shows.

        A recovery begins only for a hole above the number `recover_above`. WireError for the first event of a topic that
        breaks the grammar.
        """
        topic, number, envelope = event
        key = (origin, topic)
        if key in self.recovery.keys:
            return _HELD
        seen = self.ledger.of(origin)
        last = seen.get(topic)
        gaps: list[Gap] = []
        if last is None:
            gaps = self._begin(key, event, subscribers, now)
        elif last >= recover_above:
            missing = number if envelope is None else number - 1  # a negative number has no predecessor to miss
            wanted = missing > last and any(subscription.recover for subscription in subscribers)
            if wanted and self.recovery.begin(key, last + 1, missing, now):
                return _HELD
        note = self.ledger.judge_mark if envelope is None else self.ledger.judge
        missed = note(seen, topic, number)
        if missed == DUPLICATE:
            return _DUPLICATE
        if missed:
            ready = self._ready(subscribers)
            if ready > now or self._is_from_joining(key, ready, now):
                self.joining += missed
            else:
                gaps.append(Gap(origin, self._sources.get(origin), topic, missed))
        return (DROP if envelope is None else DELIVER), gaps

    def aged(self, origin: bytes, answer: Any, now: float) -> list[Gap]:
        """The gaps that follow from an origin's answer about its age."""
        return self._lost(origin, self.origin_ages.answered(origin, answer, now))

    def forget_topics(self, ended: Subscription, subscribers_of: Callable[[str], Subscribers]) -> None:
        """Forget the topics of a subscription that has ended, unless another one wanted them all the time.

        A subscription that began after that end does not count: it starts its topics anew.
        """
        matches = PatternTable[bool]().adding(ended.pattern, True).match
        gone = {
            topic
            for topic in self.ledger.topics()
            if matches(topic) and not any(each.serial <= ended.ended_at for each in subscribers_of(topic))
        }
        self.ledger.forget(gone)
        self._began_joining = {key for key in self._began_joining if key[1] not in gone}
        self.recovery.forget(lambda topic: topic not in gone)

    def _begin(self, key: Key, event: Event, subscribers: Subscribers, now: float) -> list[Gap]:
        """The first event that is seen of a topic."""
        origin, topic = key
        _, number, envelope = event
        try:
            check_topic(topic)
        except ValueError as error:
            raise WireError(str(error)) from None
        if len(self._sources) >= MAX_SOURCES:
            self._sources.clear()
        self._sources[origin] = (envelope or {}).get("src") or topic.partition(".")[0]
        ready = self._ready(subscribers)
        if ready > now and len(self._began_joining) < LEDGER_SIZE:
            self._began_joining.add(key)
        before = number if envelope is None else number - 1
        if before <= 0 or self.ledger.evicted:  # after an eviction it may have been seen, and forgotten
            return []
        ready = max(ready, self.live_since)
        if ready > now:
            return []
        self.origin_ages.first_seen(origin, topic, before, ready, now)
        return self._lost(origin, self.origin_ages.lost(origin))

    def _ready(self, subscribers: Subscribers) -> float:
        """When the first of them is, or will be, ready."""
        return min([self._ready_at.get(subscription, inf) for subscription in subscribers])

    def _is_from_joining(self, key: Key, ready: float, now: float) -> bool:
        """Whether the first hole of a topic may be from the time before any subscription was ready."""
        if key not in self._began_joining:
            return False
        self._began_joining.discard(key)
        return now < ready + MARK_SECONDS

    def _lost(self, origin: bytes, found: list[tuple[str, int]]) -> list[Gap]:
        return [Gap(origin, self._sources.get(origin), topic, missed) for topic, missed in found]
