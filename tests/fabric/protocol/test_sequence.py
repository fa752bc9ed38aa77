import itertools
from collections import Counter as Tally

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.sequence import DUPLICATE, FIRST_MARK, LAST_MARK, Counter, Ledger, TailMarks

A, B = b"origin-a", b"origin-b"
TOPICS = st.sampled_from(["a", "b", "c", "d", "e"])


# Counter


def test_numbers_count_each_topic_from_one():
    counter = Counter()
    assert [counter.next(topic) for topic in "aabab"] == [1, 2, 1, 3, 2]


def test_a_callers_own_numbers_are_resumed_from():
    counter = Counter()
    assert counter.next("a") == 1
    counter.numbers["a"] = 5
    assert counter.next("a") == 6


def test_a_forgotten_topic_says_that_its_predecessor_is_unknown():
    counter = Counter(limit=1)
    numbers = [counter.next(topic) for topic in "aaba"]
    assert numbers == [1, 2, -3, -4]


def test_a_topic_that_was_never_forgotten_counts_on_while_others_are():
    counter = Counter(limit=10)
    for _ in range(3):
        for topic in "abcdefghij":
            counter.next(topic)
    counter.next("new")  # forgets `a`, the oldest
    assert counter.next("j") == 4
    assert counter.next("a") < 0


@given(st.lists(TOPICS, max_size=200), st.integers(1, 6))
def test_the_numbers_of_a_topic_only_grow_whatever_is_forgotten(topics, limit):
    counter, last = Counter(limit), {}
    for topic in topics:
        number = abs(counter.next(topic))
        assert number > last.get(topic, 0)
        last[topic] = number


@given(st.lists(st.integers(0, 1_000), max_size=300), st.integers(1, 30))
def test_a_counter_keeps_at_most_its_limit(topics, limit):
    counter = Counter(limit)
    for topic in topics:
        counter.next(str(topic))
        assert len(counter.numbers) <= limit


# Ledger: the table in the docstring of the module


@pytest.mark.parametrize(
    ("number", "verdict", "then"),
    [(5, 0, 6), (7, 2, 8), (4, DUPLICATE, 5), (3, DUPLICATE, 5), (1, DUPLICATE, 5), (-9, 0, 10), (-4, DUPLICATE, 5)],
)
def test_an_event_after_the_fourth(number, verdict, then):
    ledger = Ledger()
    seen = ledger.of(A)
    ledger.judge(seen, "t", 4)
    assert ledger.judge(seen, "t", number) == verdict
    assert ledger.judge(seen, "t", then) == 0


@pytest.mark.parametrize(("number", "missed", "then"), [(6, 2, 7), (4, 0, 5), (3, 0, 5), (5, 1, 6)])
def test_a_mark_after_the_fourth(number, missed, then):
    ledger = Ledger()
    seen = ledger.of(A)
    ledger.judge(seen, "t", 4)
    assert ledger.judge_mark(seen, "t", number) == missed
    assert ledger.judge(seen, "t", then) == 0


@pytest.mark.parametrize("number", [1, 500, -500])
def test_the_first_number_seen_is_where_the_ledger_starts(number):
    ledger = Ledger()
    assert ledger.judge(ledger.of(A), "t", number) == 0
    assert ledger.judge(ledger.of(A), "t", abs(number) + 3) == 2


def test_a_mark_can_be_the_first_that_is_seen():
    ledger = Ledger()
    assert ledger.judge_mark(ledger.of(A), "t", 5) == 0
    assert ledger.judge(ledger.of(A), "t", 8) == 2
    assert ledger.judge(ledger.of(A), "t", 5) == DUPLICATE


def test_origins_and_topics_are_counted_apart():
    ledger = Ledger()
    for origin, topic in ((A, "s"), (A, "t"), (B, "s")):
        assert ledger.judge(ledger.of(origin), topic, 1) == 0
    assert ledger.judge(ledger.of(A), "s", 3) == 1
    assert ledger.judge(ledger.of(B), "s", 2) == 0
    assert ledger.judge(ledger.of(A), "t", 2) == 0


def test_a_forgotten_topic_starts_anew():
    ledger = Ledger()
    ledger.judge(ledger.of(A), "s", 1)
    ledger.judge(ledger.of(A), "t", 1)
    ledger.forget(["s"])
    assert ledger.topics() == {"t"}
    assert ledger.judge(ledger.of(A), "s", 9) == 0
    assert ledger.judge(ledger.of(A), "t", 9) == 7


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), TOPICS), max_size=200), st.integers(1, 10))
def test_a_ledger_keeps_at_most_its_limit_of_topics(heard, limit):
    ledger = Ledger(limit)
    for origin, topic in heard:
        seen = ledger.of(origin)
        ledger.judge(seen, topic, seen.get(topic, 0) + 1)
        assert ledger.stats()["topics"] <= limit


