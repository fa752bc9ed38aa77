"""What is no subscription, and the routes that follow from those that are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.events.interest import CACHE_SIZE, MANY_PREFIXES, MAX_RESERVED, NOBODY, Interest
from fabric.protocol.events import MAX_PREFIX, prefixes
from tests.fabric.subscriptions import connected, minus, plus, wants

# Garbage


@pytest.mark.parametrize("frame", [b"", b"\x02", b"\x02a", b"hello", b"\xff", b"\x01" + b"x" * (MAX_PREFIX + 1)])
def test_what_is_no_subscription_is_counted_and_changes_nothing(frame):
    interest = connected(b"a\0")
    interest.read([frame], 0.0)
    assert interest.rejected == 1
    assert interest.up
    assert interest.wanted() == {b"a\0"}


def test_the_end_of_what_was_never_wanted_changes_nothing():
    interest = connected(b"a\0")
    interest.read(minus(b"b\0", b"\0probe", b""), 0.0)
    assert interest.wanted() == {b"a\0"}
    assert wants(interest, "a")


def test_reserved_prefixes_are_bounded():
    interest = connected()
    interest.read(plus(*(b"\0probe%d" % n for n in range(MAX_RESERVED + 10))), 0.0)
    assert len(interest._reserved) == MAX_RESERVED
    assert interest.rejected == 12


@given(st.lists(st.lists(st.binary(max_size=6), max_size=6), max_size=6))
def test_whatever_frames_are_read_something_sane_is_wanted(batches):
    interest = Interest()
    for index, batch in enumerate(batches):
        interest.read(batch, float(index))
        interest.expire(float(index))
        assert isinstance(interest.routes.of("a.b"), int)
        assert sum(interest._lengths.values()) == len(interest)


# Routes

TOPICS = ["a", "a.b", "a.c", "a.b.c", "b", "b.c", "z"]
PATTERNS = ["a", "a.**", "a.*", "a.b", "a.b.**", "b.**", "**", "z", "b.c"]


@given(st.sets(st.sampled_from(PATTERNS)))
def test_two_topics_have_one_route_exactly_if_the_same_prefixes_match_them(patterns):
    wanted = {prefix for pattern in patterns for prefix in prefixes(pattern)}
    routes = connected(*wanted).routes
    matched = {topic: {p for p in wanted if (topic.encode() + b"\0").startswith(p)} for topic in TOPICS}
    for one, other in itertools.combinations(TOPICS, 2):
        assert (routes.of(one) == routes.of(other)) == (matched[one] == matched[other])


@given(st.sets(st.sampled_from(PATTERNS)))
def test_a_topic_that_nobody_wants_has_route_0_and_no_other(patterns):
    wanted = {prefix for pattern in patterns for prefix in prefixes(pattern)}
    routes = connected(*wanted).routes
    for topic in TOPICS:
        unwanted = not any((topic.encode() + b"\0").startswith(prefix) for prefix in wanted)
        assert (routes.of(topic) == NOBODY) == unwanted


def test_a_route_is_the_same_each_time_it_is_asked_for():
    routes = connected(b"a.").routes
    assert routes.of("a.b") == routes.of("a.b") == routes.of("a.c")


def test_remembered_routes_are_bounded_and_stay_right():
    routes = connected(b"a.").routes
    first = routes.of("a.n0")
    for number in range(2 * CACHE_SIZE):
        assert routes.of(f"a.n{number}") == first
    assert len(routes.cache) <= CACHE_SIZE


def test_beyond_many_prefixes_each_topic_is_its_own_route():
    routes = connected(b"", *(b"p%d\0" % n for n in range(MANY_PREFIXES + 1))).routes
    assert routes.of("x") != routes.of("y")
    assert NOBODY not in (routes.of("x"), routes.of("y"))


def test_up_to_many_prefixes_topics_share_a_route():
    routes = connected(b"", *(b"p%d\0" % n for n in range(MANY_PREFIXES - 1))).routes
    assert routes.of("x") == routes.of("y")
