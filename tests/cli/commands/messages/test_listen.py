"""`fabric listen`, in a process of its own: its output, its name, its end."""

import os
import re

import orjson
import pytest

from cli.main import run
from fabric.errors import RemoteError
from fabric.testing import ProxyProcess, wait_until
from tests.cli.running import endpoints


def test_what_arrives_is_printed_a_line_each(listen, node, root):
    command = listen("--count", "3")
    node.send(root, {"text": "hi\x1b[2J\nyou"}).wait()
    node.send(root, {"text": "x", "type": "ack"}).wait()
    node.send(root, {"n": 1}).wait()
    assert command.end() == 0
    assert [re.sub(r"^\d\d:\d\d:\d\d\.\d{3}  ", "", each) for each in command.lines] == [
        "anonymous:tester   hi\\u001b[2J\\u000ayou",
        'anonymous:tester   {"text":"x","type":"ack"}',
        'anonymous:tester   {"n":1}',
    ]
    wait_until(lambda: root not in endpoints(node))


def test_as_json_it_is_the_whole_message(listen, node, root):
    command = listen("--json", "--count", "1")
    id_ = node.send(root, {"text": "hi"}).id
    assert command.end() == 0
    message = orjson.loads(command.out)
    assert message == {
        "type": "message", "id": id_, "to": root, "from": "anonymous:tester", "ts": message["ts"], "body": {"text": "hi"},
    }  # fmt: skip


def test_a_request_where_messages_are_only_printed_fails_at_once(listen, node, root):
    command = listen("--count", "1")
    with pytest.raises(RemoteError, match="only prints what arrives"):
        node.request(root, {"text": "?"}, timeout=30).wait()
    assert command.end() == 0
    assert "anonymous:tester ? ?" in command.out


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_ends_it_well(terminal, listen, node, root):
    command = listen(terminal=terminal)
    assert command.interrupt() == 0
    assert "Traceback" not in command.err
    wait_until(lambda: root not in endpoints(node))


def test_sigterm_gives_the_name_back(listen, node, root):
    command = listen()
    assert command.terminate() == 143
    wait_until(lambda: root not in endpoints(node))


def test_too_few_messages_in_time_end_with_5(listen):
    command = listen("--count", "2", "--timeout", "0.5")
    assert command.end() == 5
    assert command.err == "fabric: 0 of 2 messages came within 0.5 s\n"


def test_a_name_that_is_taken_ends_with_1_or_gets_a_suffix(listen, node, root):
    with node.endpoint(root):
        taken = listen()
        assert taken.end() == 1
        assert taken.err.startswith(f"fabric: the endpoint name {root!r} is held by tester (pid {os.getpid()}")
        suffixed = listen("--policy", "suffix")
        suffixed.wait_for(f"-- {root} is taken: listening as {root}-2", "err")


def test_a_name_that_is_taken_away_ends_it_with_1(listen, node, root):
    command = listen()
    with node.endpoint(root, policy="replace"):
        assert command.end() == 1
    assert f"{root!r} is somebody else's now: replaced" in command.err


def test_it_waits_for_a_proxy_that_comes_back_and_has_its_name_again(start, fabric_node):
    with ProxyProcess() as proxy, fabric_node("asker", url=proxy.url) as node:
        command = start("listen", "--url", proxy.url, "me", "--count", "1")
        wait_until(lambda: "me" in endpoints(node))
        proxy.restart()
        command.wait_for("was lost; waiting", "err")
        command.wait_for("is back", "err")
        node.wait_ready()
        wait_until(lambda: "me" in endpoints(node))
        assert node.send("me", {"text": "again"}).wait() == 1
        assert command.end() == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--exec"], "--exec needs a program"),
        (["--json", "--exec", "true"], "--json and --exec"),
        (["--exec-timeout", "1"], "--exec-timeout is for --exec"),
        (["--policy", "steal"], "policy"),
        (["--count", "0"], "count"),
    ],
)
def test_wrong_usage_ends_with_2(options, problem, capfd):
    assert run(["listen", "a", *options]) == 2
    assert problem in capfd.readouterr().err


def test_a_file_of_rules_may_say_which_endpoint(start, url, node, root, rules):
    command = start(
        "listen", "--url", url, "--count", "1", "--rules", rules(f'endpoint = "{root}"\n[default]\nprint = true')
    )
    command.wait_until(lambda: root in endpoints(node), what="it listens")
    node.send(root, {"text": "x"}).wait()
    assert command.end() == 0


def test_without_a_name_it_is_the_variables_and_a_second_one_gets_a_number(start, url, node, root):
    first = start("listen", "--url", url, env={"FABRIC_ENDPOINT": root})
    first.wait_until(lambda: root in endpoints(node), what="it listens")
    second = start("listen", "--url", url, env={"FABRIC_ENDPOINT": root})
    second.wait_for(f"{root} is taken: listening as {root}-2", "err")
    assert first.interrupt() == second.interrupt() == 0


def test_the_variable_comes_before_the_file_of_rules(start, url, node, root, rules):
    file = rules(f'endpoint = "{root}-file"\n[default]\nprint = true')
    command = start("listen", "--url", url, "--rules", file, env={"FABRIC_ENDPOINT": root})
    command.wait_until(lambda: root in endpoints(node), what="it listens")
    assert command.interrupt() == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["a", "--rules", "FILE", "--json"], "--rules cannot be had together"),
        (["a", "--rules", "FILE", "--exec", "true"], "--rules cannot be had together"),
        (["a", "--rules", "/nonexistent"], "/nonexistent: cannot be read"),
    ],
)
def test_wrong_usage_of_rules_ends_with_2(options, problem, rules, capfd):
    file = rules("[default]\nprint = true")
    assert run(["listen", *(file if each == "FILE" else each for each in options)]) == 2
    assert problem in capfd.readouterr().err
