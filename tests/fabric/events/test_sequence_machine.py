"""Numbers, gaps and recovery as one state machine: every event lost on the way is recovered or reported, and no other.

    Outbox, Counter, TailMarks, RetransmitBuffer ─▸ pipe ─▸ the proxy's filter ─▸ EventDelivery, GapDetector ─▸ a Bus
        ▴     lives of publishers                    └─ may lose messages             a subscriber
        └────────────── questions and answers, which may be lost, cut, late or wrong ─────────────┘

Everything is the product's own code except the pipes and the clock. The events delivered and the gaps reported are
compared with the events that each publisher has numbered.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from itertools import pairwise
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fabric.bus.bus import Bus
from fabric.bus.subscription import Subscription
from fabric.events.delivery import EventDelivery
from fabric.events.gaps import JOINING_SECONDS
from fabric.events.interest import NOBODY, Routes
from fabric.events.outbox import Outbox
from fabric.events.recovery import TIMEOUT
from fabric.protocol.events import decode_events, decode_topic, prefixes
from fabric.protocol.sequence import LAST_MARK, Counter, TailMarks

#: Two under one wildcard; two that share the route of a subscriber to everything.
TOPICS = ["x.a", "x.b", "y", "z"]
PATTERNS = ["**", "x.*", "x.a", "y", "z"]
#: Subscriptions of other nodes: so every event is numbered, and some travel under topics that are not wanted here.
ELSEWHERE = ["**", "x.*"]
#: Topics that a publisher counts. Fewer than there are topics: then it forgets how many events it has sent.
FEW_COUNTED = 2
ALL_COUNTED = 100
#: Bytes of a retransmit buffer: some lost events are not there any more when they are asked for.
HISTORY_BYTES = 2_000
Key = tuple[bytes, str]


class Publisher:
    """One life of a publisher."""

    def __init__(self, origin: bytes, counted: int) -> None:
        self.origin = origin
        self.outbox = Outbox(origin, history=HISTORY_BYTES)
        self.outbox.counter = Counter(counted)
        self.marks = TailMarks()
        self.routes = Routes(set(), ())
        self.pipe: deque[tuple[bytes, bytes]] = deque()
        self.published = 0

    def read(self, patterns: list[str]) -> None:
        """The subscriptions are read."""
        wanted = {prefix for pattern in patterns for prefix in prefixes(pattern)}
        self.routes = Routes(wanted, {len(prefix) for prefix in wanted})
        self.marks.restart()

    def publish(self, topics: list[str]) -> None:
        for topic in topics:
            self.published += 1
            event = {"origin": self.origin.hex(), "topic": topic, "n": self.published, "pad": "x" * 50}
            self.outbox.append((topic, orjson.dumps(event)))
        while (topic := self.outbox.next_topic(self.routes)) is not None:
            self.pipe.append((self.outbox.head(topic)[0], self.outbox.take(self.routes)))

    def mark(self, now: float) -> None:
        for topic, number in self.marks.due(self.outbox.counter.numbers, now, 100):
            if self.routes.of(topic) != NOBODY:
                self.pipe.append((self.outbox.head(topic)[0], self.outbox.mark(topic, number)))


class SequenceMachine(RuleBasedStateMachine):
    """See the module. In this one nothing is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.bus = Bus()
        self.delivery = EventDelivery(self.bus, wake=lambda: None, clock=lambda: self.now)
        self.delivery.ask = self._ask
        self.bus.subscribe("fabric.gap", self._gap)
        self.wanted: Tally[bytes] = Tally()
        self.subscriptions: list[Subscription] = []
        self.publishers: list[Publisher] = []
        self.counted = ALL_COUNTED
        self.lives = 0
        self.behind_since: float | None = None  # since when a subscription is unknown to the publishers
        self.questions: deque[tuple[Publisher, list[Any], Any]] = deque()
        #: Per subscription: the numbers delivered, and those that passed for it. Per topic: events lost, and events missed
        #: because they travelled under another topic.
        self.got: dict[Subscription, dict[Key, list[int]]] = {}
        self.passed: dict[Subscription, dict[Key, list[int]]] = {}
        self.dropped: Tally[Key] = Tally()
        self.missed_under_others: Tally[Key] = Tally()
        self.reported: Tally[Key] = Tally()
        #: Topics of which an event has arrived, from which on all are promised; and their losses since.
        self.begun: set[Key] = set()
        self.owed: Tally[Key] = Tally()
        #: Whether publishers live on and count all topics, and subscriptions stay: then every loss can be accounted for.
        self.steady = False

    @initialize(
        pattern=st.sampled_from(PATTERNS),
        recover=st.booleans(),
        kind=st.sampled_from(["steady", "steady", "forgetful", "restless"]),
    )
    def begin(self, pattern: str, recover: bool, kind: str) -> None:
        self.counted = FEW_COUNTED if kind == "forgetful" else ALL_COUNTED
        self.steady = kind == "steady"
        for _ in range(2):
            self._live()
        self.subscribe(pattern, recover)
        self.hear()
        self.now += JOINING_SECONDS + 0.1

    def _live(self) -> None:
        self.lives += 1
        self.publishers.append(Publisher(b"origin%02d" % self.lives, self.counted))
        self.publishers[-1].read(self._patterns())

    def _patterns(self) -> list[str]:
        return ELSEWHERE + [subscription.pattern for subscription in self.subscriptions]

    # The subscriber

    @rule(pattern=st.sampled_from(PATTERNS), recover=st.booleans())
    @precondition(lambda self: len(self.subscriptions) < 3)
    def subscribe(self, pattern: str, recover: bool) -> None:
        got: dict[Key, list[int]] = defaultdict(list)

        def note(event: dict[str, Any]) -> None:
            if "n" in event:  # no gap, which is an event, too
                got[bytes.fromhex(event["origin"]), event["topic"]].append(event["n"])

        subscription = self.bus.subscribe(pattern, note, recover=recover)
        self.got[subscription], self.passed[subscription] = got, defaultdict(list)
        self.subscriptions.append(subscription)
        self.delivery.expect(subscription)
        self.wanted.update(prefixes(pattern))
        self.behind_since = self.now if self.behind_since is None else self.behind_since

    @rule()
    @precondition(lambda self: len(self.subscriptions) > 1 and not self.steady)
    def unsubscribe(self) -> None:
        subscription = self.subscriptions.pop(0)
        subscription.cancel()
        self.delivery.forget(subscription)
        self.wanted.subtract(prefixes(subscription.pattern))

    # Publishers

    @rule(who=st.integers(0, 1), topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=8))
    def publish(self, who: int, topics: list[str]) -> None:
        self.publishers[who].publish(topics)

    @rule(who=st.integers(0, 1), topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=8))
    def publish_at_once(self, who: int, topics: list[str]) -> None:
        self.publishers[who].publish(topics)
        self.flush()

    @rule()
    def hear(self) -> None:
        """The publishers read the subscriptions."""
        self.behind_since = None
        for publisher in self.publishers:
            publisher.read(self._patterns())

    @rule(who=st.integers(0, 1))
    @precondition(lambda self: not self.steady)
    def restart(self, who: int) -> None:
        """A new life: another origin, numbers from one."""
        self.flush()
        self._live()
        self.publishers[who] = self.publishers.pop()

    # The way

    @rule()
    def flush(self) -> None:
        """All waiting messages pass the proxy and are delivered."""
        for publisher in self.publishers:
            while publisher.pipe:
                self._pass(*publisher.pipe.popleft())
        self._recover()

    def _pass(self, first: bytes, second: bytes, lost: bool = False) -> None:
        origin = decode_topic(first).origin
        fits = any(count and first.startswith(prefix) for prefix, count in self.wanted.items())
        for topic, _, envelope in decode_events(second):
            subscribers = self.bus.subscribers_of(topic)
            key = (origin, topic)
            if not subscribers:
                continue
            if fits and not lost:
                self.begun.add(key)
                for subscription in subscribers if envelope is not None else ():
                    self.passed[subscription][key].append(envelope["n"])
            elif envelope is not None:
                (self.dropped if fits else self.missed_under_others)[key] += 1
                self.owed[key] += key in self.begun
        if fits and not lost:
            self.delivery.deliver(origin, second)

    def _recover(self) -> None:
        self.delivery.recover()
        if self.delivery.recovering:
            assert self.delivery.poll_timeout() is not None

    @rule(seconds=st.sampled_from([0.2, 0.2, 1.1, 6.0, 70.0]))
    def wait(self, seconds: float) -> None:
        if self.behind_since is not None and self.now + seconds > self.behind_since + JOINING_SECONDS / 2:
            self.hear()
            self.flush()  # messages sent with the old routes travel for less than a second
        self.now += seconds
        for publisher in self.publishers:
            publisher.mark(self.now)
        self._recover()

    # Questions

    def _ask(self, origin: bytes, question: Any, answered: Any) -> None:
        asked = next((publisher for publisher in self.publishers if publisher.origin == origin), None)
        if asked is None:
            answered(None)
        else:
            self.questions.append((asked, question["recover"], answered))

    def _answer(self, how: str) -> None:
        publisher, (topic, first, last), answered = self.questions.popleft()
        found = publisher.outbox.retransmit.find(topic, first, last, 100 if how == "cut" else 1_000_000)
        answer: Any = {"events": [list(event) for event in found.events], "more": found.more}
        if how == "some":
            answer["events"] = answer["events"][1::2]
        elif how == "none":
            answer = None
        elif how == "late":
            self.now += 1.5
        elif how == "nonsense":
            answer = {"events": [[last + 1, {}]], "more": True}
        for _ in range(2 if how == "twice" else 1):
            answered(orjson.loads(orjson.dumps(answer)))
        self._recover()

    # Invariants

    def _gap(self, event: dict[str, Any]) -> None:
        self.reported[bytes.fromhex(event["origin"]), event["topic"]] += event["missed"]

    @invariant()
    def nothing_comes_twice_or_out_of_order(self) -> None:
        for got in self.got.values():
            for numbers in got.values():
                assert all(one < other for one, other in pairwise(numbers)), numbers
        assert self.delivery.duplicates == 0

    @invariant()
    def what_passed_was_delivered_or_waits_for_what_did_not(self) -> None:
        pending = self.delivery.detector.recovery.keys
        for subscription in self.subscriptions:
            for key, numbers in self.passed[subscription].items():
                if key not in pending:
                    assert set(numbers) <= set(self.got[subscription][key]), key

    @invariant()
    def no_gap_is_false(self) -> None:
        assert self.delivery.missed == sum(self.reported.values())
        for key, missed in self.reported.items():
            assert missed > 0
            if self.counted == ALL_COUNTED:
                assert missed <= self.dropped[key] + self.missed_under_others[key], key
            else:  # the publisher forgot the topic: the gap may be overstated, but an event must have been lost
                assert self.dropped[key] + self.missed_under_others[key], key

    def teardown(self) -> None:
        """In the end every question is answered or overdue, and every missing event is accounted for."""
        self.hear()
        for _ in range(3):
            self.flush()
            while self.questions:
                self._answer("all")
            self.now += max(LAST_MARK, TIMEOUT) + 1
            for publisher in self.publishers:
                publisher.mark(self.now)
        self.flush()
        self.now += TIMEOUT + 1
        self._recover()
        assert self.delivery.detector.recovery.stats() == {"holes": 0, "held": 0, "held_bytes": 0}
        self.nothing_comes_twice_or_out_of_order()
        self.what_passed_was_delivered_or_waits_for_what_did_not()
        self.no_gap_is_false()
        if self.steady:
            owed = sum(self.owed.values())
            assert owed == self.delivery.missed + self.delivery.joining + self.delivery.recovered


