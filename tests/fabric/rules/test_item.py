"""Messages and events as records, whatever their fields are."""

from hypothesis import given
from hypothesis import strategies as st

from fabric.rules.item import HOPS, MISSING, event_item, look_up, message_item

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(["type", "id", "to", "from", "ts", "body", "text", "src", "topic", "channel", HOPS])


def test_a_message_has_its_own_fields_and_those_of_its_body():
    body = {"text": "hi", "type": "ack", "channel": "c:1", "topic": "a.b", "n": 1, HOPS: 2}
    message = {"type": "message", "id": "i", "to": "lead", "from": "worker", "ts": 5, "body": body}
    item = message_item(message, request=True)
    assert (item.kind, item.id, item.to, item.sender, item.ts) == ("message", "i", "lead", "worker", 5.0)
    assert (item.type, item.channel, item.topic, item.text) == ("ack", "c:1", "a.b", "hi")
    assert (item.body, item.source, item.request, item.hops) == (body, message, True, 2)


def test_an_event_has_its_topic_and_its_payload():
    item = event_item("job.7.done", {"type": "other", "ts": 1.5, "src": "me", "text": "t", "n": 1})
    assert (item.kind, item.topic, item.type, item.sender, item.ts) == ("event", "job.7.done", "other", "me", 1.5)
    assert (item.body, item.text) == ({"text": "t", "n": 1}, "t")


def test_a_field_that_is_no_text_is_empty_and_a_time_that_is_none_is_none():
    item = message_item({"from": 5, "ts": "soon", "body": {"text": ["x"], "type": None, HOPS: True}})
    assert (item.sender, item.ts, item.text, item.type, item.hops) == ("", None, "", "", 0)
    for ts in (True, -1, float("nan"), float("inf"), 1e300):
        assert message_item({"ts": ts}).ts is None


@given(st.dictionaries(KEYS | st.text(max_size=5), ANYTHING, max_size=6))
def test_every_mapping_is_an_item(mapping):
    for item in (message_item(mapping), event_item("a.b", mapping)):
        assert isinstance(item.body, dict)
        assert isinstance(item.type + item.text + item.sender + item.channel + item.to + item.id, str)
        assert item.hops >= 0


def test_a_field_is_looked_up_in_objects_and_lists():
    value = {"a": [{"b": 1}], "0": "zero"}
    assert look_up(value, ("a", "0", "b")) == 1
    assert look_up(value, ("0",)) == "zero"
    assert look_up(value, ()) == value
    for keys in (("a", "1"), ("a", "-1"), ("a", "b"), ("a", "²"), ("x",), ("a", "0", "b", "c"), ("a", "9" * 5000)):
        assert look_up(value, keys) is MISSING
