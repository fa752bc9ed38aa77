"""`fabric listen`, in a process of its own: what it prints, what its programs answer, how it ends."""

import os
import re
import signal

import orjson
import pytest

from cli.commands.messages.listen import line
from fabric.errors import NoSuchEndpoint, RemoteError
from fabric.testing import ProxyProcess, wait_until
from tests.processes import has_ended


@pytest.fixture
def listen(start, url, root, node):
    """A function that starts `fabric listen` at `root`, and returns when that is registered."""

    def start_listening(*options, name=root, **how):
        command = start("listen", "--url", url, name, *options, **how)
        wait_until(lambda: command.process.poll() is not None or name in endpoints(node), what="it listens")
        return command

    return start_listening


def endpoints(node):
    return {each["endpoint"] for each in node.endpoints()}


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


def test_who_asks_where_messages_are_only_printed_is_told_so_at_once(listen, node, root):
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


def test_what_arrives_when_it_has_had_enough_is_told_by_id(listen, node, root, tmp_path):
    gate = tmp_path / "gate"
    command = listen("--count", "1", "--exec", "sh", "-c", f"while ! [ -e {gate} ]; do sleep 0.01; done")
    receipts = [node.send(root, {"n": number}) for number in range(3)]
    for receipt in receipts:
        receipt.wait()
    gate.touch()
    assert command.end() == 0
    assert command.err == f"-- 2 more had arrived for {root}, and are lost: {receipts[1].id}, {receipts[2].id}\n"


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


# Programs


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
    from cli.main import run

    assert run(["listen", "a", *options]) == 2
    assert problem in capfd.readouterr().err


def test_a_program_that_is_not_there_is_told_before_anything_is_accepted(url, node, root, capfd):
    from cli.main import run

    assert run(["listen", root, "--url", url, "--exec", "no-such-program"]) == 1
    assert capfd.readouterr().err == "fabric: there is no program 'no-such-program' that can be run\n"
    with pytest.raises(NoSuchEndpoint):
        node.send(root, {}).wait()


def test_a_time_stamp_that_is_none_breaks_no_line():
    class Odd(dict):
        sender, is_request, body = "a\x1b", False, {"text": 5}

    assert line(Odd(ts="soon")).endswith('  a\\u001b   {"text":5}')
    assert line(Odd(ts=1e300)).endswith('  a\\u001b   {"text":5}')


# Rules


@pytest.fixture
def rules(tmp_path):
    """A function that writes a file of rules."""

    def write(text):
        (tmp_path / "rules.toml").write_text(text)
        return str(tmp_path / "rules.toml")

    return write


def test_rules_say_what_happens(listen, node, root, rules, tmp_path):
    command = listen(
        "--count", "3", "--rules",
        rules(
            '[[rule]]\ntype = "a"\nprint = "{from}: {text}"\nexec = ["sh", "-c", \'echo "$FABRIC_TEXT" > out\']\n'
            '[[rule]]\ntype = "b"\ninbox = "for the inbox: {text:lines}"\n'
        ),
    )  # fmt: skip
    node.send(root, {"text": "hi\x1b[2J\n", "type": "a"}).wait()
    node.send(root, {"text": "one\ntwo", "type": "b"}).wait()
    node.send(root, {"text": "nobody's", "type": "c"}).wait()
    assert command.end() == 0
    assert sorted(command.out.splitlines()) == [
        "  two", "anonymous:tester: hi\\u001b[2J\\u000a", "for the inbox: one",
    ]  # fmt: skip
    assert (tmp_path / "out").read_text() == "hi\x1b[2J\n\n"
    assert command.err == ""


