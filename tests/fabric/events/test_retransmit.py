import orjson
import pytest

from fabric.events.retransmit import MAX_PACKS, FoundEvents, RetransmitBuffer


def pack(*events):
    return orjson.dumps([[topic, number, {"n": abs(number)}] for topic, number in events])


@pytest.fixture
def history():
    return RetransmitBuffer(10_000)


def numbers(found):
    return [number for number, _ in found.events]


def test_what_left_is_found_by_topic_and_number(history):
    history.add(pack(("a", 1), ("b", 1), ("a", 2)))
    history.add(pack(("a", 3)))
    assert history.find("a", 1, 3) == FoundEvents([(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 3})], False)
    assert numbers(history.find("a", 2, 2)) == [2]


def test_a_topic_that_another_ends_with_is_another(history):
    history.add(pack(("x.a", 1), ("a.b", 1)))
    assert history.find("a", 1, 9).events == []


def test_a_topic_is_found_however_json_writes_it(history):
    history.add(pack(('quo"te.wörter', 1)))
    assert numbers(history.find('quo"te.wörter', 1, 1)) == [1]


def test_a_number_whose_predecessor_was_forgotten_is_found_by_its_size(history):
    history.add(pack(("a", -7)))
    assert numbers(history.find("a", 7, 7)) == [7]


def test_marks_are_no_events(history):
    history.add(b'[["a",3,null]]')
    assert history.find("a", 1, 9).events == []


def test_the_oldest_go_first_when_the_bytes_are_used_up():
    history = RetransmitBuffer(5 * len(pack(("a", 1))))
    for number in range(1, 10):
        history.add(pack(("a", number)))
    assert numbers(history.find("a", 1, 9)) == [5, 6, 7, 8, 9]


def test_and_when_there_are_too_many_packs(history):
    history = RetransmitBuffer(10**9)
    for number in range(1, MAX_PACKS + 11):
        history.add(pack(("a", number)))
    assert (len(history), numbers(history.find("a", 1, 20))) == (MAX_PACKS, list(range(11, 21)))


def test_nothing_is_kept_where_nothing_may_be():
    history = RetransmitBuffer(0)
    history.add(pack(("a", 1)))
    assert len(history) == 0


def test_a_long_answer_is_cut_and_says_so(history):
    for number in range(1, 11):
        history.add(pack(("a", number)))
    size = len(b'{"n":1}')
    assert history.find("a", 1, 10, max_bytes=3 * size) == FoundEvents(
        [(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 3})], True
    )
    assert numbers(history.find("a", 9, 10, max_bytes=1)) == [9]
