"""Names and values that a condition matches."""

from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.topics import matches
from fabric.rules.conditions import MAX_NAME, Conditions, FieldCondition, pattern
from fabric.rules.item import event_item, message_item


@pytest.mark.parametrize(
    ("text", "field", "name", "is_one"),
    [
        ("task_done", "type", "task_done", True),
        ("task_done", "type", "Task_done", False),
        ("task_done", "type", "task_done2", False),
        ("task_*", "type", "task_done", True),
        ("task_*", "type", "my_task_done", False),
        ("*", "type", "a.b.c", True),
        ("*", "type", "", False),
        ("", "type", "", True),
        ("", "type", "x", False),
        ("anonymous:*", "from", "anonymous:host.example", True),
        ("worker.*", "from", "worker.1", True),
        ("worker.*", "from", "worker.1.eu", False),
        ("worker.**", "from", "worker.1.eu", True),
        ("worker.**", "from", "worker", True),
        ("worker.*-eu", "from", "worker.1-eu", True),
        ("w?", "from", "w1", True),
        ("w[12]", "from", "w3", False),
        ("[*]", "type", "*", True),
        ("[*]", "type", "x", False),
        ("*", "topic", "a.b", False),
        ("**", "topic", "a.b", True),
        ("a.**.z", "topic", "a.z", True),
        ("a.**.z", "topic", "a.b.c.z", True),
        ("a.**.z", "topic", "a.b.c", False),
        ("a*", "type", "a\nb", True),
        ("feishu:*", "channel", "feishu:oc_1.x", True),
    ],
)
def test_names_match_patterns(text, field, name, is_one):
    assert pattern(text, field).matches(name) is is_one


SEGMENT = st.sampled_from(["a", "b", "*", "**", "c"])


@given(st.lists(SEGMENT, min_size=1, max_size=6), st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
def test_topics_match_as_they_do_for_subscribers(segments, name):
    text, topic = ".".join(segments), ".".join(name)
    assert pattern(text, "topic").matches(topic) == matches(text, topic)


@pytest.mark.parametrize(
    ("text", "field"), [("b*", "topic"), ("a..b", "topic"), ("a..b", "from"), (".a", "type"), ("x" * 2000, "type")]
)
def test_a_text_that_is_no_pattern_is_an_error(text, field):
    with pytest.raises(ValueError, match="pattern"):
        pattern(text, field)


def test_many_wildcards_and_long_names_take_no_exponential_time():
    began = monotonic()
    assert not pattern(".".join(["**"] * 50) + ".z", "from").matches(".".join("a" * 500))
    assert not pattern("*a" * 100 + "z", "type").matches("a" * MAX_NAME)
    assert not pattern("*", "type").matches("a" * 10_000_000)
    assert monotonic() - began < 10


BODY = {"job": 7, "ok": True, "state": "failed", "tags": ["x"], "half": 0.5, "none": None}


@pytest.mark.parametrize(
    ("field", "values", "is_one"),
    [
        ("body.job", (7,), True),
        ("body.job", (7.0,), True),
        ("body.job", (8, 7), True),
        ("body.job", (True,), False),
        ("body.ok", (True,), True),
        ("body.ok", (1,), False),
        ("body.state", (pattern("fail*", "where"),), True),
        ("body.state", (pattern("ok", "where"),), False),
        ("body.job", (pattern("*", "where"),), False),
        ("body.missing", (pattern("", "where"),), True),
        ("body.missing", (1,), False),
        ("body.tags.0", (pattern("x", "where"),), True),
        ("body.half", (0.5,), True),
        ("from", (pattern("w*", "where"),), True),
    ],
)
def test_fields_match_values(field, values, is_one):
    where = FieldCondition(field, tuple(field.split(".")), values)
    assert where.matches(message_item({"from": "w1", "body": BODY})) is is_one


def test_all_conditions_must_match_each_with_one_of_its_patterns():
    both = Conditions(
        (("type", (pattern("a", "type"), pattern("b", "type"))), ("from", (pattern("w*", "from"),))),
        (FieldCondition("body.n", ("body", "n"), (1,)),),
    )
    assert both.match(message_item({"from": "w", "body": {"type": "b", "n": 1}}))
    assert not both.match(message_item({"from": "x", "body": {"type": "b", "n": 1}}))
    assert not both.match(message_item({"from": "w", "body": {"type": "c", "n": 1}}))
    assert not both.match(message_item({"from": "w", "body": {"type": "b", "n": 2}}))
    assert Conditions().match(message_item({}))
    assert both.patterns("type") == ("a", "b")


def test_an_events_payload_is_its_body():
    where = Conditions((), (FieldCondition("body.n", ("body", "n"), (1,)),))
    assert where.match(event_item("a", {"type": "a", "n": 1}))


def test_the_systems_own_events_match_only_patterns_that_begin_with_fabric():
    def topic(text):
        return Conditions((("topic", (pattern(text, "topic"),)),))

    joined = event_item("fabric.node.joined", {})
    assert not topic("**").match(joined)
    assert not topic("*.node.*").match(joined)
    assert topic("fabric.node.*").match(joined)
    assert topic("**").match(event_item("fabrics.x", {}))
