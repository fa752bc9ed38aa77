"""`fabric request`: the output for an answer, and the end without one."""

import re

import pytest

from cli.commands.messages.request import shown
from cli.main import run


@pytest.fixture
def request_(url):
    """A function that runs `fabric request`; the exit code."""
    return lambda *arguments: run(["request", "--url", url, *arguments])


@pytest.fixture
def answering(node, root):
    """A function that registers a handler at `root`: it returns the given value, or calls the given function."""

    def answer(value):
        node.endpoint(root, value if callable(value) else lambda _message: value).wait_ready()

    return answer


def test_a_text_is_printed_as_it_is_and_the_time_on_stderr(request_, answering, root, capfd):
    answering(lambda message: f"hello {message.body['text']}\nbye")
    assert request_(root, "you") == 0
    printed = capfd.readouterr()
    assert printed.out == "hello you\nbye\n"
    assert re.fullmatch(rf"-- {root} answered in \d+\.\d ms\n", printed.err)


@pytest.mark.parametrize(
    ("value", "text"), [({"sum": 3}, '{"sum":3}'), (None, "null"), ([1, "a"], '[1,"a"]'), (1.5, "1.5")]
)
def test_anything_else_is_printed_as_json(value, text, request_, answering, root, capfd):
    answering(value)
    assert request_(root, "--json", "{}") == 0
    assert capfd.readouterr().out == f"{text}\n"


def test_nothing_in_an_answer_acts_on_a_terminal():
    assert shown("a\x1b[2Jb\r\n\tc\u202e") == "a\\u001b[2Jb\\u000d\n\tc\\u202e"
    assert shown({"a": "\x1b"}) == '{"a":"\\u001b"}'


def test_a_handler_that_raises_ends_with_1_and_its_words_are_harmless(request_, answering, root, capfd):
    def fail(_message):
        raise ValueError("no\x1b[2J")

    answering(fail)
    assert request_(root, "x") == 1
    assert f"fabric: the handler of {root!r} raised ValueError: no\\u001b[2J\n" in capfd.readouterr().err


def test_an_unknown_endpoint_ends_with_4(request_, root, capfd):
    assert request_(root, "x") == 4
    assert f"no endpoint is called {root!r}" in capfd.readouterr().err


def test_no_answer_in_time_ends_with_5(request_, node, root, capfd):
    with node.endpoint(root) as inbox:
        inbox.wait_ready()
        assert request_(root, "x", "--timeout", "0.3") == 5
        assert len(inbox.poll()) == 1
    assert capfd.readouterr().err.startswith(f"fabric: {root!r}")


def test_it_can_ask_under_a_name(request_, answering, root, capfd):
    answering(lambda message: message.sender)
    assert request_(root, "x", "--as", f"{root}-me") == 0
    assert capfd.readouterr().out == f"{root}-me\n"


@pytest.mark.parametrize("arguments", [["*", "x"], ["a"], ["a", "x", "--json", "{}"]])
def test_wrong_usage_ends_with_2(arguments, request_):
    assert request_(*arguments) == 2
