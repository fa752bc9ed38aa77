import os

import orjson
import pytest

from fabric.system.message_environment import MAX_VALUE, answer_of, environment
from fabric.system.run_program import run

MESSAGE = {"type": "message", "id": "i-1", "to": "worker", "from": "lead", "ts": 1.5, "holders": 2, "request": True}


def test_the_facts_of_a_message_are_in_the_environment():
    found = environment({**MESSAGE, "body": {"text": "hé", "type": "ack", "channel": "c:1"}}, "ipc:///run/x")
    facts = {
        name: found[f"FABRIC_{name}".encode()].decode() for name in ("ID", "TO", "FROM", "TS", "HOLDERS", "REQUEST")
    }
    assert facts == {"ID": "i-1", "TO": "worker", "FROM": "lead", "TS": "1.5", "HOLDERS": "2", "REQUEST": "1"}
    assert [found[f"FABRIC_{name}".encode()] for name in ("TEXT", "TYPE", "CHANNEL", "URL")] == [
        "hé".encode(), b"ack", b"c:1", b"ipc:///run/x",
    ]  # fmt: skip
    assert found[b"PATH"] == os.environb[b"PATH"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a\0b", b"ab"),
        ("x" * (MAX_VALUE + 1), b"x" * MAX_VALUE),
        ("é" * MAX_VALUE, "é".encode() * (MAX_VALUE // 2)),
        (None, b""),
        (7, b"7"),
        ({"a": 1}, b'{"a":1}'),
        (True, b"1"),
        ("\ud800", b"?"),
        (2**70, b""),
    ],
)
def test_every_text_of_a_body_becomes_a_value_that_execve_accepts(text, value):
    found = environment({**MESSAGE, "body": {"text": text}}, "u")
    assert found[b"FABRIC_TEXT"] == value
    run(["/bin/true"], b"", found, limit=0)


@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_a_body_that_is_no_object_has_no_text(body):
    assert environment({**MESSAGE, "body": body}, "u")[b"FABRIC_TEXT"] == b""


def test_a_variable_of_our_own_environment_does_not_pass_for_a_fact_of_the_message(monkeypatch):
    monkeypatch.setenv("FABRIC_TEXT", "mine")
    assert environment({**MESSAGE, "body": {}}, "u")[b"FABRIC_TEXT"] == b""


def test_further_facts_override_those_of_the_message():
    found = environment({**MESSAGE, "body": {"type": "ack"}}, "u", {"type": "other", "rule": "r"})
    assert (found[b"FABRIC_TYPE"], found[b"FABRIC_RULE"]) == (b"other", b"r")


@pytest.mark.parametrize(
    ("output", "answer"),
    [(b'{"a": 1}', {"a": 1}), (b"7\n", 7), (b"a\nb\n", "a\nb"), (b" \n", None), (b"\xff", "\ufffd")],
)
def test_output_that_is_json_is_that_value_and_other_output_is_text(output, answer):
    assert answer_of(output) == answer


def test_a_program_gets_the_facts_in_its_environment_and_the_message_as_json_on_its_stdin():
    ran = run(
        ["/bin/sh", "-c", "cat; printf %s $FABRIC_ID"], orjson.dumps(MESSAGE), environment(MESSAGE, "u"), limit=500
    )
    assert ran.output == orjson.dumps(MESSAGE) + b"i-1"
