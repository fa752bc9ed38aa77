"""The interest: its state machine batch by batch, frames that are no subscriptions, and the routes that follow."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.events.interest import CACHE_SIZE, EVERYBODY, MANY_PREFIXES, MAX_RESERVED, NOBODY, STALE_SECONDS, Interest
from fabric.protocol.events import END, MAX_PREFIX, UP, prefixes
from tests.fabric.events.subscriptions import connected, loss, minus, plus, replay, wants

# Joining


def test_before_the_first_replay_everything_is_wanted():
    interest = Interest()
    assert not interest.up
    assert interest.routes.of("whatever") == EVERYBODY


def test_while_the_first_replay_is_read_everything_is_wanted():
    interest = Interest()
    interest.read(plus(UP, b"a\0"), 0.0)
    assert not interest.up
    assert wants(interest, "z")


def test_after_the_first_replay_the_prefixes_read_are_wanted():
    interest = connected(b"a\0", b"b.")
    assert interest.up
    assert [wants(interest, topic) for topic in ("a", "b.c", "b", "ab", "z")] == [True, True, False, False, False]


def test_the_proxys_own_prefixes_want_no_topic():
    interest = connected()
    assert interest.wanted() == frozenset()
    assert not wants(interest, "up")


@pytest.mark.parametrize("size", range(1, 6))
def test_a_replay_may_come_in_any_number_of_batches(size):
    interest = Interest()
    frames = iter(replay(b"", b"a\0", b"b\0", b"c."))
    while batch := list(itertools.islice(frames, size)):
        assert not interest.up
        interest.read(batch, 0.0)
    assert interest.up
    assert interest.wanted() == {b"", b"a\0", b"b\0", b"c."}


def test_only_the_end_of_a_replay_is_not_enough():
    interest = Interest()
    interest.read(plus(END), 0.0)
    assert not interest.up


# Up


def test_subscriptions_come_and_go():
    interest = connected()
    interest.read(plus(b"a\0"), 0.0)
    assert wants(interest, "a")
    interest.read(minus(b"a\0"), 0.0)
    assert not wants(interest, "a")


def test_one_end_ends_a_prefix_however_often_it_was_announced():
    interest = connected()
    interest.read(plus(b"a\0", b"a\0"), 0.0)
    interest.read(minus(b"a\0"), 0.0)
    assert not wants(interest, "a")


def test_the_empty_prefix_wants_everything():
    assert wants(connected(b""), "any.topic")


def test_a_change_makes_new_routes_and_leaves_the_old_ones_as_they_were():
    interest = connected(b"a\0")
    before = interest.routes
    assert before.of("a") != NOBODY
    interest.read(plus(b"b\0"), 0.0)
    assert interest.routes is not before


def test_probes_are_known_by_their_prefix_and_want_no_topic():
    interest = connected()
    interest.read(plus(b"\0probe12345678"), 0.0)
    assert interest.has(b"\0probe12345678")
    assert interest.wanted() == frozenset()
    interest.read(minus(b"\0probe12345678"), 0.0)
    assert not interest.has(b"\0probe12345678")


# Down


def test_a_lost_link_leaves_the_interest_as_it_was():
    interest = connected(b"", b"a\0", b"z\0")
    interest.read(loss(b"", b"a\0", b"z\0"), 1.0)
    assert not interest.up
    assert interest.losses == 1
    assert interest.wanted() == {b"", b"a\0", b"z\0"}


def test_the_interest_does_not_expire_while_the_link_is_down():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.expire(1_000.0)
    assert wants(interest, "a")


def test_a_prefix_withdrawn_in_the_batch_of_the_loss_is_still_wanted():
    # A subscription that ended at that moment looks the same as one that was withdrawn with the link.
    interest = connected(b"a\0", b"b\0")
    interest.read(minus(b"a\0") + loss(b"b\0"), 1.0)
    assert interest.wanted() == {b"a\0", b"b\0"}


def test_a_prefix_subscribed_in_the_batch_of_the_loss_is_wanted():
    interest = connected(b"a\0")
    interest.read(plus(b"b\0") + loss(b"a\0", b"b\0"), 1.0)
    assert interest.wanted() == {b"a\0", b"b\0"}


def test_nothing_on_a_lost_link_is_present():
    interest = connected(b"a\0")
    interest.read(plus(b"\0probe"), 0.5)
    interest.read(loss(b"a\0", b"\0probe"), 1.0)
    assert not interest.has(b"a\0")
    assert not interest.has(b"\0probe")


def test_a_loss_without_the_end_marker_is_a_loss():
    interest = Interest()
    interest.read(plus(UP, b"a\0"), 0.0)  # the replay has not ended
    interest.read(minus(UP, b"a\0"), 0.1)
    assert interest.losses == 1
    assert not interest.up


# Back


def test_after_a_reconnect_stale_prefixes_are_wanted_until_they_expire():
    interest = connected(b"a\0", b"b\0")
    interest.read(loss(b"a\0", b"b\0"), 1.0)
    interest.read(replay(b"a\0"), 10.0)
    assert interest.up
    interest.expire(10.0 + STALE_SECONDS - 0.1)
    assert interest.wanted() == {b"a\0", b"b\0"}
    interest.expire(10.0 + STALE_SECONDS)
    assert interest.wanted() == {b"a\0"}


def test_a_subscriber_that_comes_back_in_time_stays():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.read(replay(), 10.0)
    interest.read(plus(b"a\0"), 10.5)
    interest.expire(20.0)
    assert wants(interest, "a")


def test_a_subscriber_that_comes_back_and_leaves_is_gone_at_once():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.read(replay(b"a\0"), 10.0)
    interest.read(minus(b"a\0"), 10.5)
    assert not wants(interest, "a")


def test_an_expired_prefix_can_come_back_later():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.read(replay(), 10.0)
    interest.expire(20.0)
    assert not wants(interest, "a")
    interest.read(plus(b"a\0"), 30.0)
    assert wants(interest, "a")


def test_stale_prefixes_expire_a_while_after_the_end_of_the_replay():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.read(plus(UP), 10.0)
    interest.expire(10.0 + 2 * STALE_SECONDS)
    assert wants(interest, "a")
    interest.read(plus(END), 50.0)
    interest.expire(50.0 + STALE_SECONDS / 2)
    assert wants(interest, "a")
    interest.expire(50.0 + STALE_SECONDS)
    assert not wants(interest, "a")


def test_a_loss_and_the_next_replay_in_one_batch():
    interest = connected(b"a\0", b"b\0")
    interest.read(loss(b"a\0", b"b\0") + replay(b"b\0", b"c\0"), 5.0)
    assert (interest.up, interest.losses) == (True, 1)
    interest.expire(5.0 + STALE_SECONDS)
    assert interest.wanted() == {b"b\0", b"c\0"}


def test_a_second_loss_before_stale_prefixes_expire_keeps_them():
    interest = connected(b"a\0", b"b\0")
    interest.read(loss(b"a\0", b"b\0"), 1.0)
    interest.read(replay(b"a\0"), 10.0)
    interest.read(loss(b"a\0"), 10.5)
    assert interest.wanted() == {b"a\0", b"b\0"}
    assert interest.losses == 2


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("+-"), st.sampled_from([b"", b"a\0", b"a.", b"b\0"])),
            st.tuples(st.just("kill"), st.floats(0.0, 5.0)),
        ),
        max_size=30,
    )
)
def test_after_any_history_exactly_the_present_subscriptions_are_wanted_in_the_end(history):
    interest, present, now = connected(), set(), 0.0
    for verb, what in history:
        if verb == "+":
            interest.read(plus(what), now)
            present.add(what)
        elif verb == "-":
            interest.read(minus(what) if what in present else [], now)
            present.discard(what)
        else:
            interest.read(loss(*present), now)
            interest.read(replay(*present), now)
            now += what
            interest.expire(now)
        assert present <= interest.wanted()
    interest.expire(now + STALE_SECONDS)
    assert interest.wanted() == present
    assert len(interest) == len(present)


# Garbage


@pytest.mark.parametrize("frame", [b"", b"\x02", b"\x02a", b"hello", b"\xff", b"\x01" + b"x" * (MAX_PREFIX + 1)])
def test_a_frame_that_is_no_subscription_is_counted_and_changes_nothing(frame):
    interest = connected(b"a\0")
    interest.read([frame], 0.0)
    assert interest.rejected == 1
    assert interest.up
    assert interest.wanted() == {b"a\0"}


def test_the_end_of_an_unknown_prefix_changes_nothing():
    interest = connected(b"a\0")
    interest.read(minus(b"b\0", b"\0probe", b""), 0.0)
    assert interest.wanted() == {b"a\0"}
    assert wants(interest, "a")


def test_reserved_prefixes_are_bounded():
    interest = connected()
    probes = [b"\0probe%d" % n for n in range(MAX_RESERVED + 10)]
    interest.read(plus(*probes), 0.0)
    assert sum(interest.has(probe) for probe in probes) == MAX_RESERVED - 2  # two are the proxy's
    assert interest.rejected == 12


FRAMES = st.one_of(
    st.binary(max_size=6), st.sampled_from([*plus(b"", b"a\0", b"a.", UP, END), *minus(b"", b"a.", UP, END)])
)


@given(st.lists(st.lists(FRAMES, max_size=6), max_size=6))
def test_whatever_frames_are_read_routes_agree_with_the_wanted_prefixes(batches):
    interest = connected()
    for index, batch in enumerate(batches):
        interest.read(batch, float(index))
        interest.expire(float(index))
        for topic in ("a", "a.b", "\x01"):
            wanted = any(f"{topic}\0".encode().startswith(prefix) for prefix in interest.wanted())
            assert wants(interest, topic) == (wanted or not interest.up)


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
def test_exactly_the_unwanted_topics_have_route_0(patterns):
    wanted = {prefix for pattern in patterns for prefix in prefixes(pattern)}
    routes = connected(*wanted).routes
    for topic in TOPICS:
        unwanted = not any((topic.encode() + b"\0").startswith(prefix) for prefix in wanted)
        assert (routes.of(topic) == NOBODY) == unwanted


def test_a_topic_keeps_its_route():
    routes = connected(b"a.").routes
    assert routes.of("a.b") == routes.of("a.b") == routes.of("a.c")


def test_cached_routes_are_bounded_and_stay_right():
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
