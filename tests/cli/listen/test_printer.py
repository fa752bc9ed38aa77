"""How `fabric listen` prints messages."""

import re

import orjson
import pytest

from cli.listen.printer import Printer, line
from fabric.messages.message import NotAnswered


class Made(dict):
    """A message that came from nowhere."""

    sender, is_request = "app", False

    def __init__(self, **facts):
        super().__init__({"ts": 0.5, "body": {"text": "hi"}, **facts})
        self.failed = []

    @property
    def body(self):
        return self["body"]

    def fail(self, error):
        self.failed.append(error)


class Lines:
    """Collects the output."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"text": "a\x1b\n"}, "a\\u001b\\u000a"),
        ({"text": 5}, '{"text":5}'),
        ({"text": "a", "n": 1}, '{"text":"a","n":1}'),
    ],
)
def test_a_body_that_is_a_text_is_shown_as_that_and_any_other_as_json(body, shown):
    assert re.fullmatch(r"\d\d:\d\d:00\.500  app   (.*)", line(Made(body=body)))[1] == shown


def test_a_request_is_marked_and_its_sender_escaped():
    message = Made()
    message.is_request, message.sender = True, "a\x1b"
    assert line(message).endswith("  a\\u001b ? hi")


@pytest.mark.parametrize("ts", ["soon", 1e300, -1, None])
def test_a_time_stamp_that_is_none_breaks_no_line(ts):
    assert line(Made(ts=ts)).endswith("  app   hi")


@pytest.mark.parametrize("as_json", [True, False])
def test_each_message_is_a_line_and_a_request_fails_at_once(as_json):
    out, message = Lines(), Made()
    Printer(out, as_json)(message)
    assert out.text.count("\n") == 1
    assert not as_json or orjson.loads(out.text) == message
    assert [type(each) for each in message.failed] == [NotAnswered]
