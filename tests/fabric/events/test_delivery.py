"""The delivery without a socket: packs in, events on a bus out. `test_receiver` tests it behind a socket."""

from time import time

import orjson
import pytest

from fabric.bus.bus import Bus
from fabric.events.delivery import LOG_INTERVAL, EventDelivery
from fabric.events.recovery import TIMEOUT

A, B = b"origin-a", b"origin-b"


class Bench:
    """A bus, the events delivered on it, a clock (`now`), and an origin that answers as a test says."""

    def __init__(self):
        self.now = 1_000.0
        self.bus = Bus()
        self.delivery = EventDelivery(self.bus, wake=lambda: None, clock=lambda: self.now)
        self.delivery.ask = self._ask
        self.seen, self.gaps, self.asked = [], [], []
        self.bus.subscribe("fabric.gap", self.gaps.append)

    def subscribe(self, pattern="a", *, recover=True):
        subscription = self.bus.subscribe(
            pattern, lambda event: self.seen.append((event["topic"], event["n"])), recover=recover
        )
        self.delivery.expect(subscription)
        self.delivery.ready(subscription)
        return subscription

    def _ask(self, origin, question, answered):
        self.asked.append((origin, question, answered))

    def deliver(self, *numbers, topic="a", origin=A):
        self.delivery.deliver(origin, self.pack(*numbers, topic=topic))

    def pack(self, *numbers, topic="a"):
        return orjson.dumps([[topic, number, {"topic": topic, "n": abs(number)}] for number in numbers])

    def mark(self, number, topic="a", origin=A):
        self.delivery.deliver(origin, orjson.dumps([[topic, number, None]]))

    def answer(self, *numbers, topic="a"):
        """The origin answers the last question with these events."""
        events = [[number, {"topic": topic, "n": number}] for number in numbers]
        self.asked.pop()[2]({"events": events, "more": False})
        self.delivery.recover()

    @property
    def numbers(self):
        return [number for _, number in self.seen]

    @property
    def missed(self):
        return [gap["missed"] for gap in self.gaps]


@pytest.fixture
def bench():
    return Bench()


