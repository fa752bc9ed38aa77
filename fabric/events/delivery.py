"""What becomes of a message that was read: decoded, held against the ledger, handed to the bus.

    pack ─▸ next number of its topic ───────────────────────────────────────▸ delivered
            a hole before it ─┬─▸ somebody wants it recovered: held back, asked for, then delivered
                              ├─▸ every subscription is still joining: counted
                              └─▸ a gap: counted, and told as `fabric.gap` ─▸ delivered
            a number seen before: a duplicate, dropped

Knows no socket and no thread of its own: the receiver calls it on the delivery thread, and other threads read its
counters. A hole holds up its own origin and topic only. Whether there was one before the first event of a topic
is asked of its origin (`fabric.events.origin_age`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic, time
from typing import Any

from fabric.bus.bus import Bus
from fabric.bus.subscription import Subscription
from fabric.errors import WireError
from fabric.events.origin_age import OriginAges
from fabric.events.recovery import Done, Key, Recovery
from fabric.protocol.envelope import Envelope
from fabric.protocol.events import decode_events
from fabric.protocol.sequence import DUPLICATE, LEDGER, Ledger
from fabric.protocol.topics import PatternTable, check_topic

logger = logging.getLogger("fabric.link")

#: Seconds after subscribing before holes are reported as gaps: until a publisher has read a new prefix, an event may
#: ride under a topic that the newcomer did not ask for.
JOINING = 1.0
#: Seconds after which the last event of a quiet topic has been noticed if it was missed (see `sequence.Marks`).
NOTICED = 2.0
#: Origins whose name is remembered for reports.
REMEMBERED = 10_000
#: Seconds between log lines about bytes that are not our protocol.
COMPLAIN_EVERY = 10.0

Ask = Callable[[bytes, Any, Callable[[Any], None]], None]


class EventDelivery:
    """The delivery thread's, but for what says otherwise. `wake()` wakes it."""

    def __init__(self, bus: Bus, *, wake: Callable[[], None]) -> None:
        #: Events handed over; duplicates dropped.
        self.delivered = 0
        self.duplicates = 0
        #: Holes: how often, and how many events; events missed before a subscription counted as ready.
        self.gaps = 0
        self.missed = 0
        self.joining = 0
        #: Events dropped because too many bytes waited.
        self.dropped = 0
        #: Messages that were none of ours.
        self.rejected = 0
        #: Seconds between an event's `ts` and now, when one was delivered last. Another host's clock may differ.
        self.lag = 0.0
        #: How to ask an origin: `ask(origin, question, answered)`. Set before anything can be missing.
        self.ask: Ask = lambda _origin, _question, answered: answered(None)
        self._bus = bus
        self._wake = wake
        self._ledger = Ledger()
        self._sources: dict[bytes, str] = {}  # origin → the src it published under last
        self._ready_at: dict[Subscription, float] = {}
        self._ended: deque[Subscription] = deque()
        self._unsure: set[Key] = set()
        self._complain_at = 0.0
        self._recovery = Recovery()
        self._answers: deque[tuple[Key, Any]] = deque()
        #: When the link was up first; until then nobody is ready.
        self.live_since = inf
        self._ready_since: dict[Subscription, float] = {}
        self._origin_ages = OriginAges()
        self._ages: deque[tuple[bytes, Any]] = deque()
        self._at_hand: list[Any] = []  # the events of the message that is delivered
        self._size = 0  # of one of them
        self._sent_at: Any = None

    # Any thread

    def expect(self, subscription: Subscription) -> None:
        """A subscription begins: for a while its holes are no gaps."""
        self._ready_at[subscription] = self._ready_since[subscription] = monotonic() + JOINING

    def ready(self, subscription: Subscription) -> None:
        """From now on holes are gaps: everybody who publishes knows of the subscription."""
        if subscription in self._ready_at:
            self._ready_at[subscription] = 0.0
            self._ready_since[subscription] = monotonic()

    def forget(self, subscription: Subscription) -> None:
        """A subscription has ended."""
        self._ready_at.pop(subscription, None)
        self._ready_since.pop(subscription, None)
        self._ended.append(subscription)

    def forked(self) -> None:
        """We are a fork's child. A callback that forked returns into `deliver`, whose other events the parent delivers."""
        self._at_hand.clear()

    @property
    def recovered(self) -> int:
        """Events that were missing, and came when their origin was asked."""
        return self._recovery.recovered

    # The delivery thread

    def deliver(self, origin: bytes, pack: bytes) -> None:
        """Hand over the events of a message."""
        if self._ended:
            self._forget_unwanted()
        bus = self._bus
        known = bus.known_topics
        try:
            events = decode_events(pack)
        except WireError as error:
            self.reject(error, pack)
            return
        if events and (last := events[-1][2]) is not None:
            self._sent_at = last.get("ts")  # read now: once it is delivered the envelope is somebody else's
        seen = self._ledger.of(origin)
        self._size = len(pack) // (len(events) or 1)
        self._at_hand = events
        for topic, number, envelope in events:
            subscribers = known.get(topic)
            if subscribers is None:
                subscribers = bus.subscribers_of(topic)
            if not subscribers:
                continue
            if seen.get(topic) == number - 1 and envelope is not None:
                seen[topic] = number
            elif not self._judge(seen, origin, topic, number, envelope, subscribers) or envelope is None:
                continue
            self.delivered += 1
            if len(subscribers) == 1:
                bus.hand_over(subscribers[0], topic, envelope)
                continue
            for subscription in subscribers:
                bus.hand_over(subscription, topic, envelope.copy())  # one owner each

    def note_lag(self) -> None:
        """After some messages: how old the last event was when it had been delivered."""
        if self._sent_at.__class__ is float:
            self.lag = time() - self._sent_at
        self._sent_at = None

    def shed(self, origin: bytes, pack: bytes) -> None:
        """Drop a message: decoded all the same, for what goes is counted here, and is no gap."""
        try:
            events = decode_events(pack)
        except WireError as error:
            self.reject(error, pack)
            return
        seen = self._ledger.of(origin)
        for topic, number, envelope in events:
            subscribers = self._bus.subscribers_of(topic)
            if not subscribers:
                continue
            if (origin, topic) in self._recovery:
                self._recovery.hold((origin, topic), number, envelope, self._size)
            elif self._note(seen, origin, topic, number, envelope, subscribers):
                self.dropped += 1

    def reject(self, problem: object, frame: bytes) -> None:
        """Count bytes that are not our protocol, and say so now and then."""
        self.rejected += 1
        now = monotonic()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAIN_EVERY
            logger.warning("rejected a message (%d so far): %s (%d bytes)", self.rejected, problem, len(frame))

    @property
    def recovering(self) -> bool:
        """Whether `recover` has something to do, now or soon."""
        return bool(self._recovery or self._origin_ages or self._ages)

    def patience(self) -> float | None:
        """Milliseconds until `recover` must be called; None: not before something happens."""
        due = [at for at in (self._recovery.next_deadline(), self._origin_ages.next_deadline()) if at is not None]
        return max(min(due) - monotonic(), 0.0) * 1_000 + 1 if due else None

    def _judge(
        self,
        seen: dict[str, int],
        origin: bytes,
        topic: str,
        number: int,
        envelope: Envelope | None,
        subscribers: tuple[Subscription, ...],
    ) -> bool:
        """The slow path: anything but the next number of a known topic. Whether to deliver it."""
        if topic not in seen:
            if len(self._sources) >= REMEMBERED:
                self._sources.clear()
            self._sources[origin] = (envelope or {}).get("src") or topic.partition(".")[0]
            try:
                check_topic(topic)
            except ValueError as error:
                self.reject(error, topic.encode(errors="replace"))
                return False
            if self._is_joining(subscribers, monotonic()) and len(self._unsure) < LEDGER:
                self._unsure.add((origin, topic))
            if number > 1:
                self._begin(origin, topic, number - (envelope is not None), subscribers)
        elif self._hold(seen[topic], origin, topic, number, envelope, subscribers):
            return False
        return self._note(seen, origin, topic, number, envelope, subscribers)

    def _note(
        self,
        seen: dict[str, int],
        origin: bytes,
        topic: str,
        number: int,
        envelope: Envelope | None,
        subscribers: tuple[Subscription, ...],
    ) -> bool:
        """Put it in the ledger, and report what is missing before it. Whether to deliver it."""
        if envelope is None:
            missed = self._ledger.judge_mark(seen, topic, number)
        else:
            missed = self._ledger.judge(seen, topic, number)
        if missed == DUPLICATE:
            self.duplicates += 1
            return False
        if missed:
            self._report(missed, origin, topic, envelope, subscribers)
        return envelope is not None

    def _report(
        self,
        missed: int,
        origin: bytes,
        topic: str,
        envelope: Envelope | None,
        subscribers: tuple[Subscription, ...],
    ) -> None:
        now = monotonic()
        if self._is_joining(subscribers, now) or self._is_unsure((origin, topic), subscribers, now):
            self.joining += missed
            return
        self._gap(origin, topic, missed)

    def _is_joining(self, subscribers: tuple[Subscription, ...], now: float) -> bool:
        """Whether none of them is ready."""
        return all(self._ready_at.get(subscription, now) >= now for subscription in subscribers)

    def _is_unsure(self, key: Key, subscribers: tuple[Subscription, ...], now: float) -> bool:
        """Whether what is missing may have been missed before anybody was ready: it is noticed by what comes next, or by a
        mark, up to two seconds later."""
        if key not in self._unsure:
            return False
        self._unsure.discard(key)
        return now < min(self._ready_since.get(each, now) for each in subscribers) + NOTICED

    def _gap(self, origin: bytes, topic: str, missed: int) -> None:
        self.gaps += 1
        self.missed += missed
        gap = {"origin": origin.hex(), "src": self._sources.get(origin), "topic": topic, "missed": missed}
        self._bus.announce("fabric.gap", gap)

    # What is missing, and asked for

    def _begin(self, origin: bytes, topic: str, before: int, subscriptions: tuple[Subscription, ...]) -> None:
        """The first of this topic that is seen here is not the first that was sent."""
        if self._ledger.evicted:
            return  # it may have been seen, and forgotten
        ready = min((self._ready_since.get(each, inf) for each in subscriptions), default=inf)
        now = monotonic()
        if (ready := max(ready, self.live_since)) <= now:
            self._origin_ages.begins(origin, topic, before, ready, now)
            for lost_topic, missed in self._origin_ages.lost(origin):
                self._gap(origin, lost_topic, missed)

    def _hold(
        self,
        last: int,
        origin: bytes,
        topic: str,
        number: int,
        envelope: Envelope | None,
        subscribers: tuple[Subscription, ...],
    ) -> bool:
        """Whether it is held back until what is missing before it was asked for. The ledger stays at the hole."""
        key = (origin, topic)
        if key not in self._recovery:
            missing = number if envelope is None else number - 1  # a negative number has no predecessor to miss
            if missing <= last or not any(subscription.recover for subscription in subscribers):
                return False
            if not self._recovery.begin(key, last + 1, missing, monotonic()):
                return False
        self._recovery.hold(key, number, envelope, self._size)
        return True

    def recover(self) -> None:
        """Ask for what is missing, and deliver what has come, or is overdue."""
        recovery, now = self._recovery, monotonic()
        while self._answers:
            key, answer = self._answers.popleft()
            if (done := recovery.answered(key, answer, now)) is not None:
                self._settle(done)
        while self._ages:
            origin, age = self._ages.popleft()
            for topic, missed in self._origin_ages.answered(origin, age, now):
                self._gap(origin, topic, missed)
        for origin in self._origin_ages.questions(now):
            self.ask(origin, {"age": True}, self._aged(origin))
        for done in recovery.overdue(now):
            self._settle(done)
        for question in recovery.questions(now):
            origin, topic = question.key
            self.ask(origin, {"recover": [topic, question.first, question.last]}, self._answered(question.key))

    def _answered(self, key: Key) -> Callable[[Any], None]:
        """To be called on any thread with the answer."""

        def answered(answer: Any) -> None:
            self._answers.append((key, answer))
            self._wake()

        return answered

    def _aged(self, origin: bytes) -> Callable[[Any], None]:
        def answered(answer: Any) -> None:
            self._ages.append((origin, answer))
            self._wake()

        return answered

    def _settle(self, done: Done) -> None:
        """Deliver what was found and what was held, and report what is missing still."""
        bus, (origin, topic) = self._bus, done.key
        for index, (number, envelope) in enumerate(done.events):
            subscribers = bus.subscribers_of(topic)
            if not subscribers:
                return
            seen = self._ledger.of(origin)
            last = seen.get(topic, number)
            if last >= done.last and self._hold(last, origin, topic, number, envelope, subscribers):
                for later, held in done.events[index + 1 :]:  # another hole, in what came meanwhile
                    self._recovery.hold(done.key, later, held, self._size)
                return
            if self._note(seen, origin, topic, number, envelope, subscribers) and envelope is not None:
                self.delivered += 1
                for subscription in subscribers:
                    bus.hand_over(subscription, topic, envelope.copy())

    def _forget_unwanted(self) -> None:
        """Forget the topics that somebody stopped listening to, though somebody else may have begun since."""
        wanted = self._bus.subscribers_of
        while self._ended:
            ended = self._ended.popleft()
            matches = PatternTable[bool]().adding(ended.pattern, True).match
            gone = {
                topic
                for topic in self._ledger.topics()
                if matches(topic) and not any(each.serial <= ended.ended_at for each in wanted(topic))
            }
            self._ledger.forget(gone)
            self._unsure = {key for key in self._unsure if key[1] not in gone}
            self._recovery.forget(lambda topic, gone=gone: topic not in gone)  # type: ignore[misc]
