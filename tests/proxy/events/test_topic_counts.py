import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.events import encode_topic
from proxy.events.topic_counts import TopicCounts

ORIGIN = b"12345678"


def message(*topics):
    """The two frames of a pack with an event for each topic."""
    return encode_topic(topics[0], ORIGIN), orjson.dumps([[topic, 1, {}] for topic in topics])


@pytest.fixture
def topic_counts():
    return TopicCounts(100, 0.0)


def counts(topic_counts):
    return {row.topic: row.events for row in topic_counts.rows(1_000)}


def test_the_events_of_a_pack_count_under_their_own_topics(topic_counts):
    topic_counts.observe(*message("a", "b", "a"))
    topic_counts.end_sample(1, False, 0.1)
    assert (counts(topic_counts), topic_counts.events) == ({"a": 2, "b": 1}, 3)


def test_the_bytes_of_a_pack_are_divided_among_its_events(topic_counts):
    first, second = message("a", "b")
    topic_counts.observe(first, second)
    topic_counts.end_sample(1, False, 0.1)
    assert [row.bytes for row in topic_counts.rows(2)] == [(len(first) + len(second)) // 2] * 2


def test_a_mark_is_not_counted(topic_counts):
    topic_counts.observe(encode_topic("a", ORIGIN), orjson.dumps([["a", 7, None]]))
    topic_counts.end_sample(1, False, 0.1)
    assert counts(topic_counts) == {}


@pytest.mark.parametrize("frames", [(b"\0up", b"[]"), (b"", b""), (b"junk", b"{"), (b"a\0", b'[["a",1]]')])
def test_frames_that_are_not_our_protocol_are_not_counted(topic_counts, frames):
    topic_counts.observe(*frames)
    topic_counts.end_sample(1, False, 0.1)
    assert counts(topic_counts) == {}


def test_messages_that_were_not_observed_count_like_the_sample(topic_counts):
    topic_counts.observe(*message("a"))
    topic_counts.observe(*message("b", "b"))
    topic_counts.end_sample(20, True, 0.1)
    assert (counts(topic_counts), topic_counts.observed) == ({"a": 10, "b": 20}, 0.1)


def test_a_complete_sample_is_exact_whatever_the_total(topic_counts):
    topic_counts.observe(*message("a"))
    topic_counts.end_sample(5, False, 0.1)
    assert (counts(topic_counts), topic_counts.observed) == ({"a": 1}, 1.0)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), max_size=20))
def test_over_complete_and_incomplete_samples_the_sum_is_libzmqs_total(turns):
    topic_counts, passed = TopicCounts(100, 0.0), 0
    for number, (seen, unseen) in enumerate(turns):
        for _ in range(seen):
            topic_counts.observe(*message("a"))
        passed += seen + unseen
        topic_counts.end_sample(passed, unseen > 0, number * 0.1)
    assert topic_counts.events == pytest.approx(passed)


def test_a_message_counted_before_it_was_observed_is_not_counted_twice(topic_counts):
    topic_counts.observe(*message("a"))
    topic_counts.end_sample(3, True, 0.1)
    topic_counts.observe(*message("a"))
    topic_counts.end_sample(3, True, 0.2)
    assert topic_counts.events == pytest.approx(4)  # the observed message counts at least as one
    topic_counts.end_sample(10, True, 0.3)
    topic_counts.observe(*message("a"))
    topic_counts.end_sample(10, True, 0.4)
    assert topic_counts.events == pytest.approx(10)


def test_rates_are_per_second_of_the_last_window(topic_counts):
    for _ in range(30):
        topic_counts.observe(*message("a"))
    topic_counts.end_sample(30, False, 0.5)
    assert topic_counts.rate == 0
    topic_counts.end_sample(30, False, 1.5)
    assert (topic_counts.rate, topic_counts.rows(1)[0].rate) == (20, 20)


def test_a_topic_that_fell_silent_has_no_rate(topic_counts):
    topic_counts.observe(*message("a"))
    topic_counts.end_sample(1, False, 1.0)
    topic_counts.end_sample(1, False, 2.0)
    (row,) = topic_counts.rows(1)
    assert (row.rate, row.events, row.last, topic_counts.rate) == (0, 1, 1.0, 0)


def test_the_busiest_come_first_then_the_most_frequent(topic_counts):
    for topic, times in (("old", 5), ("older", 6)):
        for _ in range(times):
            topic_counts.observe(*message(topic))
    topic_counts.end_sample(11, False, 1.0)
    topic_counts.observe(*message("new"))
    topic_counts.end_sample(12, False, 2.0)
    assert [row.topic for row in topic_counts.rows(9)] == ["new", "older", "old"]
    assert [row.topic for row in topic_counts.rows(1)] == ["new"]


def test_the_table_is_bounded_and_evicts_the_longest_silent():
    topic_counts = TopicCounts(10, 0.0)
    for number in range(25):
        topic_counts.observe(*message(f"topic-{number}"))
        topic_counts.end_sample(number + 1, False, number * 0.01)
    assert len(topic_counts) == 10
    assert {row.topic for row in topic_counts.rows(10)} == {f"topic-{number}" for number in range(15, 25)}
    assert topic_counts.events == 25
