from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.events.offline_queue import OVERHEAD, POLICIES, OfflineQueue, OutboxLimits


def take_in(held, *topics, now=0.0, size=10):
    fresh = deque((topic, b"x" * size) for topic in topics)
    held.take_in(fresh, now)
    assert not fresh


def topics(held):
    return [topic for topic, _ in held.items]


def test_events_leave_in_the_order_they_came():
    held = OfflineQueue(OutboxLimits())
    take_in(held, "a", "b")
    take_in(held, "a")
    assert topics(held) == ["a", "b", "a"]


@pytest.mark.parametrize(("policy", "left"), [("drop_oldest", ["c", "d"]), ("drop_newest", ["a", "b"])])
def test_above_the_number_of_events_the_policy_decides(policy, left):
    held = OfflineQueue(OutboxLimits(events=2, policy=policy))
    take_in(held, "a", "b", "c", "d")
    assert (topics(held), held.full, held.dropped) == (left, 2, 2)


@pytest.mark.parametrize(("policy", "left"), [("drop_oldest", ["c"]), ("drop_newest", ["a"])])
def test_above_the_bytes_the_policy_decides(policy, left):
    held = OfflineQueue(OutboxLimits(bytes=OVERHEAD + 10, policy=policy))
    take_in(held, "a", "b", "c")
    assert (topics(held), held.full, held.bytes) == (left, 2, OVERHEAD + 10)


def test_the_newest_of_each_topic_is_kept_in_the_order_of_the_newest():
    held = OfflineQueue(OutboxLimits(policy="latest"))
    take_in(held, "a", "b", "a")
    take_in(held, "c", "b", now=1.0)
    assert (topics(held), held.superseded, held.dropped) == (["a", "c", "b"], 2, 0)
    assert held.bytes == 3 * (OVERHEAD + 10)


def test_more_topics_than_the_bound_lose_the_oldest():
    held = OfflineQueue(OutboxLimits(events=2, policy="latest"))
    take_in(held, "a", "b", "a", "c")
    assert (topics(held), held.superseded, held.full) == (["a", "c"], 1, 1)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_event_that_waited_for_too_long_is_dropped_whatever_the_policy(policy):
    held = OfflineQueue(OutboxLimits(seconds=5.0, policy=policy))
    take_in(held, "a", now=0.0)
    take_in(held, "b", now=5.0)
    assert topics(held) == ["a", "b"]
    take_in(held, now=5.1)
    assert (topics(held), held.expired, held.dropped) == (["b"], 1, 1)


@given(
    st.sampled_from(POLICIES),
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.floats(0, 3))),
)
def test_every_event_dropped_is_counted_and_the_bounds_are_kept(policy, events, came):
    held = OfflineQueue(OutboxLimits(events=events, bytes=4 * OVERHEAD, seconds=5.0, policy=policy))
    now = 0.0
    for topic, size, later in came:
        now += later
        take_in(held, topic, now=now, size=size)
        assert len(held) <= events
        assert held.bytes <= 4 * OVERHEAD
    assert len(held) + held.full + held.expired + held.superseded == len(came)
    assert held.bytes == sum(len(envelope) + OVERHEAD for _, envelope in held.items)