def test_origins_without_an_entry_are_not_kept():
    # Any publisher can invent an origin for each message.
    ledger = Ledger(limit=10)
    for number in range(1_000):
        ledger.of(number.to_bytes(8, "big"))
    assert ledger.stats()["origins"] <= 1


# Sender and receiver together

FATES = st.lists(st.tuples(TOPICS, st.sampled_from(["arrives", "arrives twice", "is lost"])), max_size=200)


def run(fates, limit):
    """Send events to a ledger: (delivered, lost after the first that arrived, reported, duplicates)."""
    counter, ledger = Counter(limit), Ledger()
    seen = ledger.of(A)
    delivered, lost, reported, duplicates = Tally(), Tally(), Tally(), 0
    for topic, fate in fates:
        number = counter.next(topic)
        if fate == "is lost":
            lost[topic] += topic in delivered
            continue
        reported[topic] += ledger.judge(seen, topic, number)
        delivered[topic] += 1
        if fate == "arrives twice":
            duplicates += ledger.judge(seen, topic, number) == DUPLICATE
    for topic, number in counter.numbers.items():
        reported[topic] += ledger.judge_mark(seen, topic, number)
    return delivered, lost, reported, duplicates


@given(FATES)
def test_exactly_the_lost_events_are_reported_missing(fates):
    delivered, lost, reported, _ = run(fates, limit=100)
    for topic in delivered:
        assert reported[topic] == lost[topic]


@given(FATES)
def test_an_event_that_arrives_twice_is_delivered_once(fates):
    *_, duplicates = run(fates, limit=100)
    assert duplicates == sum(fate == "arrives twice" for _, fate in fates)


@given(FATES, st.integers(1, 4))
def test_after_a_forgotten_topic_resumes_its_losses_are_reported_exactly_again(fates, limit):
    # Losses just before the resumption are unknown, and if the resuming event is lost itself, the next hole looks larger.
    counter, ledger = Counter(limit), Ledger()
    seen, pending, reported, expected = ledger.of(A), Tally(), 0, 0
    for topic, fate in fates:
        number = counter.next(topic)
        if fate == "is lost" and number > 0:
            pending[topic] += topic in seen
            continue
        reported += ledger.judge(seen, topic, number)
        expected += pending.pop(topic, 0) if number > 0 else 0
        if number < 0:
            pending.pop(topic, None)
    for topic, number in counter.numbers.items():
        reported += ledger.judge_mark(seen, topic, number)
        expected += pending[topic]
    assert reported == expected


# Marks


def due_times(marks, numbers, until, step=0.5):
    """The times at which each topic was due, when asked every `step` seconds."""
    return [(now * step, topic) for now in range(int(until / step)) for topic, _ in marks.due(numbers, now * step, 10)]


def test_a_quiet_topic_is_marked_after_1_then_4_16_and_64_seconds_and_no_more():
    times = [time for time, _ in due_times(TailMarks(), {"t": 3}, 500)]
    assert times[0] == FIRST_MARK
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == [4.0, 16.0, LAST_MARK]


def test_a_topic_that_is_published_on_is_not_marked_until_it_is_quiet():
    marks = TailMarks()
    for half_seconds in range(20):
        assert marks.due({"t": half_seconds}, half_seconds / 2, 10) == []
    assert marks.due({"t": 19}, 10.5, 10) == [("t", 19)]


def test_after_a_new_event_marking_starts_over():
    marks = TailMarks()
    assert len(due_times(marks, {"t": 3}, 6)) == 2
    assert marks.due({"t": 4}, 6.0, 10) == []
    assert marks.due({"t": 4}, 7.0, 10) == [("t", 4)]


def test_a_restart_makes_every_topic_due_again():
    marks = TailMarks()
    due_times(marks, {"t": 3}, 500)
    marks.restart()
    assert marks.due({"t": 3}, 500.0, 10) == []
    assert marks.due({"t": 3}, 501.0, 10) == [("t", 3)]


def test_a_call_returns_at_most_its_limit_of_due_topics_and_the_next_call_the_rest():
    marks, numbers = TailMarks(), {str(n): 1 for n in range(25)}
    marks.due(numbers, 0.0, 10)
    found = [topic for _ in range(3) for topic, _ in marks.due(numbers, 1.0, 10)]
    assert sorted(found) == sorted(numbers)


def test_a_topic_that_the_sender_forgot_has_no_marks_any_more():
    marks = TailMarks()
    marks.due({str(n): 1 for n in range(100)}, 0.0, 10)
    marks.due({"new": 1}, 1.0, 10)
    assert len(marks) <= 2


def test_the_last_mark_is_the_last():
    marks = TailMarks()
    due_times(marks, {"t": 3}, 500)
    assert marks.due({"t": 3}, 1e9, 10) == []