class LossyMachine(SequenceMachine):
    """In this one messages, questions and answers are lost."""

    @rule(who=st.integers(0, 1), lost=st.lists(st.booleans(), min_size=1, max_size=8))
    def lose(self, who: int, lost: list[bool]) -> None:
        """Full pipes, killed proxies: some messages arrive, others do not."""
        pipe = self.publishers[who].pipe
        for each in lost:
            if pipe:
                self._pass(*pipe.popleft(), lost=each)
        self._recover()

    @rule(who=st.integers(0, 1), topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=4), keep=st.booleans())
    def publish_in_vain(self, who: int, topics: list[str], keep: bool) -> None:
        for topic in topics:
            self.publish(who, [topic])
        self.lose(who, [True] * len(self.publishers[who].pipe))
        if keep:
            self.publish_at_once(who, topics)

    @rule(how=st.sampled_from(["all", "all", "cut", "cut", "some", "none", "late", "twice", "nonsense"]))
    @precondition(lambda self: self.questions)
    def answer(self, how: str) -> None:
        self._answer(how)

    @rule()
    @precondition(lambda self: self.questions)
    def lose_a_question(self) -> None:
        self.questions.popleft()


TestNothingIsLost = SequenceMachine.TestCase
TestNothingIsLost.settings = settings(max_examples=100, stateful_step_count=40)
TestLosses = LossyMachine.TestCase
TestLosses.settings = settings(max_examples=400, stateful_step_count=40)
