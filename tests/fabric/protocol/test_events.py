import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabric.errors import WireError
from fabric.protocol import events as wire
from fabric.protocol.topics import MAX_BYTES, matches

ORIGIN = bytes(range(1, 9))
SEGMENT = st.text(alphabet="abä日0-", min_size=1, max_size=8)
TOPICS = st.lists(SEGMENT, min_size=1, max_size=5).map(".".join)
PATTERNS = st.lists(SEGMENT | st.sampled_from(["*", "**"]), min_size=1, max_size=5).map(".".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ENVELOPES = st.none() | st.dictionaries(st.text(), JSON, max_size=4)

# Golden frames: what another program must send and will get, byte for byte.
FRAME = b"tui.start\0\x01\x00\x01\x02\x03\x04\x05\x06\x07\x08"
PACK = b'[["tui.start",7,{"type":"tui.start","ts":1.5,"src":"tui"}],["tui.stop",-1,{}],["tui.start",9,null]]'
EVENTS = [
    ["tui.start", 7, {"type": "tui.start", "ts": 1.5, "src": "tui"}],
    ["tui.stop", -1, {}],
    ["tui.start", 9, None],
]


def pack(events):
    """`events` as the sender encodes them."""
    return wire.encode_pack(
        [
            wire.encode_event(wire.encode_event_head(topic), number, orjson.dumps(envelope))
            for topic, number, envelope in events
        ]
    )


def test_the_golden_topic_frame_is_written():
    assert wire.encode_topic("tui.start", ORIGIN) == FRAME


def test_the_golden_topic_frame_is_read():
    assert wire.decode_topic(FRAME) == ("tui.start", 0, ORIGIN)


def test_the_golden_pack_is_written():
    assert pack(EVENTS) == PACK


def test_the_golden_pack_is_read():
    assert wire.decode_events(PACK) == EVENTS


def test_the_reserved_frames_are_these_bytes():
    assert (wire.UP, wire.END, wire.PROBE) == (b"\0up", b"\xff", b"\0probe")
    assert (wire.SUBSCRIBE, wire.UNSUBSCRIBE) == (b"\x01", b"\x00")


@given(TOPICS, st.binary(min_size=8, max_size=8), st.integers(0, 255))
def test_a_topic_frame_comes_back_as_it_was(topic, origin, hops):
    assert wire.decode_topic(wire.encode_topic(topic, origin, hops)) == (topic, hops, origin)


@given(st.lists(st.tuples(TOPICS, st.integers(-(2**63), 2**63 - 1), ENVELOPES).map(list), max_size=5))
def test_a_pack_comes_back_as_it_was(events):
    assert wire.decode_events(pack(events)) == events


@pytest.mark.parametrize("topic", ["a", "ä" * 127 + "b", "x" * MAX_BYTES])
def test_the_longest_topics_have_a_frame(topic):
    assert wire.decode_topic(wire.encode_topic(topic, ORIGIN)).topic == topic


# Decoders are total


@given(st.binary(max_size=300))
@example(b"")
@example(b"\0" * 11)
@example(b"a" + b"\0" * 11)
def test_whatever_bytes_are_a_topic_frame_or_a_wire_error(frame):
    try:
        topic, hops, origin = wire.decode_topic(frame)
    except WireError:
        return
    assert wire.encode_topic(topic, origin, hops) == frame


@given(st.binary(max_size=100) | JSON.map(orjson.dumps))
@example(b"")
@example(b"[" * 2_000)
@example(b"[" * 1_000 + b"]" * 1_000)
@example(b'[["a",1' + b"0" * 400 + b",{}]]")
@example(b'[["\\ud800",1,{}]]')
def test_whatever_bytes_are_events_or_a_wire_error(frame):
    try:
        events = wire.decode_events(frame)
    except WireError:
        return
    for topic, number, envelope in events:
        assert isinstance(topic, str)
        assert type(number) is int
        assert envelope is None or isinstance(envelope, dict)


@given(st.binary(min_size=1, max_size=4), st.integers(0, len(PACK)))
def test_a_damaged_pack_is_events_or_a_wire_error(noise, at):
    try:
        wire.decode_events(PACK[:at] + noise + PACK[at + len(noise) :])
    except WireError:
        pass


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b"", "no topic frame"),
        (FRAME[-10:], "no topic frame"),
        (FRAME[-11:], "no topic frame"),  # no topic at all
        (FRAME[:-1], "no topic frame"),
        (FRAME + b"x", "no topic frame"),
        (b"x" * (MAX_BYTES + 1) + FRAME[-11:], "no topic frame"),
        (b"\0up", "no topic frame"),
        (FRAME.replace(b"\0\x01\0", b"\0\x02\0"), "version 2"),
        (FRAME.replace(b"\0\x01\0", b"\0\x00\0"), "version 0"),
        (b"\xff\xfe" + FRAME, "UTF-8"),
    ],
)
def test_a_bad_topic_frame_is_refused_with_what_is_wrong(frame, problem):
    with pytest.raises(WireError, match=problem):
        wire.decode_topic(frame)


@pytest.mark.parametrize(
    "frame",
    [
        b"{}",
        b"null",
        b"3",
        b'"text"',
        b"[1]",
        b"[[]]",
        b"[{}]",
        b'[["a",1]]',
        b'[["a",1,{},4]]',
        b"[[1,1,{}]]",
        b'[["a","1",{}]]',
        b'[["a",1.0,{}]]',
        b'[["a",true,{}]]',
        b'[["a",1,[]]]',
        b'[["a",1,"x"]]',
        b'[["a",1,{}]',
        b'[["a",1,{"n":NaN}]]',
        b'[["a",1,{}],7]',
        b"\xff",
    ],
)
def test_a_bad_pack_is_a_wire_error(frame):
    with pytest.raises(WireError):
        wire.decode_events(frame)


# Prefixes


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", (b"a\0",)),
        ("a.b", (b"a.b\0",)),
        ("a.**", (b"a\0", b"a.")),
        ("a.b.**", (b"a.b\0", b"a.b.")),
        ("a.**.**", (b"a\0", b"a.")),
        ("a.*", (b"a.",)),
        ("a.*.c", (b"a.",)),
        ("a.**.c", (b"a.",)),
        ("a.*.**", (b"a.",)),
        ("*", (b"",)),
        ("**", (b"",)),
        ("*.b", (b"",)),
        ("**.b", (b"",)),
        ("ä.*", (b"\xc3\xa4.",)),
    ],
)
def test_prefixes_table(pattern, expected):
    assert wire.prefixes(pattern) == expected


@given(PATTERNS, TOPICS)
def test_whatever_a_pattern_matches_has_one_of_its_prefixes(pattern, topic):
    if matches(pattern, topic):
        frame = wire.encode_topic(topic, ORIGIN)
        assert sum(frame.startswith(prefix) for prefix in wire.prefixes(pattern)) == 1


@pytest.mark.parametrize(("pattern", "topic"), [("orders.eu", "orders.europe"), ("orders.**", "ordersx"), ("a.*", "a")])
def test_prefixes_respect_segments(pattern, topic):
    frame = wire.encode_topic(topic, ORIGIN)
    assert not any(frame.startswith(prefix) for prefix in wire.prefixes(pattern))


@given(TOPICS)
def test_no_topic_frame_has_a_reserved_prefix(topic):
    frame = wire.encode_topic(topic, ORIGIN)
    assert not frame.startswith((wire.RESERVED, wire.END))


def test_the_longest_prefix_fits_a_subscription():
    assert len(wire.prefixes("x" * MAX_BYTES)[0]) == wire.MAX_PREFIX
