"""The gap detector without a bus's delivery, packs or a clock: event by event, what it decides and what it reports."""

from math import inf

import pytest

from fabric.bus.bus import Bus
from fabric.errors import WireError
from fabric.events.gaps import DELIVER, DROP, HOLD, JOINING_SECONDS, MARK_SECONDS, Gap, GapDetector
from fabric.events.recovery import Question

A, B = b"origin-a", b"origin-b"


class Bench:
    """A detector, the subscriptions of a bus, and a clock (`now`)."""

    def __init__(self):
        self.now = 1_000.0
        self.bus = Bus()
        self.detector = GapDetector()
        self.detector.live_since = 0.0

    def join(self, pattern="a", *, recover=False):
        """A subscription that is still joining."""
        subscription = self.bus.subscribe(pattern, lambda event: None, recover=recover)
        self.detector.expect(subscription, self.now)
        return subscription

    def want(self, pattern="a", *, recover=False):
        """A subscription that is ready."""
        subscription = self.join(pattern, recover=recover)
        self.detector.ready(subscription, self.now)
        return subscription

    def end(self, subscription):
        subscription.cancel()
        self.detector.forget(subscription)
        self.detector.forget_topics(subscription, self.bus.subscribers_of)

    def judge(self, number, topic="a", origin=A, *, envelope=None, **options):
        """The verdict, and how many events are missing in each gap."""
        verdict, gaps = self._judge((topic, number, envelope or {"n": number}), origin, options)
        return verdict, [gap.missed for gap in gaps]

    def mark(self, number, topic="a", origin=A):
        verdict, gaps = self._judge((topic, number, None), origin, {})
        return verdict, [gap.missed for gap in gaps]

    def _judge(self, event, origin, options):
        return self.detector.judge(origin, event, self.bus.subscribers_of(event[0]), self.now, **options)

    def age(self, seconds, origin=A):
        """The origin is asked, and answers how old it is."""
        assert self.detector.origin_ages.questions(self.now) == [origin]
        return [gap.missed for gap in self.detector.aged(origin, {"age": seconds}, self.now)]


@pytest.fixture
def bench():
    return Bench()


# Numbers


def test_consecutive_numbers_are_delivered(bench):
    bench.want()
    assert [bench.judge(number) for number in (1, 2, 3)] == [(DELIVER, [])] * 3


def test_a_number_not_above_the_last_is_a_duplicate(bench):
    bench.want()
    bench.judge(3)
    assert [bench.judge(number) for number in (3, 1, -3)] == [(DROP, [])] * 3


def test_a_number_without_a_known_predecessor_shows_no_hole(bench):
    bench.want(recover=True)
    bench.judge(1)
    assert bench.judge(-9) == (DELIVER, [])
    assert bench.judge(11) == (HOLD, [])


def test_a_hole_is_a_gap_with_its_facts(bench):
    bench.want()
    bench.judge(1, envelope={"src": "somebody"})
    verdict, gaps = bench.detector.judge(A, ("a", 5, {}), bench.bus.subscribers_of("a"), bench.now)
    assert (verdict, gaps) == (DELIVER, [Gap(A, "somebody", "a", 3)])


def test_holes_concern_one_origin_and_topic(bench):
    bench.want("**", recover=True)
    bench.judge(1)
    assert bench.judge(3) == (HOLD, [])
    assert bench.judge(1, "b") == (DELIVER, [])
    assert bench.judge(1, origin=B) == (DELIVER, [])


def test_a_mark_shows_a_lost_tail_and_is_never_delivered(bench):
    bench.want()
    bench.judge(1)
    assert [bench.mark(number) for number in (1, 4, 4)] == [(DROP, []), (DROP, [3]), (DROP, [])]


def test_the_first_event_of_a_topic_must_keep_to_the_grammar(bench):
    bench.want("**")
    with pytest.raises(WireError, match="topic"):
        bench.judge(1, "a..b")


# Recovery


@pytest.mark.parametrize("show", [lambda bench: bench.judge(4), lambda bench: bench.mark(3)])
def test_a_hole_is_recovered_if_a_subscription_has_recover(bench, show):
    bench.want()
    bench.want("**", recover=True)
    bench.judge(1)
    assert show(bench) == (HOLD, [])
    assert bench.detector.recovery.questions(bench.now) == [Question((A, "a"), 2, 3)]


def test_while_a_topic_is_recovered_everything_of_it_is_held(bench):
    bench.want(recover=True)
    bench.judge(1)
    bench.judge(3)
    assert [bench.judge(number) for number in (4, 1, 2)] == [(HOLD, [])] * 3
    assert bench.mark(4) == (HOLD, [])


