"""Texts, arguments, variables, topics and payloads, whatever a message contains."""

import subprocess

import orjson
import pytest

from fabric.rules.item import HOPS, MAX_HOPS
from fabric.rules.reading.file import Rules
from fabric.rules.running.render import (
    MAX_ARGUMENT,
    arguments,
    body_of,
    channel_of,
    encoded,
    facts,
    receiver_of,
    text_of,
    topic_of,
    variables_of,
)


def planned(action, message=None, topic=None, **body):
    on = 'on = "event"\ntopic = "**"\n' if topic else ""
    (found,) = Rules.parse(f"[[rule]]\nname = 'r'\n{on}{action}").decide(message or {"from": "w", "body": body}, topic)
    return found


def argv(words, **body):
    found = planned(f"exec = {orjson.dumps(words).decode()}", **body)
    return arguments(found.action.command, found.context())


HOSTILE = [
    "$(touch x) `id` ; rm -rf | & > <",
    "a b  c",
    "'\"\\",
    "\x1b]0;t\x07",
    "a\nb",
    "*?~",
    "{from}",
    "\0",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_one_argument_that_execve_takes(text):
    found = argv(["printf", "%s|", "x{text}", "y"], text=text)
    assert len(found) == 4
    assert found[2].isprintable()
    assert subprocess.run(found, capture_output=True, check=True).stdout == f"{found[2]}|y|".encode()


def test_an_argument_is_bounded():
    (_, found) = argv(["true", "{text}"], text="é" * 1_000_000)
    assert len(found.encode()) <= MAX_ARGUMENT
    subprocess.run(["true", found], check=True)


def test_a_value_that_would_be_an_option_is_an_error():
    with pytest.raises(ValueError, match="argument 2 would be taken for an option"):
        argv(["cat", "{text}"], text="--help")
    assert argv(["cat", "--", "{text}"], text="--help") == ["cat", "--", "--help"]
    assert argv(["cat", "--text={text}"], text="--help") == ["cat", "--text=--help"]
    assert argv(["cat", "{text}"], text="x-") == ["cat", "x-"]
    with pytest.raises(ValueError, match="option"):
        argv(["cat", "{text}-{text}"], text="-")


def test_line_breaks_are_kept_where_the_template_asks_for_it():
    assert argv(["x", "{text:lines}"], text="a\nb\x1b") == ["x", "a\n  b\\u001b"]


def test_variables_are_unchanged_values():
    found = planned('exec = { command = ["x"], environment = { A = "{text}", B = "{message}" } }', text="a\nb")
    said = variables_of(found.action.command, found.context())
    assert said["A"] == "a\nb"
    assert orjson.loads(said["B"]) == {"from": "w", "body": {"text": "a\nb"}}


def test_a_program_gets_the_message_and_its_rule():
    message = {"type": "message", "id": "i", "from": "w", "to": "l", "ts": 1, "body": {"n": 1}}
    assert facts(planned("print = true", message)) == {**message, "request": False, "rule": "r"}
    assert orjson.loads(encoded(planned("print = true", message)))["rule"] == "r"


def test_a_program_gets_an_event_in_the_same_form():
    envelope = {"type": "a.b", "ts": 1.0, "src": "me", "n": 1}
    assert facts(planned("print = true", envelope, "a.b")) == {
        "type": "event", "topic": "a.b", "from": "me", "ts": 1.0, "body": {"n": 1}, "rule": "r",
    }  # fmt: skip


def test_a_body_that_orjson_cannot_write_is_an_error():
    deep = orjson.loads("[" * 500 + "]" * 500)
    with pytest.raises(ValueError, match="cannot be handed on"):
        encoded(planned("print = true", deep=deep))


def test_an_event_has_the_body_of_the_message_and_its_sender():
    found = planned('publish = "a"', text="t", type="ack", src="admin", ts=5, **{"from": "admin"})
    assert body_of(found) == {"text": "t", "from": "w", "message_type": "ack", HOPS: 1}
    assert body_of(planned('publish = "a"', {"type": "x", "src": "s", "n": 1}, "x")) == {"n": 1, HOPS: 1}


def test_a_message_is_sent_on_unchanged_or_made_of_templates():
    assert body_of(planned('send = "x"', text="t", type="ack")) == {"text": "t", "type": "ack", HOPS: 1}
    made = planned('send = { to = "x", body = { n = "{body.n}", s = "{body.n}!", l = ["{text}", 1] } }', n=7, text="t")
    assert body_of(made) == {"n": 7, "s": "7!", "l": ["t", 1], HOPS: 1}


def test_rules_that_answer_each_other_are_cut():
    assert body_of(planned('send = "x"', **{HOPS: MAX_HOPS - 1}))[HOPS] == MAX_HOPS
    with pytest.raises(ValueError, match="in a circle"):
        body_of(planned('send = "x"', **{HOPS: MAX_HOPS}))
    made = planned('publish = { topic = "x", payload = { rule_hops = 0 } }', **{HOPS: MAX_HOPS})
    with pytest.raises(ValueError, match="in a circle"):
        body_of(made)


def test_a_value_cannot_add_segments_to_a_topic_nor_reserve_it():
    assert topic_of(planned('publish = "seen.{text}"', text="a.b.*")) == "seen.a_b__"
    for text in ("", "x" * 300):
        with pytest.raises(ValueError, match=r"segment|bytes"):
            topic_of(planned('publish = "seen.{text}"', text=text))
    with pytest.raises(ValueError, match="the system's own"):
        topic_of(planned('publish = "{text}.x"', text="fabric"))


def test_a_value_cannot_make_a_message_a_broadcast():
    with pytest.raises(ValueError, match="everybody"):
        receiver_of(planned('send = "{text}"', text="*"))
    assert receiver_of(planned('send = "*"')) == "*"
    assert receiver_of(planned('send = "{from}"')) == "w"


def test_a_channel_comes_from_message_or_rule_and_none_is_an_error():
    assert channel_of(planned("route = true", channel="feishu:oc_1")) == "feishu:oc_1"
    assert channel_of(planned('route = { channel = "ops" }')) == "ops"
    with pytest.raises(ValueError, match="no channel"):
        channel_of(planned("route = true"))


def test_each_kind_has_a_default_format():
    assert text_of(planned("print = true", {"from": "w", "ts": "?", "body": {"text": "a\nb"}})) == "  w  a\\u000ab"
    assert text_of(planned("inbox = true", text="a\nb")) == "a\n  b"
    assert text_of(planned("route = true", text="a")) == "a"
    assert text_of(planned("inbox = true", {"type": "a", "text": "t"}, "a")) == "a: t"