def test_the_origin_is_asked_for_missing_events(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(4)
    bench.delivery.recover()
    assert [(origin, question) for origin, question, _ in bench.asked] == [(A, {"recover": ["a", 2, 3]})]
    assert (bench.numbers, bench.delivery.recovering) == ([1], True)


def test_recovered_events_come_before_events_that_arrived_meanwhile(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(4, 5)
    bench.delivery.recover()
    bench.deliver(6)
    bench.answer(2, 3)
    assert (bench.numbers, bench.gaps, bench.delivery.recovered) == ([1, 2, 3, 4, 5, 6], [], 2)
    bench.deliver(7)
    assert bench.numbers[-1] == 7


def test_events_that_the_origin_does_not_have_are_a_gap(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(7)
    bench.delivery.recover()
    bench.answer(4, 5)
    assert (bench.numbers, bench.missed, bench.delivery.missed) == ([1, 4, 5, 7], [2, 1], 3)


def test_a_lost_tail_is_recovered_when_its_mark_arrives(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.mark(3)
    bench.delivery.recover()
    bench.answer(2, 3)
    assert (bench.numbers, bench.gaps) == ([1, 2, 3], [])


def test_a_second_hole_behind_the_first_is_recovered_too(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(3)
    bench.deliver(6)
    bench.delivery.recover()
    bench.answer(2)
    assert bench.numbers == [1, 2, 3]
    bench.delivery.recover()
    assert bench.asked[-1][1] == {"recover": ["a", 4, 5]}
    bench.answer(4, 5)
    assert (bench.numbers, bench.gaps) == ([1, 2, 3, 4, 5, 6], [])


def test_other_topics_and_other_origins_are_delivered_meanwhile(bench):
    bench.subscribe("**")
    bench.deliver(1)
    bench.deliver(3)
    bench.deliver(1, topic="b")
    bench.deliver(1, origin=B)
    assert bench.seen == [("a", 1), ("b", 1), ("a", 1)]


def test_duplicates_that_arrive_during_a_recovery_are_dropped(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(3)
    bench.deliver(1, 3)
    bench.delivery.recover()
    bench.answer(2)
    assert (bench.numbers, bench.delivery.duplicates) == ([1, 2, 3], 2)


def test_after_its_timeout_a_recovery_ends_and_the_missing_events_are_a_gap(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(3)
    bench.delivery.recover()
    assert bench.numbers == [1]
    bench.now += TIMEOUT
    bench.delivery.recover()
    assert (bench.numbers, bench.missed) == ([1, 3], [1])


def test_without_recover_a_hole_is_a_gap_at_once(bench):
    bench.subscribe(recover=False)
    bench.deliver(1)
    bench.deliver(3)
    assert (bench.numbers, bench.missed, bench.delivery.recovering) == ([1, 3], [1], False)


def test_one_subscription_with_recover_recovers_for_all_of_its_topic(bench):
    bench.subscribe(recover=False)
    bench.subscribe("**", recover=True)
    bench.deliver(1)
    bench.deliver(3)
    bench.delivery.recover()
    bench.answer(2)
    assert bench.numbers == [1, 1, 2, 2, 3, 3]


def test_held_events_are_dropped_when_their_last_subscription_ends(bench):
    subscription = bench.subscribe()
    bench.deliver(1)
    bench.deliver(3)
    subscription.cancel()
    bench.delivery.forget(subscription)
    bench.deliver(1, topic="b")
    assert (bench.numbers, bench.delivery.recovering) == ([1], False)


def test_events_that_are_shed_are_counted_and_are_no_gap(bench):
    bench.subscribe(recover=False)
    bench.deliver(1)
    bench.delivery.shed(A, bench.pack(2, 3))
    bench.deliver(4)
    assert (bench.numbers, bench.delivery.dropped, bench.gaps) == ([1, 4], 2, [])


def test_a_hole_before_an_event_that_is_shed_is_a_gap(bench):
    bench.subscribe(recover=False)
    bench.deliver(1)
    bench.delivery.shed(A, bench.pack(3))
    assert (bench.delivery.dropped, bench.missed) == (1, [1])


def test_an_event_that_would_be_shed_behind_a_hole_is_held_with_the_others(bench):
    bench.subscribe()
    bench.deliver(1)
    bench.deliver(3)
    bench.delivery.shed(A, bench.pack(4))
    bench.delivery.recover()
    bench.answer(2)
    assert (bench.numbers, bench.delivery.dropped) == ([1, 2, 3, 4], 0)


def test_the_lag_is_the_age_of_the_last_event(bench):
    bench.subscribe("t")
    before = time()
    bench.delivery.deliver(A, orjson.dumps([["t", 1, {"topic": "t", "n": 1, "ts": before - 4.5}]]))
    bench.delivery.measure_lag()
    assert 4.5 <= bench.delivery.lag <= 4.5 + time() - before


def test_a_ts_that_is_no_number_makes_no_lag(bench):
    bench.subscribe("t")
    bench.delivery.deliver(A, orjson.dumps([["t", 1, {"topic": "t", "n": 1, "ts": "noon"}]]))
    bench.delivery.measure_lag()
    assert bench.delivery.lag == 0.0


def test_bytes_of_another_protocol_are_logged_once_an_interval_with_their_count(bench, caplog):
    for _ in range(3):
        bench.delivery.reject("3 bytes", b"bad")
    bench.now += LOG_INTERVAL
    bench.delivery.reject("3 bytes", b"bad")
    assert [record.getMessage()[:34] for record in caplog.records] == [
        "rejected a message (1 so far): 3 b",
        "rejected a message (4 so far): 3 b",
    ]


def test_the_first_event_of_a_topic_that_breaks_the_grammar_is_rejected(bench):
    bench.subscribe("**")
    bench.deliver(1, 2, topic="a..b")
    assert (bench.seen, bench.delivery.rejected, bench.delivery.duplicates) == ([], 2, 0)


# Events from before the first one seen


@pytest.fixture
def live(bench):
    """The link is up, and a subscription has been ready for 100 seconds."""
    bench.delivery.link_up()
    bench.subscribe(recover=False)
    bench.now += 100.0
    return bench


def age(bench, seconds):
    """The origin answers the question about its age."""
    bench.delivery.recover()
    _, question, answered = bench.asked.pop()
    assert question == {"age": True}
    answered({"age": seconds})
    bench.delivery.recover()


def test_earlier_events_of_an_origin_younger_than_the_subscription_are_a_gap(live):
    live.deliver(4)
    age(live, 0.0)
    assert (live.numbers, live.missed) == ([4], [3])


def test_earlier_events_of_an_older_origin_are_no_gap(live):
    live.deliver(4)
    age(live, 1_000.0)
    assert (live.gaps, live.delivery.recovering) == ([], False)


def test_a_mark_that_comes_first_shows_all_events_sent(live):
    live.mark(4)
    age(live, 0.0)
    assert (live.numbers, live.missed) == ([], [4])


def test_an_origin_is_not_asked_after_an_event_with_number_1(live):
    live.deliver(1)
    live.delivery.recover()
    assert live.asked == []


def test_an_origin_is_not_asked_after_a_number_without_a_predecessor(live):
    live.deliver(-9)
    live.delivery.recover()
    assert live.asked == []


def test_an_origin_is_not_asked_before_the_link_was_up(bench):
    bench.subscribe(recover=False)
    bench.deliver(4)
    bench.delivery.recover()
    assert bench.asked == []
