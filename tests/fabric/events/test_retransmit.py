import orjson
import pytest

from fabric.events.retransmit import FoundEvents, RetransmitBuffer


def pack(*events):
    return orjson.dumps([[topic, number, {"n": abs(number)}] for topic, number in events])


@pytest.fixture
def buffer():
    return RetransmitBuffer(10_000)


def numbers(found):
    return [number for number, _ in found.events]


def test_a_sent_event_is_found_by_topic_and_number(buffer):
    buffer.add(pack(("a", 1), ("b", 1), ("a", 2)))
    buffer.add(pack(("a", 3)))
    assert buffer.find("a", 1, 3) == FoundEvents([(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 3})], False)
    assert numbers(buffer.find("a", 2, 2)) == [2]


def test_a_topic_that_another_ends_with_is_another(buffer):
    buffer.add(pack(("x.a", 1), ("a.b", 1)))
    assert buffer.find("a", 1, 9).events == []


def test_a_topic_is_found_however_json_writes_it(buffer):
    buffer.add(pack(('quo"te.wörter', 1)))
    assert numbers(buffer.find('quo"te.wörter', 1, 1)) == [1]


def test_a_number_whose_predecessor_was_forgotten_is_found_by_its_size(buffer):
    buffer.add(pack(("a", -7)))
    assert numbers(buffer.find("a", 7, 7)) == [7]


def test_marks_are_no_events(buffer):
    buffer.add(b'[["a",3,null]]')
    assert buffer.find("a", 1, 9).events == []


def test_the_oldest_go_first_when_the_bytes_are_used_up():
    buffer = RetransmitBuffer(5 * len(pack(("a", 1))))
    for number in range(1, 10):
        buffer.add(pack(("a", number)))
    assert numbers(buffer.find("a", 1, 9)) == [5, 6, 7, 8, 9]


def test_the_oldest_go_first_when_there_are_too_many_packs():
    buffer = RetransmitBuffer(10**9, max_packs=5)
    for number in range(1, 10):
        buffer.add(pack(("a", number)))
    assert (len(buffer), numbers(buffer.find("a", 1, 9))) == (5, [5, 6, 7, 8, 9])


def test_a_buffer_of_no_bytes_keeps_nothing():
    buffer = RetransmitBuffer(0)
    buffer.add(pack(("a", 1)))
    assert len(buffer) == 0


def test_a_long_answer_is_cut_and_says_so(buffer):
    for number in range(1, 11):
        buffer.add(pack(("a", number)))
    size = len(b'{"n":1}')
    assert buffer.find("a", 1, 10, max_bytes=3 * size) == FoundEvents(
        [(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 3})], True
    )
    assert numbers(buffer.find("a", 9, 10, max_bytes=1)) == [9]
