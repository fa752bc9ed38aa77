import pytest

from fabric.events.origin_age import RETRY_INTERVAL, TIMEOUT, OriginAges

A, B, C = b"origin-a", b"origin-b", b"origin-c"


@pytest.fixture
def ages():
    return OriginAges()


def test_an_origin_is_asked_its_age_once(ages):
    ages.first_seen(A, "a", 3, 0.0, 10.0)
    ages.first_seen(A, "b", 3, 0.0, 10.0)
    ages.first_seen(B, "a", 3, 0.0, 10.0)
    assert sorted(ages.questions(10.0)) == [A, B]
    assert ages.questions(10.5) == []


def test_earlier_events_of_a_younger_origin_are_lost_and_reported_once(ages):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    ages.first_seen(A, "b", 1, 5.0, 10.0)
    ages.questions(10.0)
    assert ages.lost(A) == []
    assert ages.answered(A, {"age": 4.9}, 10.1) == [("a", 3), ("b", 1)]
    assert (ages.lost(A), len(ages)) == ([], 0)


def test_earlier_events_of_an_older_origin_may_be_from_before_the_subscription(ages):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    ages.questions(10.0)
    assert ages.answered(A, {"age": 5.1}, 10.1) == []


def test_a_slow_answer_makes_no_origin_younger(ages):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    ages.questions(10.0)
    assert ages.answered(A, {"age": 5.0}, 13.0) == []


def test_each_topic_is_compared_with_its_own_subscription(ages):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    ages.first_seen(A, "b", 3, 7.0, 10.0)
    ages.questions(10.0)
    assert ages.answered(A, {"age": 4.0}, 10.1) == [("a", 3)]


def test_a_topic_that_begins_when_the_age_is_known_is_judged_by_it(ages):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    ages.questions(10.0)
    ages.answered(A, {"age": 1.0}, 10.1)
    ages.first_seen(A, "b", 2, 5.0, 20.0)
    assert (ages.lost(A), ages.questions(20.0)) == ([("b", 2)], [])


@pytest.mark.parametrize("answer", [None, False, {}, {"age": None}, {"age": "1"}, {"age": True}, {"age": -1}, [1]])
def test_an_origin_that_does_not_answer_is_asked_again(ages, answer):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    ages.questions(10.0)
    assert ages.answered(A, answer, 10.1) == []
    assert (ages.next_deadline(), ages.questions(10.1)) == (10.1 + RETRY_INTERVAL, [])
    assert ages.questions(10.1 + RETRY_INTERVAL) == [A]


def test_after_the_timeout_an_origin_is_not_asked_again(ages):
    ages.first_seen(A, "a", 3, 5.0, 10.0)
    assert ages.questions(10.0 + TIMEOUT) == []
    assert (len(ages), ages.next_deadline()) == (0, None)


def test_an_answer_without_a_question_is_ignored(ages):
    assert ages.answered(A, {"age": 1.0}, 1.0) == []


def test_origins_are_bounded_and_the_oldest_is_forgotten():
    ages = OriginAges(max_origins=2)
    for origin in (A, B, C):
        ages.first_seen(origin, "a", 1, 0.0, 1.0)
    assert (sorted(ages.questions(1.0)), len(ages)) == ([B, C], 2)
    assert ages.answered(A, {"age": 0.5}, 1.0) == []
    assert ages.answered(B, {"age": 0.5}, 1.0) == [("a", 1)]


def test_the_topics_of_an_origin_that_wait_are_bounded():
    ages = OriginAges(max_waiting=2)
    for topic in "abc":
        ages.first_seen(A, topic, 1, 0.0, 1.0)
    ages.questions(1.0)
    assert ages.answered(A, {"age": 0.5}, 1.0) == [("a", 1), ("b", 1)]
