import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.events.interest import Interest
from fabric.events.offline_queue import OVERHEAD, OutboxLimits
from fabric.events.outbox import MAX_HEADS, PACK_BYTES, Outbox
from fabric.protocol.events import END, UP, decode_events, decode_topic
from fabric.protocol.sequence import Counter

ORIGIN = b"12345678"


def routes_for(*wanted):
    interest = Interest()
    interest.read([b"\x01" + prefix for prefix in sorted({*wanted, UP, END})], 0.0)
    return interest.routes


ALL = routes_for(b"")


def put(outbox, topic, number, size=0):
    outbox.append((topic, orjson.dumps({"n": number, "pad": "x" * size})))


def take(outbox, routes=ALL):
    """The next message: its topic, and (topic, sequence, n) of its events; None if there is none."""
    topic = outbox.next_topic(routes)
    if topic is None:
        return None
    assert decode_topic(outbox.head(topic)[0]) == (topic, 0, ORIGIN)
    return topic, [(name, number, event["n"]) for name, number, event in decode_events(outbox.take(routes))]


def take_all(outbox, routes=ALL):
    messages = []
    while message := take(outbox, routes):
        messages.append(message)
    return messages


def ns(messages):
    return [n for _, events in messages for _, _, n in events]


# Order and packing


def test_events_come_out_in_the_order_they_were_put_in():
    outbox = Outbox(ORIGIN)
    for n in range(500):
        put(outbox, f"t{n % 7}", n)
    assert ns(take_all(outbox)) == list(range(500))


def test_events_of_one_route_share_a_message_under_the_first_ones_topic():
    outbox = Outbox(ORIGIN)
    for n, topic in enumerate(["a", "b", "a"]):
        put(outbox, topic, n)
    assert take_all(outbox) == [("a", [("a", 1, 0), ("b", 1, 1), ("a", 2, 2)])]


def test_a_change_of_route_ends_the_message():
    outbox, routes = Outbox(ORIGIN), routes_for(b"a\0", b"b\0")
    for n, topic in enumerate(["a", "a", "b", "a"]):
        put(outbox, topic, n)
    assert [(topic, len(events)) for topic, events in take_all(outbox, routes)] == [("a", 2), ("b", 1), ("a", 1)]


def test_a_message_is_full_at_pack_bytes():
    outbox = Outbox(ORIGIN)
    for n in range(200):
        put(outbox, "a", n, size=1_000)
    sizes = []
    while (topic := outbox.next_topic(ALL)) is not None:
        outbox.head(topic)
        sizes.append(len(outbox.take(ALL)))
    assert all(PACK_BYTES <= size <= PACK_BYTES + 2_000 for size in sizes[:-1])


def test_an_event_larger_than_a_message_travels_alone():
    outbox = Outbox(ORIGIN)
    put(outbox, "a", 1, size=5 * PACK_BYTES)
    put(outbox, "a", 2)
    assert [len(events) for _, events in take_all(outbox)] == [1, 1]


def test_an_unwanted_event_inside_a_run_is_not_sent_and_counted():
    outbox, routes = Outbox(ORIGIN), routes_for(b"a\0")
    for n, topic in enumerate(["a", "x", "a"]):
        put(outbox, topic, n)
    assert ns(take_all(outbox, routes)) == [0, 2]
    assert (outbox.sent, outbox.unwanted, len(outbox)) == (2, 1, 0)


def test_unwanted_events_alone_make_no_message():
    outbox = Outbox(ORIGIN)
    put(outbox, "x", 1)
    assert take(outbox, routes_for(b"a\0")) is None
    assert outbox.unwanted == 1


# Numbers


def test_an_event_gets_its_number_when_it_leaves_and_a_dropped_one_gets_none():
    outbox = Outbox(ORIGIN, OutboxLimits(events=2))
    for n in range(5):
        put(outbox, "a", n)
    outbox.hold(0.0)
    assert take_all(outbox) == [("a", [("a", 1, 3), ("a", 2, 4)])]


def test_an_unwanted_event_gets_no_number():
    outbox = Outbox(ORIGIN)
    put(outbox, "a", 0)
    assert take(outbox, routes_for(b"b\0")) is None
    put(outbox, "a", 1)
    assert take_all(outbox) == [("a", [("a", 1, 1)])]


def test_numbers_count_on_over_messages_and_equal_but_distinct_topic_strings():
    outbox = Outbox(ORIGIN)
    for n in range(6):
        put(outbox, "".join(["to", "pic"]), n)
        if n % 2:
            take_all(outbox)
    put(outbox, "topic", 6)
    assert take_all(outbox) == [("topic", [("topic", 7, 6)])]


def test_an_event_that_was_never_in_the_outbox_is_numbered_like_the_others():
    outbox = Outbox(ORIGIN)
    put(outbox, "a", 0)
    take_all(outbox)
    assert decode_events(outbox.encode_one("a", outbox.head("a")[1], b'{"n":1}')) == [["a", 2, {"n": 1}]]
    put(outbox, "a", 2)
    assert take_all(outbox) == [("a", [("a", 3, 2)])]
    assert outbox.sent == 3


