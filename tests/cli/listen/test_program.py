"""`fabric listen --exec`: the input and the answers of programs, and that none is left."""

import os
import signal
from types import SimpleNamespace

import pytest

from cli.listen.program import ProgramHandler
from cli.main import run
from fabric.errors import NoSuchEndpoint, RemoteError
from fabric.testing import wait_until
from tests.processes import children_of, has_ended


def test_what_a_program_prints_answers_a_request(listen, node, root):
    listen("--exec", "sh", "-c", 'echo "$FABRIC_FROM: $FABRIC_TEXT"')
    assert node.request(root, {"text": "hi"}).wait() == "anonymous:tester: hi"


def test_an_answer_is_json_if_it_is_that_else_text(listen, node, root):
    listen("--exec", "sh", "-c", 'printf %s "$FABRIC_TEXT"')
    cases = {'{"a": 1}': {"a": 1}, "7": 7, "a\nb\n": "a\nb", "": None, "\n": None, "[1": "[1"}
    assert {text: node.request(root, {"text": text}).wait() for text in cases} == cases


def test_a_program_gets_the_message_as_json_and_its_options_are_its_own(listen, node, root):
    listen("--exec", "sh", "-c", "cat", "--count", "--json")
    asked = node.request(root, {"n": 1}).wait()
    assert (asked["to"], asked["body"], asked["request"]) == (root, {"n": 1}, True)


def test_for_a_plain_message_what_it_prints_is_printed(listen, node, root):
    command = listen("--count", "2", "--exec", "sh", "-c", 'echo "got $FABRIC_TEXT"; echo "warn" >&2')
    node.send(root, {"text": "one"}).wait()
    node.send(root, {"text": "two"}).wait()
    assert command.end() == 0
    assert (command.out, command.err) == ("got one\ngot two\n", "warn\nwarn\n")


def test_a_program_that_fails_raises_at_the_asker_and_the_next_message_is_handled(listen, node, root):
    script = '[ "$FABRIC_TEXT" = ok ] && echo fine || { echo "cannot do that" >&2; exit 3; }'
    command = listen("--exec", "sh", "-c", script)
    with pytest.raises(RemoteError, match="ProgramFailed: ended with exit status 3: cannot do that"):
        node.request(root, {"text": "no"}).wait()
    assert node.request(root, {"text": "ok"}).wait() == "fine"
    command.wait_for("ended with exit status 3", "err")


def test_a_program_that_runs_too_long_is_ended(listen, node, root):
    listen("--exec-timeout", "0.3", "--exec", "sleep", "600")
    with pytest.raises(RemoteError, match="was ended after"):
        node.request(root, {"text": "x"}, timeout=10).wait()


def test_a_program_ends_with_its_listener(listen, node, root, tmp_path):
    command = listen("--exec", "sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 600")
    node.send(root, {"text": "x"}).wait()
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    command.process.send_signal(signal.SIGTERM)
    assert command.end() == 143
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid), what="the program ends with its listener")


def test_messages_that_arrive_after_the_last_one_are_reported_by_id(listen, node, root, tmp_path):
    gate = tmp_path / "gate"
    command = listen("--count", "1", "--exec", "sh", "-c", f"while ! [ -e {gate} ]; do sleep 0.01; done")
    receipts = [node.send(root, {"n": number}) for number in range(3)]
    for receipt in receipts:
        receipt.wait()
    gate.touch()
    assert command.end() == 0
    assert command.err == f"-- 2 more had arrived for {root}, and are lost: {receipts[1].id}, {receipts[2].id}\n"


def test_a_missing_program_is_reported_before_a_message_is_accepted(url, node, root, capfd):
    assert run(["listen", root, "--url", url, "--exec", "no-such-program"]) == 1
    assert capfd.readouterr().err == "fabric: there is no program 'no-such-program' that can be run\n"
    with pytest.raises(NoSuchEndpoint):
        node.send(root, {}).wait()


class Given(dict):
    """A message that came from nowhere."""

    id, sender, body, is_request = "1", "app", {}, False


def test_a_signal_handler_that_raises_at_any_point_leaves_no_program():
    class Interrupted(BaseException):
        pass

    def interrupt(_number, _frame):
        raise Interrupted

    node = SimpleNamespace(url="ipc:///x", settings=SimpleNamespace(max_bytes=1_000))

    def handle_interrupted(delay):
        with ProgramHandler(("/bin/sleep", "600"), None, node, None) as handler:
            signal.setitimer(signal.ITIMER_REAL, delay)
            handler(Given(body={}))

    others = set(children_of(os.getpid()))
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in range(1, 80, 4):
            with pytest.raises(Interrupted):
                handle_interrupted(delay / 10_000)
            assert set(children_of(os.getpid())) <= others
    finally:
        signal.signal(signal.SIGALRM, before)
