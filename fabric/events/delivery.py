"""Inbound pipeline: decodes a message that was read, has its numbers judged, and hands its events to the bus.

    pack ─▸ decode ─▸ judge ─┬─▸ DELIVER ─▸ the bus         (`fabric.events.gaps` judges; the gaps that an event shows are
                             ├─▸ HOLD ────▸ `recovery`       published before it, as `fabric.gap`)
                             └─▸ DROP

It also carries the questions of `recovery` and `origin_age` to their origins, and the answers back.

Knows no socket and has no thread of its own: the receiver calls it on the delivery thread, and other threads read its
counters.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic, time
from typing import Any, TypeVar

from fabric.bus.bus import Bus
from fabric.bus.subscription import Subscription
from fabric.errors import WireError
from fabric.events.gaps import DELIVER, DROP, HOLD, Fate, Gap, GapDetector, Subscribers
from fabric.events.recovery import Key, RecoveryResult
from fabric.protocol.events import Event, decode_events

logger = logging.getLogger("fabric.link")

#: Seconds between log lines about bytes that are not our protocol.
LOG_INTERVAL = 10.0

Ask = Callable[[bytes, Any, Callable[[Any], None]], None]
_About = TypeVar("_About")


class EventDelivery:
    """See the module. Methods belong to the delivery thread, except those marked; `wake()` wakes it.

    `clock` returns monotonic seconds.
    """

    def __init__(self, bus: Bus, *, wake: Callable[[], None], clock: Callable[[], float] = monotonic) -> None:
        #: Events handed to the bus; duplicates dropped.
        self.delivered = 0
        self.duplicates = 0
        #: Gaps: how many, and how many events are missing in them.
        self.gaps = 0
        self.missed = 0
        #: Events dropped because the backlog was full (`shed`).
        self.dropped = 0
        #: Messages that are not our protocol.
        self.rejected = 0
        #: Seconds between an event's `ts` and now, when one was delivered last. Another host's clock may differ.
        self.lag = 0.0
        #: Asks an origin: `ask(origin, question, answered)`. Set it before the first subscription.
        self.ask: Ask = lambda _origin, _question, answered: answered(None)
        #: Judges the events that arrive.
        self.detector = GapDetector()
        self._bus = bus
        self._wake = wake
        self._clock = clock
        self._ended: deque[Subscription] = deque()
        self._log_at = 0.0
        self._recovery_answers: deque[tuple[Key, Any]] = deque()  # any thread appends
        self._age_answers: deque[tuple[bytes, Any]] = deque()
        self._events: list[Event] = []  # the events of the message that is delivered
        self._event_size = 0  # of one of them
        self._sent_at: Any = None

    # Any thread

    def expect(self, subscription: Subscription) -> None:
        """A subscription begins: for a while its holes are not gaps."""
        self.detector.expect(subscription, self._clock())

    def ready(self, subscription: Subscription) -> None:
        """Every publisher knows of the subscription: from now on holes are gaps."""
        self.detector.ready(subscription, self._clock())

    def forget(self, subscription: Subscription) -> None:
        """A subscription has ended."""
        self.detector.forget(subscription)
        self._ended.append(subscription)

    def link_up(self) -> None:
        """The link is up, perhaps again."""
        self.detector.live_since = min(self.detector.live_since, self._clock())

    def forked(self) -> None:
        """In the child of a fork: drop the events at hand. A callback that forked returns into `deliver` in both processes,
        and the parent delivers them."""
        self._events.clear()

    @property
    def recovered(self) -> int:
        """Events that were missing, and that their origin sent again."""
        return self.detector.recovery.recovered

    @property
    def joining(self) -> int:
        """Events missing from before a subscription counted as ready."""
        return self.detector.joining

    # The delivery thread

    def deliver(self, origin: bytes, pack: bytes) -> None:
        """Deliver the events of a message."""
        while self._ended:
            self.detector.forget_topics(self._ended.popleft(), self._bus.subscribers_of)
        bus = self._bus
        known = bus.known_topics
        try:
            events = decode_events(pack)
        except WireError as error:
            self.reject(error, pack)
            return
        if events and (last := events[-1][2]) is not None:
            self._sent_at = last.get("ts")  # read before delivery, after which the envelope belongs to the callback
        seen = self.detector.ledger.of(origin)
        self._event_size = len(pack) // (len(events) or 1)
        self._events = events
        for event in events:
            topic, number, envelope = event
            subscribers = known.get(topic)
            if subscribers is None:
                subscribers = bus.subscribers_of(topic)
            if not subscribers:
                continue
            if seen.get(topic) == number - 1 and envelope is not None:
                seen[topic] = number
            elif self._judge(origin, event, subscribers) is not DELIVER or envelope is None:
                continue
            self.delivered += 1
            if len(subscribers) == 1:
                bus.hand_over(subscribers[0], topic, envelope)
                continue
            for subscription in subscribers:
                bus.hand_over(subscription, topic, envelope.copy())  # one owner each

    def measure_lag(self) -> None:
        """Set `lag`, after some messages: the age of the last event when it had been delivered."""
        if self._sent_at.__class__ is float:
            self.lag = time() - self._sent_at
        self._sent_at = None

    def shed(self, origin: bytes, pack: bytes) -> None:
        """Drop a message. It is decoded and judged nevertheless: its events are counted as dropped, and are not gaps."""
        try:
            events = decode_events(pack)
        except WireError as error:
            self.reject(error, pack)
            return
        self._event_size = len(pack) // (len(events) or 1)
        for event in events:
            subscribers = self._bus.subscribers_of(event[0])
            if subscribers and self._judge(origin, event, subscribers, inf) is DELIVER:
                self.dropped += 1

    def reject(self, problem: object, frame: bytes) -> None:
        """Count bytes that are not our protocol, and log that every `LOG_INTERVAL`."""
        self.rejected += 1
        now = self._clock()
        if now >= self._log_at:
            self._log_at = now + LOG_INTERVAL
            logger.warning("rejected a message (%d so far): %s (%d bytes)", self.rejected, problem, len(frame))

    @property
    def recovering(self) -> bool:
        """Whether `recover` has work, now or soon."""
        detector = self.detector
        return bool(detector.recovery or detector.origin_ages or self._age_answers)

    def poll_timeout(self) -> float | None:
        """Milliseconds until `recover` must be called; None: not before something happens."""
        detector = self.detector
        due = [at for at in (detector.recovery.next_deadline(), detector.origin_ages.next_deadline()) if at is not None]
        return max(min(due) - self._clock(), 0.0) * 1_000 + 1 if due else None

    def recover(self) -> None:
        """Send the questions that are due, and process answers and deadlines."""
        detector, recovery, now = self.detector, self.detector.recovery, self._clock()
        while self._recovery_answers:
            key, answer = self._recovery_answers.popleft()
            if (done := recovery.answered(key, answer, now)) is not None:
                self._finish(done)
        while self._age_answers:
            origin, answer = self._age_answers.popleft()
            self._report(detector.aged(origin, answer, now))
        for origin in detector.origin_ages.questions(now):
            self.ask(origin, {"age": True}, self._collector(self._age_answers, origin))
        for done in recovery.overdue(now):
            self._finish(done)
        for key, first, last in recovery.questions(now):
            self.ask(key[0], {"recover": [key[1], first, last]}, self._collector(self._recovery_answers, key))

    def _collector(self, answers: deque[tuple[_About, Any]], about: _About) -> Callable[[Any], None]:
        """A function that appends an answer to `answers`. Any thread may call it."""

        def answered(answer: Any) -> None:
            answers.append((about, answer))
            self._wake()

        return answered

    def _judge(self, origin: bytes, event: Event, subscribers: Subscribers, recover_above: float = 0) -> Fate:
        """The slow path: any event but the next number of a known topic. Also counts it, reports gaps, and holds it."""
        topic, number, envelope = event
        try:
            fate, gaps = self.detector.judge(origin, event, subscribers, self._clock(), recover_above)
        except WireError as error:
            self.reject(error, topic.encode(errors="replace"))
            return DROP
        if gaps:
            self._report(gaps)
        if fate is HOLD:
            self.detector.recovery.hold((origin, topic), number, envelope, self._event_size)
        elif fate is DROP and envelope is not None:
            self.duplicates += 1
        return fate

    def _report(self, gaps: Iterable[Gap]) -> None:
        for origin, src, topic, missed in gaps:
            self.gaps += 1
            self.missed += missed
            self._bus.announce("fabric.gap", {"origin": origin.hex(), "src": src, "topic": topic, "missed": missed})

    def _finish(self, done: RecoveryResult) -> None:
        """Deliver the events found and the events held, and report those that are still missing."""
        bus, (origin, topic) = self._bus, done.key
        for index, (number, envelope) in enumerate(done.events):
            subscribers = bus.subscribers_of(topic)
            if not subscribers:
                return
            verdict = self._judge(origin, (topic, number, envelope), subscribers, done.last)
            if verdict is HOLD:  # there is another hole, which is recovered next
                for later, held in done.events[index + 1 :]:
                    self.detector.recovery.hold(done.key, later, held, self._event_size)
                return
            if verdict is DELIVER and envelope is not None:
                self.delivered += 1
                for subscription in subscribers:
                    bus.hand_over(subscription, topic, envelope.copy())