def test_rules_are_for_events_too_and_are_read_again_when_they_change(listen, node, root, rules):
    event = f'[[rule]]\non = "event"\ntopic = "{root}.*"\n'
    command = listen("--rules", rules(f'{event}print = "old {{topic.2}}"\n'))
    wait_until(lambda: node.has_interest(f"{root}.x"))
    node.publish(f"{root}.one")
    command.wait_for("old one\n")
    rules("broken")
    command.wait_for("rules.toml:1: is no TOML", "err")
    rules(f'{event}print = "new {{topic.2}}"\n')

    def is_new():
        node.publish(f"{root}.two")
        return "new two\n" in command.out

    command.wait_until(is_new)
    assert command.interrupt() == 0


def test_a_rules_program_may_answer_and_who_gets_no_answer_is_told(listen, node, root, rules):
    listen("--rules", rules('[[rule]]\ntype = "time"\nexec = { command = ["echo", "7"], answer = true }\n'))
    assert node.request(root, {"type": "time"}).wait() == 7
    with pytest.raises(RemoteError, match="no rule answers"):
        node.request(root, {"type": "other"}).wait()


def test_a_file_of_rules_may_say_which_endpoint(start, url, node, root, rules):
    command = start(
        "listen", "--url", url, "--count", "1", "--rules", rules(f'endpoint = "{root}"\n[default]\nprint = true')
    )
    command.wait_until(lambda: root in endpoints(node), what="it listens")
    node.send(root, {"text": "x"}).wait()
    assert command.end() == 0


def test_what_failed_is_told_at_the_end_and_programs_end_with_it(listen, node, root, rules, tmp_path):
    text = f"""[[rule]]
name = "a"
exec = ["sh", "-c", "echo bad >&2; exit 3"]
continue = true
[[rule]]
name = "b"
exec = ["sh", "-c", "echo $$ > {tmp_path}/pid; sleep 600"]
"""
    command = listen("--rules", rules(text))
    node.send(root, {"text": "x"}).wait()
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    command.wait_for("rule 'a', exec:", "err")
    assert command.interrupt() == 0
    assert "-- rule a: 1 of 1 actions failed, the last one with: exec: " in command.err
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid), what="the program ends with its listener")


def test_a_reader_that_has_had_enough_ends_it(start, url, node, root, rules):
    command = start("listen", "--url", url, root, "--rules", rules("[default]\nprint = true"))
    command.wait_until(lambda: root in endpoints(node), what="it listens")
    command.process.stdout.close()
    command._open.pop(next(iter(descriptor for descriptor, name in command._open.items() if name == "out")))
    node.send(root, {"text": "x"}).wait()
    assert command.end() == 0
    assert "Traceback" not in command.err


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


def test_what_rules_route_goes_as_the_settings_file_says(listen, node, root, rules, tmp_path):
    (tmp_path / "fabric.toml").write_text(
        f"""[routes]
attempts = 1
[[routes.chat.senders]]
program = ["/bin/sh", "-c", 'printf "%s" "$FABRIC_CHAT: $FABRIC_TEXT" > {tmp_path}/sent']
[[routes.broken.senders]]
program = "/bin/false"
"""
    )
    command = listen(
        "--count",
        "2",
        "--rules",
        rules("[default]\nroute = true\n"),
        env={"FABRIC_CONFIG": str(tmp_path / "fabric.toml")},
    )
    node.send(root, {"text": "done", "channel": "chat:oc_1"}).wait()
    node.send(root, {"text": "lost", "channel": "broken:1"}).wait()
    assert command.end() == 0
    assert (tmp_path / "sent").read_text() == "oc_1: done"
    assert "-- not sent to broken:1 (program false: ended with exit status 1): lost\n" in command.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["a", "--rules", "FILE", "--json"], "--rules cannot be had together"),
        (["a", "--rules", "FILE", "--exec", "true"], "--rules cannot be had together"),
        (["a", "--rules", "/nonexistent"], "/nonexistent: cannot be read"),
    ],
)
def test_wrong_usage_of_rules_ends_with_2(options, problem, rules, capfd):
    from cli.main import run

    file = rules("[default]\nprint = true")
    assert run(["listen", *(file if each == "FILE" else each for each in options)]) == 2
    assert problem in capfd.readouterr().err
