"""Frames of JSON: whatever is in them, they are read or refused."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import WireError
from fabric.protocol import verbs
from fabric.protocol.json_fields import encode_error

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)
_KEYS = st.sampled_from(["version", "node", "origin", "pid", "host", "program", "ts", "ttl", "error", "heartbeat"])


@given(st.dictionaries(_KEYS, _JSON), st.sampled_from(["HELLO", "WELCOME", "SEND", "REPLIED"]))
def test_whatever_the_json_it_is_read_or_refused(facts, verb):
    data = orjson.dumps(facts)
    frames = {
        "HELLO": [b"HELLO", b"1", b"1", data],
        "WELCOME": [b"WELCOME", b"1", b"1", data],
        "SEND": [b"SEND", b"i", b"to", b"", b"from", data, b"{}"],
        "REPLIED": [b"REPLIED", b"i", data, b"{}"],
    }[verb]
    try:
        (verbs.decode_for_node if verb in ("WELCOME", "REPLIED") else verbs.decode_for_proxy)(frames)
    except WireError:
        pass


@pytest.mark.parametrize("origin", ["", " " * 16, "31 32 33 34 35 3", "3132333435363738 ", "zz" * 8])
def test_an_origin_that_is_not_eight_bytes_is_refused(origin):
    with pytest.raises(WireError):
        verbs.decode_for_proxy([b"HELLO", b"1", b"1", orjson.dumps({"node": "n", "origin": origin})])


def test_what_a_handler_raised_can_be_sent_whatever_its_text():
    meta = encode_error("Odd" * 100, "\ud800\x00" * 5_000)
    assert verbs.decode_for_node([b"REPLIED", b"i", meta, b"null"]).meta.error[0].startswith("Odd")
