from collections import ChainMap, OrderedDict
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.envelope import stamp


def test_an_event_without_payload_has_type_ts_and_src():
    assert stamp("a.b", None, "me", 1.5) == {"type": "a.b", "ts": 1.5, "src": "me"}


def test_the_payloads_keys_stand_beside_the_stamps():
    assert stamp("a.b", {"n": 1, "deep": {"x": 2}}, "me", 1.5) == {
        "type": "a.b",
        "ts": 1.5,
        "src": "me",
        "n": 1,
        "deep": {"x": 2},
    }


@pytest.mark.parametrize("given_value", ["theirs", "", 0, False])
@pytest.mark.parametrize("key", ["type", "ts", "src"])
def test_a_relays_values_survive(key, given_value):
    assert stamp("a.b", {key: given_value}, "me", 1.5)[key] == given_value


@pytest.mark.parametrize(("key", "filled"), [("type", "a.b"), ("ts", 1.5), ("src", "me")])
def test_none_counts_as_missing(key, filled):
    assert stamp("a.b", {key: None}, "me", 1.5)[key] == filled


def test_the_payload_is_copied_and_not_changed():
    payload = {"n": 1}
    envelope = stamp("a", payload, "me", 1.5)
    envelope["n"] = 2
    assert payload == {"n": 1}


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType, ChainMap])
def test_any_mapping_is_a_payload(kind):
    envelope = stamp("a", kind({"n": 1}), "me", 1.5)
    assert type(envelope) is dict
    assert envelope["n"] == 1


@pytest.mark.parametrize("payload", ["text", 1, 1.5, [("n", 1)], {"n"}, b"bytes", object(), True])
def test_a_payload_that_is_no_mapping_is_a_type_error_that_names_topic_and_type(payload):
    with pytest.raises(TypeError, match=f"'a.b'.*{type(payload).__name__}"):
        stamp("a.b", payload, "me", 1.5)


@given(st.dictionaries(st.text(), st.integers() | st.none()))
def test_every_envelope_has_the_three_stamps(payload):
    envelope = stamp("a", payload, "me", 1.5)
    assert all(envelope[key] is not None for key in ("type", "ts", "src"))
    assert envelope == {"type": "a", "ts": 1.5, "src": "me"} | {
        key: value for key, value in payload.items() if value is not None or key not in ("type", "ts", "src")
    }
