import pytest

from fabric.events.origin_age import MAX_ORIGINS, MAX_WAITING, RETRY_INTERVAL, TIMEOUT, OriginAges

A, B = b"origin-a", b"origin-b"


@pytest.fixture
def beginnings():
    return OriginAges()


def ask(beginnings, now):
    """Who is asked now."""
    return beginnings.questions(now)


def test_an_origin_is_asked_its_age_once(beginnings):
    beginnings.first_seen(A, "a", 3, 0.0, 10.0)
    beginnings.first_seen(A, "b", 3, 0.0, 10.0)
    beginnings.first_seen(B, "a", 3, 0.0, 10.0)
    assert sorted(ask(beginnings, 10.0)) == [A, B]
    assert ask(beginnings, 10.5) == []


def test_what_a_younger_origin_sent_before_is_lost_and_told_once(beginnings):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    beginnings.first_seen(A, "b", 1, 5.0, 10.0)
    ask(beginnings, 10.0)
    assert beginnings.lost(A) == []
    assert beginnings.answered(A, {"age": 4.9}, 10.1) == [("a", 3), ("b", 1)]
    assert (beginnings.lost(A), len(beginnings)) == ([], 0)


def test_what_an_older_one_sent_may_have_been_sent_before_anybody_was_ready(beginnings):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    ask(beginnings, 10.0)
    assert beginnings.answered(A, {"age": 5.1}, 10.1) == []


def test_the_way_of_the_answer_makes_nobody_younger(beginnings):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    ask(beginnings, 10.0)
    assert beginnings.answered(A, {"age": 5.0}, 13.0) == []


def test_each_subscription_has_been_ready_for_as_long_as_it_has(beginnings):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    beginnings.first_seen(A, "b", 3, 7.0, 10.0)
    ask(beginnings, 10.0)
    assert beginnings.answered(A, {"age": 4.0}, 10.1) == [("a", 3)]


def test_a_topic_that_begins_when_the_age_is_known_is_judged_by_it(beginnings):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    ask(beginnings, 10.0)
    beginnings.answered(A, {"age": 1.0}, 10.1)
    beginnings.first_seen(A, "b", 2, 5.0, 20.0)
    assert (beginnings.lost(A), ask(beginnings, 20.0)) == ([("b", 2)], [])


@pytest.mark.parametrize("answer", [None, False, {}, {"age": None}, {"age": "1"}, {"age": True}, {"age": -1}, [1]])
def test_one_that_does_not_say_is_asked_again(beginnings, answer):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    ask(beginnings, 10.0)
    assert beginnings.answered(A, answer, 10.1) == []
    assert (beginnings.next_deadline(), ask(beginnings, 10.1)) == (10.1 + RETRY_INTERVAL, [])
    assert ask(beginnings, 10.1 + RETRY_INTERVAL) == [A]


def test_but_not_for_ever(beginnings):
    beginnings.first_seen(A, "a", 3, 5.0, 10.0)
    assert ask(beginnings, 10.0 + TIMEOUT) == []
    assert (len(beginnings), beginnings.next_deadline()) == (0, None)


def test_an_answer_that_nobody_asked_for_is_nothing(beginnings):
    assert beginnings.answered(A, {"age": 1.0}, 1.0) == []


def test_inventing_origins_and_topics_is_bounded(beginnings):
    for number in range(MAX_ORIGINS + 10):
        beginnings.first_seen(b"%08d" % number, "a", 1, 0.0, 1.0)
    for number in range(MAX_WAITING + 10):
        beginnings.first_seen(A, f"topic-{number}", 1, 0.0, 1.0)
    ask(beginnings, 1.0)
    assert len(beginnings.answered(A, {"age": 0.5}, 1.0)) == MAX_WAITING
    assert len(beginnings._origins) == MAX_ORIGINS
    assert len(beginnings) < MAX_ORIGINS
