"""The state machine of `fabric.events.interest`, batch by batch."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.events.interest import EVERYBODY, NOBODY, STALE_SECONDS, Interest
from fabric.protocol.events import END, UP
from tests.fabric.subscriptions import connected, loss, minus, plus, replay, wants

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


def test_after_the_first_replay_what_was_read_is_wanted():
    interest = connected(b"a\0", b"b.")
    assert interest.up
    assert [wants(interest, topic) for topic in ("a", "b.c", "b", "ab", "z")] == [True, True, False, False, False]


def test_the_proxys_own_prefixes_want_no_topic():
    interest = connected()
    assert interest.wanted() == frozenset()
    assert not wants(interest, "up")


@pytest.mark.parametrize("size", range(1, 6))
def test_a_replay_may_come_in_as_many_batches_as_the_network_likes(size):
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


def test_while_the_link_is_down_it_stays_so_however_long():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.expire(1_000.0)
    assert wants(interest, "a")


def test_what_was_withdrawn_in_the_batch_of_the_loss_is_still_wanted():
    # A subscription that ended in that very moment cannot be told from one that the lost link took along.
    interest = connected(b"a\0", b"b\0")
    interest.read(minus(b"a\0") + loss(b"b\0"), 1.0)
    assert interest.wanted() == {b"a\0", b"b\0"}


def test_what_was_subscribed_in_the_batch_of_the_loss_is_wanted():
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


def test_after_a_reconnect_the_old_is_wanted_until_the_grace_is_over():
    interest = connected(b"a\0", b"b\0")
    interest.read(loss(b"a\0", b"b\0"), 1.0)
    interest.read(replay(b"a\0"), 10.0)
    assert interest.up
    interest.expire(10.0 + STALE_SECONDS - 0.1)
    assert interest.wanted() == {b"a\0", b"b\0"}
    interest.expire(10.0 + STALE_SECONDS)
    assert interest.wanted() == {b"a\0"}


def test_who_comes_back_within_the_grace_stays():
    interest = connected(b"a\0")
    interest.read(loss(b"a\0"), 1.0)
    interest.read(replay(), 10.0)
    interest.read(plus(b"a\0"), 10.5)
    interest.expire(20.0)
    assert wants(interest, "a")


def test_who_comes_back_and_leaves_within_the_grace_is_gone():
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


def test_the_grace_counts_from_the_end_of_the_replay():
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


def test_a_second_loss_during_the_grace_keeps_everything():
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
def test_after_any_history_and_the_grace_exactly_the_present_subscriptions_are_wanted(history):
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