def test_a_hole_that_was_asked_about_already_is_a_gap(bench):
    bench.want(recover=True)
    bench.judge(1)
    assert bench.judge(4, recover_above=3) == (DELIVER, [2])
    assert bench.judge(6, recover_above=3) == (HOLD, [])


def test_where_nothing_may_be_recovered_a_hole_is_a_gap(bench):
    bench.want(recover=True)
    bench.judge(1)
    assert bench.judge(4, recover_above=inf) == (DELIVER, [2])


# Joining


def test_a_hole_before_the_subscription_counts_as_ready_is_joining_and_no_gap(bench):
    bench.join()
    bench.judge(1)
    assert bench.judge(5) == (DELIVER, [])
    assert bench.detector.joining == 3


def test_a_hole_is_a_gap_as_soon_as_one_of_the_subscriptions_is_ready(bench):
    bench.want()
    bench.join()
    bench.judge(1)
    assert bench.judge(3) == (DELIVER, [1])
    assert bench.detector.joining == 0


def test_a_subscription_is_ready_after_a_while_by_itself(bench):
    bench.join()
    bench.now += JOINING_SECONDS
    bench.judge(1)
    assert bench.judge(3) == (DELIVER, [1])


def test_ready_for_a_subscription_that_has_ended_is_nothing(bench):
    ended = bench.want()
    bench.end(ended)
    bench.detector.ready(ended, bench.now)
    bench.join()
    bench.judge(1)
    assert bench.judge(3) == (DELIVER, [])


@pytest.mark.parametrize(("later", "missed"), [(MARK_SECONDS - 0.1, []), (MARK_SECONDS, [1])])
def test_a_hole_from_joining_may_show_until_a_mark_has_had_time_to_come(bench, later, missed):
    bench.join()
    bench.judge(1)
    # Number 2 travels under a topic that was not asked for, and nothing follows. Its mark comes after a second of quiet.
    bench.now += JOINING_SECONDS + later
    assert bench.mark(2) == (DROP, missed)


def test_only_the_first_hole_of_a_topic_may_be_from_joining(bench):
    bench.join()
    bench.judge(1)
    bench.now += JOINING_SECONDS
    assert [bench.judge(number) for number in (3, 5)] == [(DELIVER, []), (DELIVER, [1])]


# The end of a subscription


def test_events_sent_between_two_subscriptions_are_no_gap(bench):
    first = bench.want()
    bench.judge(1)
    bench.end(first)
    bench.want()  # and meanwhile a was published for others, up to number 9
    assert bench.judge(10) == (DELIVER, [])


def test_a_topic_is_not_forgotten_with_one_of_two_subscriptions(bench):
    bench.want()
    second = bench.want("*")
    bench.judge(1)
    bench.end(second)
    assert bench.judge(3) == (DELIVER, [1])


def test_a_subscription_that_began_after_the_end_starts_anew(bench):
    first = bench.want()
    bench.judge(1)
    first.cancel()
    bench.detector.forget(first)
    bench.want()
    bench.detector.forget_topics(first, bench.bus.subscribers_of)
    assert bench.judge(9) == (DELIVER, [])


def test_a_recovery_ends_with_its_subscription(bench):
    only = bench.want(recover=True)
    bench.judge(1)
    bench.judge(3)
    bench.end(only)
    assert len(bench.detector.recovery) == 0


# Before the first event


def test_events_of_an_origin_younger_than_the_subscription_are_lost_if_they_did_not_come(bench):
    bench.want()
    bench.now += 10.0
    assert bench.judge(4) == (DELIVER, [])
    assert bench.age(9.0) == [3]


@pytest.mark.parametrize("number", [1, 4])
def test_a_mark_that_comes_first_shows_that_all_up_to_it_are_missing(bench, number):
    bench.want()
    bench.now += 10.0
    assert bench.mark(number) == (DROP, [])
    assert bench.age(9.0) == [number]


def test_of_an_older_origin_it_is_unknown_and_no_gap(bench):
    bench.want()
    bench.now += 10.0
    bench.judge(4)
    assert bench.age(11.0) == []


def test_once_the_age_is_known_the_next_topics_are_judged_at_once(bench):
    bench.want("**")
    bench.now += 10.0
    bench.judge(4)
    bench.age(9.0)
    assert bench.judge(3, "b") == (DELIVER, [2])


@pytest.mark.parametrize("number", [1, -9])
def test_an_origin_is_not_asked_where_nothing_can_be_missing(bench, number):
    bench.want()
    bench.judge(number)
    assert bench.detector.origin_ages.questions(bench.now) == []


def test_an_origin_is_not_asked_before_a_subscription_is_ready_and_the_link_was_up(bench):
    bench.join()
    bench.judge(4)
    bench.detector.live_since = inf
    bench.want("b")
    bench.judge(4, "b")
    assert bench.detector.origin_ages.questions(bench.now) == []
