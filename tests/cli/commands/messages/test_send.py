"""`fabric send`, run in this process: against a real proxy and a real endpoint."""

import io
import os
import signal
import sys

import pytest

from cli.main import run
from fabric.testing import ProxyProcess
from tests.processes import stop

SIX = [f"name-{number}" for number in range(6)]


@pytest.fixture
def inbox(node, root):
    """An endpoint of the test's own, registered."""
    with node.endpoint(root) as made:
        made.wait_ready()
        yield made


@pytest.fixture
def send(url):
    """A function that runs `fabric send`; the exit code."""
    return lambda *arguments: run(["send", "--url", url, *arguments])


@pytest.fixture
def stdin(monkeypatch):
    """A function that sets the bytes on stdin."""

    def say(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return say


def test_a_text_arrives_and_its_delivery_is_printed(send, inbox, root, capfd):
    assert send(root, "hellö") == 0
    [message] = inbox.poll()
    assert message.body == {"text": "hellö"}
    assert message.sender == f"anonymous:send-{os.getpid()}"
    assert capfd.readouterr().out == f"delivered {root} id={message.id}\n"


def test_type_and_channel_go_into_the_body_whatever_that_is(send, inbox, root):
    assert send(root, "done", "--type", "task_done", "--channel", "feishu:oc_1") == 0
    assert send(root, "--json", '{"job": 7, "type": "a"}', "--type", "a") == 0
    assert send(root, "--type", "ack") == 0
    assert [message.body for message in inbox.poll()] == [
        {"text": "done", "type": "task_done", "channel": "feishu:oc_1"},
        {"job": 7, "type": "a"},
        {"type": "ack"},
    ]


def test_text_and_body_can_come_from_stdin(send, inbox, root, stdin):
    stdin(b"two\nlines\n")
    assert send(root, "-") == 0
    stdin(b'{"a": 1}')
    assert send(root, "--json", "-") == 0
    assert [message.body for message in inbox.poll()] == [{"text": "two\nlines"}, {"a": 1}]


def test_as_registers_the_name_for_the_moment_and_it_is_stamped(send, inbox, root, node):
    assert send(root, "x", "--as", f"{root}-boss") == 0
    assert inbox.poll()[0].sender == f"{root}-boss"
    assert f"{root}-boss" not in {each["endpoint"] for each in node.endpoints()}


def test_as_a_name_that_another_node_holds_sends_nothing_and_names_the_holder(send, inbox, root, capfd):
    assert send(root, "x", "--as", root) == 1
    err = capfd.readouterr().err
    assert (
        err == f"fabric: cannot send as {root!r}: tester (pid {os.getpid()} on {os.uname().nodename}) has that name\n"
    )
    assert inbox.poll() == []


def test_from_is_a_claim_and_marked_anonymous(send, inbox, root, capfd):
    assert send(root, "x", "--from", root) == 0
    assert inbox.receive(5).sender == f"anonymous:{root}"
    assert send(root, "x", "--from", "a", "--as", "b") == 2
    assert "two senders" in capfd.readouterr().err


def test_a_channel_survives_every_hop_and_an_answer_unchanged(send, inbox, root, node):
    channel = "feishu:oc:1 ü/{x}\u202e"
    assert send(root, "x", "--channel", channel) == 0
    first = inbox.receive(5)
    assert first.body["channel"] == channel
    asked = node.request(root, {"text": "?"}, channel=first.body["channel"])
    request = inbox.receive(5)
    request.reply({"channel": request.body["channel"]})
    assert asked.wait() == {"channel": channel}


def test_an_unknown_name_ends_with_4_and_similar_ones_are_printed(send, inbox, root, capfd):
    assert send(f"{root}x", "hi") == 4
    assert capfd.readouterr().err == f"fabric: no endpoint is called '{root}x'; did you mean '{root}'?\n"


def test_a_holder_that_is_full_ends_with_1(send, root, node, capfd):
    with node.endpoint(root, max_inbox=1) as inbox:
        inbox.wait_ready()
        assert send(root, "one") == 0
        assert send(root, "two") == 1
    assert root in capfd.readouterr().err


def test_no_acknowledgement_in_time_ends_with_5(send, start, root, url, capfd):
    listening = start("listen", root, "--url", url, terminal=True)
    listening.wait_for("listening as")
    stop(listening.pid)
    try:
        assert send(root, "x", "--timeout", "0.3") == 5
        assert capfd.readouterr().err.startswith(f"fabric: {root!r} did not acknowledge within 0.3")
    finally:
        os.kill(listening.pid, signal.SIGCONT)


def test_a_broadcast_tells_how_many_have_it(send, fabric_node, capfd):
    with ProxyProcess() as proxy, fabric_node("a", url=proxy.url) as node:
        for name in SIX:
            node.endpoint(name).wait_ready()
        assert run(["send", "--url", proxy.url, "*", "all"]) == 0
    assert capfd.readouterr().out.startswith("delivered * holders=6 id=")


def test_without_waiting_it_is_passed_on_all_the_same(send, inbox, root, capfd):
    assert send(root, "x", "--wait", "none") == 0
    assert inbox.receive(5).body == {"text": "x"}
    assert capfd.readouterr().out.startswith(f"sent {root} id=")
    assert send(f"{root}-nobody", "x", "--wait", "none") == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["a"], "nothing to send"),
        (["a", "text", "--json", "{}"], "two bodies"),
        (["a", "--json", "[1]"], "a body is an object"),
        (["a", "--json", "{"], "this is no JSON"),
        (["a", "--json", '{"type": "x"}', "--type", "y"], '--type y contradicts the body, whose type is "x"'),
        (["a b", "text"], "white space"),
        (["", "text"], "must not be empty"),
        (["anonymous:x", "text"], "marks senders without a name"),
        (["a", "text", "--as", "*"], "addresses everybody"),
        (["a", "text", "--timeout", "0"], "timeout"),
        (["a", "text", "--timeout", "4000"], "timeout"),
        (["a", "text", "--wait", "ever"], "wait"),
        ([], "TO"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_problem(arguments, problem, send, capfd):
    assert send(*arguments) == 2
    assert problem in capfd.readouterr().err


def test_stdin_that_is_no_text_is_wrong_usage(send, stdin, capfd):
    stdin(b"\xff")
    assert send("a", "-") == 2
    assert "no text in UTF-8" in capfd.readouterr().err


def test_a_body_that_cannot_be_carried_ends_with_1(send, root, capfd):
    assert send(root, "--json", '{"a":' + "[" * 300 + "]" * 300 + "}") == 1
    assert "BadMessage" not in capfd.readouterr().err


@pytest.mark.parametrize("command", ["send", "request", "listen", "ls"])
def test_the_help_has_examples_that_begin_with_the_command(command, capfd):
    assert run([command, "--help"]) == 0
    assert capfd.readouterr().out.count(f"\n    fabric {command}") >= 3
