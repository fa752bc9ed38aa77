import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.events.recovery import (
    ANSWER_TIMEOUT,
    RETRY_INTERVAL,
    TIMEOUT,
    Question,
    Recovery,
    RecoveryResult,
)

KEY = (b"origin-1", "a")


@pytest.fixture
def recovery():
    """One hole: 3 and 4 are missing, 5 is held."""
    recovery = Recovery()
    recovery.begin(KEY, 3, 4, 0.0)
    recovery.hold(KEY, 5, {"n": 5})
    return recovery


def answer(*numbers, more=False):
    return {"events": [[number, {"n": number}] for number in numbers], "more": more}


def test_the_origin_is_asked_at_once_and_only_once(recovery):
    assert recovery.questions(0.0) == [Question(KEY, 3, 4)]
    assert recovery.questions(0.0) == []


def test_missing_events_come_before_held_ones(recovery):
    recovery.questions(0.0)
    done = recovery.answered(KEY, answer(3, 4), 0.1)
    assert done == RecoveryResult(KEY, [(3, {"n": 3}), (4, {"n": 4}), (5, {"n": 5})], 3, 4)
    assert (len(recovery), recovery.recovered) == (0, 2)


def test_events_that_the_origin_does_not_have_are_left_out(recovery):
    recovery.questions(0.0)
    assert [number for number, _ in recovery.answered(KEY, answer(4), 0.1).events] == [4, 5]


def test_an_answer_without_events_ends_it(recovery):
    recovery.questions(0.0)
    assert recovery.answered(KEY, answer(), 0.1).events == [(5, {"n": 5})]


def test_the_rest_of_an_answer_that_was_cut_is_asked_for():
    recovery = Recovery()
    recovery.begin(KEY, 1, 3, 0.0)
    recovery.questions(0.0)
    assert recovery.answered(KEY, answer(1, more=True), 0.1) is None
    assert recovery.questions(0.1) == [Question(KEY, 2, 3)]
    assert [number for number, _ in recovery.answered(KEY, answer(2, 3), 0.2).events] == [1, 2, 3]


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        False,
        {},
        {"events": None},
        {"events": [3]},
        {"events": [[3]]},
        {"events": [["3", {}]]},
        {"events": [[3, None]]},
        answer(2),
        answer(5),
        answer(4, 3),
        answer(3, 3),
    ],
)
def test_after_no_answer_or_a_malformed_one_the_origin_is_asked_again(recovery, nonsense):
    recovery.questions(0.0)
    assert recovery.answered(KEY, nonsense, 0.5) is None
    assert recovery.questions(0.5) == []
    assert recovery.questions(0.5 + RETRY_INTERVAL) == [Question(KEY, 3, 4)]


def test_a_question_that_got_lost_is_asked_again(recovery):
    recovery.questions(0.0)
    assert recovery.next_deadline() == ANSWER_TIMEOUT
    assert recovery.questions(ANSWER_TIMEOUT) == [Question(KEY, 3, 4)]


def test_at_the_deadline_a_recovery_ends_with_the_events_so_far(recovery):
    recovery.questions(0.0)
    assert list(recovery.overdue(TIMEOUT - 0.1)) == []
    assert list(recovery.overdue(TIMEOUT)) == [RecoveryResult(KEY, [(5, {"n": 5})], 3, 4)]
    assert (len(recovery), recovery.next_deadline()) == (0, None)


@pytest.mark.parametrize("limits", [{"max_held": 3}, {"max_held_bytes": 30}])
def test_when_too_much_is_held_a_recovery_ends_early(limits):
    recovery = Recovery(**limits)
    recovery.begin(KEY, 3, 4, 0.0)
    for number in (5, 6, 7):
        recovery.hold(KEY, number, {}, 10)
    assert list(recovery.overdue(0.1)) == []
    recovery.hold(KEY, 8, {}, 10)
    assert len(list(recovery.overdue(0.1))) == 1
    recovery.begin(KEY, 1, 1, 0.2)
    recovery.hold(KEY, 2, {}, 1)
    assert list(recovery.overdue(0.2)) == []


def test_an_answer_after_the_deadline_is_ignored(recovery):
    recovery.questions(0.0)
    list(recovery.overdue(TIMEOUT))
    assert recovery.answered(KEY, answer(3, 4), TIMEOUT) is None


def test_an_answer_about_an_earlier_hole_does_not_end_the_next(recovery):
    recovery.questions(0.0)
    list(recovery.overdue(TIMEOUT))
    recovery.begin(KEY, 7, 8, TIMEOUT)
    assert recovery.answered(KEY, answer(3, 4), TIMEOUT) is None
    assert KEY in recovery.keys


def test_more_holes_than_can_be_recovered_are_not_begun():
    recovery = Recovery(max_holes=2)
    assert [recovery.begin((b"origin-1", topic), 1, 1, 0.0) for topic in "abc"] == [True, True, False]


def test_the_recovery_of_an_unwanted_topic_is_dropped(recovery):
    recovery.forget(lambda topic: topic != "a")
    assert (KEY in recovery.keys, list(recovery.overdue(TIMEOUT))) == (False, [])


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5), st.booleans()), max_size=20))
def test_whatever_is_answered_events_come_in_order_and_once(answers):
    recovery, now = Recovery(), 0.0
    recovery.begin(KEY, 5, 20, now)
    recovery.hold(KEY, 21, {})
    for first, count, more in answers:
        now += ANSWER_TIMEOUT
        recovery.questions(now)
        done = recovery.answered(KEY, answer(*range(first, first + count), more=more), now)
        if done is not None:
            break
    else:
        (done,) = recovery.overdue(now + TIMEOUT)
    numbers = [number for number, _ in done.events]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 21
