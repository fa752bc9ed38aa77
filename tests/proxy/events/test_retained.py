"""Retained events: which are kept, which are evicted, and the answers to LAST."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import WireError
from fabric.protocol.events import MAX_HOPS, encode_event, encode_event_head, encode_pack, encode_topic
from fabric.protocol.node_report import MAX_COUNT
from fabric.protocol.topics import KEPT_TOPIC
from proxy.events.retained import MAX_MARKS, MAX_SCANNED, NOTHING, PAGE_BYTES, Retained

A, B = b"origin-a", b"origin-b"


@pytest.fixture
def retained():
    return Retained(["state.**", "config.*"], topics=100, max_bytes=100_000)


def take(retained, *events, origin=A, hops=0):
    """One message with these events: (topic, number, envelope)."""
    pack = [
        encode_event(encode_event_head(topic), number, orjson.dumps(envelope)) for topic, number, envelope in events
    ]
    retained.take(encode_topic(events[0][0], origin, hops), encode_pack(pack))


def ask(retained, pattern="**", **query):
    return orjson.loads(retained.answer({"pattern": pattern, **query}).data)


def kept(retained, pattern="**"):
    """{topic: n of its last event}"""
    return {topic: envelope["n"] for topic, _, _, envelope in ask(retained, pattern)["events"]}


def test_the_last_event_of_each_matching_topic_is_kept(retained):
    take(retained, ("state.a", 1, {"n": 1}), ("state.b", 1, {"n": 2}), ("other", 1, {"n": 3}), ("state.a", 2, {"n": 4}))
    take(retained, ("config.x", 1, {"n": 5}))
    assert kept(retained) == {"state.b": 2, "state.a": 4, "config.x": 5}
    assert len(retained) == 3


def test_a_retained_event_is_unchanged(retained):
    envelope = {"type": "other", "ts": 1.5, "src": "relay", "text": "ü", "list": [1, None]}
    take(retained, ("state.ü", 7, envelope))
    assert ask(retained)["events"] == [["state.ü", A.hex(), 7, envelope]]


@pytest.mark.parametrize(
    ("pattern", "topics"),
    [("**", ["state.a", "state.b.c", "config.x"]), ("state.*", ["state.a"]), ("config.x", ["config.x"]), ("nope", [])],
)
def test_an_answer_has_only_topics_that_match_the_pattern(retained, pattern, topics):
    take(retained, ("state.a", 1, {"n": 1}), ("state.b.c", 1, {"n": 2}), ("config.x", 1, {"n": 3}))
    assert list(kept(retained, pattern)) == topics


def test_an_older_event_of_the_same_origin_is_ignored(retained):
    take(retained, ("state.a", 5, {"n": 5}))
    take(retained, ("state.a", 4, {"n": 4}))
    take(retained, ("state.a", 5, {"n": 50}))
    assert kept(retained) == {"state.a": 5}


def test_each_origin_has_its_own_numbers(retained):
    take(retained, ("state.a", 5, {"n": 1}))
    take(retained, ("state.a", 1, {"n": 2}), origin=B)
    assert kept(retained) == {"state.a": 2}
    take(retained, ("state.a", 4, {"n": 3}))  # sent earlier by A, arriving late
    assert kept(retained) == {"state.a": 2}


def test_an_origin_that_forgot_its_numbers_continues(retained):
    take(retained, ("state.a", 5, {"n": 1}))
    take(retained, ("state.a", -9, {"n": 2}))
    assert ask(retained)["events"] == [["state.a", A.hex(), 9, {"n": 2}]]
    assert retained.missed == 0


def test_a_mark_is_not_kept_and_reveals_missing_events(retained):
    take(retained, ("state.a", 1, {"n": 1}))
    take(retained, ("state.a", 4, None), ("state.new", 9, None))
    assert kept(retained) == {"state.a": 1}
    assert retained.missed == 3


def test_missing_events_of_retained_topics_are_counted(retained):
    take(retained, ("state.a", 1, {"n": 1}), ("other", 1, {}))
    take(retained, ("state.a", 4, {"n": 4}), ("other", 9, {}))
    assert retained.missed == 2


def test_a_pattern_of_everything_does_not_keep_the_systems_own_events():
    retained = Retained(["**"], topics=10, max_bytes=1_000)
    take(retained, ("a", 1, {"n": 1}), ("fabric.node.joined", 1, {"n": 2}), ("not..one", 1, {"n": 3}))
    assert kept(retained) == {"a": 1}


def test_an_event_over_too_many_bridges_is_not_kept(retained):
    take(retained, ("state.a", 1, {"n": 1}), hops=MAX_HOPS + 1)
    assert len(retained) == 0


def test_the_topic_that_was_silent_longest_is_evicted_first():
    retained = Retained(["**"], topics=2, max_bytes=1_000)
    for number, topic in enumerate(("a", "b", "a", "c"), 1):
        take(retained, (topic, number, {"n": number}))
    assert kept(retained) == {"a": 3, "c": 4}
    assert retained.evicted == 1


def test_bytes_are_bounded():
    retained = Retained(["**"], topics=1_000, max_bytes=320)
    for number in range(100):
        take(retained, (f"t{number}", 1, {"n": number, "text": "x" * 80}))
        assert retained.bytes <= 320
    assert list(kept(retained)) == ["t97", "t98", "t99"]
    assert (retained.evicted, len(retained)) == (97, 3)
    for number in range(97, 100):
        take(retained, (f"t{number}", 2, {"n": 0}))
    assert retained.bytes == 3 * len('t97{"n":0}')


def test_an_event_that_does_not_fit_evicts_only_its_predecessor():
    retained = Retained(["**"], topics=10, max_bytes=100)
    take(retained, ("a", 1, {"n": 1}), ("b", 1, {"n": 1}))
    take(retained, ("b", 2, {"n": 2, "text": "x" * 200}))
    assert kept(retained) == {"a": 1}
    assert retained.evicted == 1


def test_an_event_too_deep_to_be_encoded_is_not_kept_nor_its_predecessor(retained):
    take(retained, ("state.a", 1, {"n": 1}))
    deep = b'{"n":' + b"[" * 300 + b"]" * 300 + b"}"
    retained.take(encode_topic("state.a", A), encode_pack([encode_event(encode_event_head("state.a"), 2, deep)]))
    assert (kept(retained), retained.evicted, retained.bytes) == ({}, 1, 0)


# Pages


def all_pages(retained, **query):
    pages, after, more = [], 0, True
    while more:
        page = ask(retained, after=after, **query)
        after, more = page["after"], page["more"]
        pages.append([topic for topic, *_ in page["events"]])
    return pages


def test_many_topics_come_in_pages():
    retained = Retained(["**"], topics=10 * MAX_SCANNED, max_bytes=10**9)
    names = [f"t{number}" for number in range(2 * MAX_SCANNED + 1)]
    for name in names:
        take(retained, (name, 1, {}))
    pages = all_pages(retained)
    assert [len(page) for page in pages] == [MAX_SCANNED, MAX_SCANNED, 1]
    assert [name for page in pages for name in page] == names
    assert all_pages(retained, pattern="t5") == [["t5"], [], []]


def test_large_events_come_in_pages_of_bounded_size_and_none_is_missing():
    retained = Retained(["**"], topics=100, max_bytes=10**9)
    for name in "abcde":
        take(retained, (name, 1, {"text": "x" * (PAGE_BYTES // 2 - 100 if name != "c" else 3 * PAGE_BYTES)}))
    assert all_pages(retained) == [["a", "b"], ["c"], ["d", "e"]]


def test_a_topic_updated_between_two_pages_comes_once_more_in_its_new_place():
    retained = Retained(["state.**"], topics=100, max_bytes=100_000, max_scanned=2)
    for name in "abcd":
        take(retained, (f"state.{name}", 1, {"n": 1}))
    first = ask(retained)
    take(retained, ("state.a", 2, {"n": 2}), ("state.d", 2, {"n": 2}))
    second = ask(retained, after=first["after"])
    third = ask(retained, after=second["after"])
    told = [(topic, number) for page in (first, second, third) for topic, _, number, _ in page["events"]]
    assert told == [("state.a", 1), ("state.b", 1), ("state.c", 1), ("state.a", 2), ("state.d", 2)]
    assert (second["more"], third["more"]) == (True, False)


# Place marks


def mark_of(retained, token):
    """What the proxy publishes for it."""
    answer = retained.answer({"pattern": "**", "mark": token})
    assert orjson.loads(answer.data) == {"events": [], "more": True, "after": 0, "mark": None}
    return answer.mark


def test_an_asker_with_a_token_gets_the_events_before_its_mark(retained):
    topic, payload = mark_of(retained, "t")
    take(retained, ("state.a", 1, {"n": 1}))
    take(retained, ("state.b", 1, {"n": 1}), (topic, 1, payload), ("state.c", 1, {"n": 1}))
    take(retained, ("state.a", 2, {"n": 2}))
    page = ask(retained, mark="t")
    assert ([topic for topic, *_ in page["events"]], page["more"]) == (["state.b"], False)
    assert page["mark"] == payload["mark"]


def test_within_one_message_events_before_and_after_the_mark_are_distinguished(retained):
    topic, payload = mark_of(retained, "t")
    take(retained, ("state.a", 1, {"n": 1}), (topic, 1, payload), ("state.b", 1, {"n": 1}), ("state.a", 2, {"n": 2}))
    assert ask(retained, mark="t")["events"] == []
    assert kept(retained) == {"state.b": 1, "state.a": 2}


def test_of_two_marks_for_one_token_the_first_counts(retained):
    first, second = mark_of(retained, "t"), mark_of(retained, "t")
    assert first != second
    take(retained, (KEPT_TOPIC, 1, first[1]))
    take(retained, ("state.a", 1, {"n": 1}))
    take(retained, (KEPT_TOPIC, 2, second[1]))
    assert (ask(retained, mark="t")["events"], ask(retained, mark="t")["mark"]) == ([], first[1]["mark"])


def test_a_bounded_number_of_marks_is_remembered(retained):
    for number in range(MAX_MARKS + 1):
        take(retained, (KEPT_TOPIC, number + 1, {"token": f"t{number}", "mark": number}))
    mark_of(retained, "t0")
    assert ask(retained, mark="t1")["mark"] == 1


@pytest.mark.parametrize(
    "envelope", [None, {}, {"token": 1, "mark": 1}, {"token": "t", "mark": "1"}, {"token": "x" * 65, "mark": 1}]
)
def test_a_malformed_mark_is_ignored(retained, envelope):
    take(retained, (KEPT_TOPIC, 1, envelope))
    assert retained.answer({"pattern": "**", "mark": "t"}).mark is not None


# Bad input


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"pattern": 1},
        {"pattern": "a..b"},
        {"pattern": "b*"},
        {"pattern": "**", "after": "1"},
        {"pattern": "**", "after": True},
        {"pattern": "**", "mark": 1},
        {"pattern": "**", "mark": ""},
        {"pattern": "**", "mark": "x" * 65},
    ],
)
def test_a_malformed_query_is_refused(retained, query):
    with pytest.raises(WireError):
        retained.answer(query)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_for_any_bytes_take_returns_or_raises_wire_error(first, pack):
    retained = Retained(["**"], topics=2, max_bytes=100)
    for frames in ((first, pack), (encode_topic("a", A), pack)):
        try:
            retained.take(*frames)
        except WireError:
            pass


def test_the_answer_of_a_proxy_that_retains_nothing_is_a_page():
    assert set(orjson.loads(NOTHING)) == set(ask(Retained(["a"], topics=1, max_bytes=1)))


def test_the_count_of_missing_events_stays_in_the_range_of_json(retained):
    for number in range(4):
        take(retained, ("state.a", 1, {}), ("state.a", 2**64 - 1, {}), origin=b"%08d" % number)
    assert retained.missed == MAX_COUNT