def test_a_mark_carries_a_number_and_no_event():
    assert decode_events(Outbox(ORIGIN).mark("a", 7)) == [["a", 7, None]]


def test_a_forgotten_topic_is_numbered_on_inside_a_pack():
    outbox = Outbox(ORIGIN)
    outbox.counter = Counter(1)
    for n, topic in enumerate(["a", "a", "b", "b", "a"]):
        put(outbox, topic, n)
    [(_, events)] = take_all(outbox)
    assert [number for _, number, _ in events] == [1, 2, -3, 4, -5]


# Bounds


def test_the_oldest_are_dropped_past_the_number_of_events():
    outbox = Outbox(ORIGIN, OutboxLimits(events=3))
    for n in range(10):
        put(outbox, "a", n)
    outbox.hold(0.0)
    assert (ns(take_all(outbox)), outbox.dropped) == ([7, 8, 9], 7)


def test_the_oldest_are_dropped_past_the_bytes():
    outbox = Outbox(ORIGIN, OutboxLimits(bytes=3_500))
    for n in range(10):
        put(outbox, "a", n, size=1_000 - OVERHEAD - len('{"n":0,"pad":""}'))
    outbox.hold(0.0)
    assert outbox.waiting_bytes == 3_000
    assert (ns(take_all(outbox)), outbox.dropped) == ([7, 8, 9], 7)


def test_the_oldest_are_dropped_past_their_age():
    outbox = Outbox(ORIGIN, OutboxLimits(seconds=60.0))
    for n in range(3):
        put(outbox, "a", n)
        outbox.hold(n * 30.0)
    outbox.hold(100.0)
    assert (ns(take_all(outbox)), outbox.dropped) == ([2], 2)


def test_an_event_larger_than_the_bound_is_dropped_and_counted():
    outbox = Outbox(ORIGIN, OutboxLimits(bytes=1_000))
    put(outbox, "a", 0, size=2_000)
    outbox.hold(0.0)
    assert (len(outbox), outbox.dropped, outbox.waiting_bytes) == (0, 1, 0)


def test_fresh_events_are_under_no_bound_until_they_are_held():
    outbox = Outbox(ORIGIN, OutboxLimits(events=1))
    for n in range(5):
        put(outbox, "a", n)
    assert (outbox.fresh, len(outbox), outbox.dropped) == (5, 5, 0)


def test_held_events_leave_before_fresh_ones():
    outbox = Outbox(ORIGIN)
    put(outbox, "a", 0)
    outbox.hold(0.0)
    put(outbox, "a", 1)
    assert ns(take_all(outbox)) == [0, 1]


def test_an_empty_outbox_holds_no_bytes():
    outbox = Outbox(ORIGIN)
    for n in range(50):
        put(outbox, "a" if n % 3 else "b", n, size=900)
    outbox.hold(0.0)
    take_all(outbox, routes_for(b"a\0"))
    assert (len(outbox), outbox.waiting_bytes) == (0, 0)


def test_abandoned_events_are_counted_as_dropped():
    outbox = Outbox(ORIGIN)
    for n in range(3):
        put(outbox, "a", n)
    outbox.hold(0.0)
    put(outbox, "a", 3)
    assert outbox.abandon() == 4
    assert (len(outbox), outbox.dropped, outbox.waiting_bytes) == (0, 4, 0)


# Model

ROUTES = [ALL, routes_for(b"a\0"), routes_for(b"a\0", b"b\0"), routes_for(b"c\0", b"b\0"), routes_for()]
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(["a", "b", "c"]), st.integers(0, 3_000)),
    st.tuples(st.just("hold"), st.floats(0.0, 40.0), st.none()),
    st.tuples(st.just("take"), st.integers(0, len(ROUTES) - 1), st.none()),
)


@given(st.lists(STEPS, max_size=80))
@pytest.mark.parametrize(
    "limits", [OutboxLimits(), OutboxLimits(events=5), OutboxLimits(bytes=6_000), OutboxLimits(seconds=50.0)]
)
def test_every_event_is_sent_dropped_unwanted_or_waits(limits, steps):
    outbox, now, count, left, last = Outbox(ORIGIN, limits), 0.0, 0, [], {}
    for verb, what, size in steps:
        if verb == "put":
            put(outbox, what, count, size)
            count += 1
        elif verb == "hold":
            now += what
            outbox.hold(now)
            assert len(outbox) <= limits.events
            assert outbox.waiting_bytes <= limits.bytes
        elif (message := take(outbox, ROUTES[what])) is not None:
            topic, events = message
            # A pack never mixes routes, and numbers have no holes however much was dropped before.
            assert {ROUTES[what].of(name) for name, _, _ in events} == {ROUTES[what].of(topic)}
            for name, number, n in events:
                assert number == last.get(name, 0) + 1
                last[name] = number
                left.append(n)
        assert count == outbox.sent + outbox.dropped + outbox.unwanted + len(outbox)
    assert left == sorted(left)
    assert len(left) == len(set(left)) == outbox.sent


def test_cached_topic_frames_are_bounded():
    outbox = Outbox(ORIGIN)
    for n in range(2 * MAX_HEADS + 1):
        outbox.head(f"t{n}")
    assert len(outbox.heads) <= MAX_HEADS
