"""`fabric listen --rules`: the actions on messages and events, and the report at the end."""

import pytest

from fabric.errors import RemoteError
from fabric.testing import wait_until
from tests.cli.running import endpoints
from tests.processes import has_ended


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


def test_a_rules_program_may_answer_and_a_request_without_an_answer_fails(listen, node, root, rules):
    listen("--rules", rules('[[rule]]\ntype = "time"\nexec = { command = ["echo", "7"], answer = true }\n'))
    assert node.request(root, {"type": "time"}).wait() == 7
    with pytest.raises(RemoteError, match="no rule answers"):
        node.request(root, {"type": "other"}).wait()


def test_failures_are_reported_at_the_end_and_programs_end_with_the_listener(listen, node, root, rules, tmp_path):
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
    command.close_stdout()
    node.send(root, {"text": "x"}).wait()
    assert command.end() == 0
    assert "Traceback" not in command.err


def test_routed_texts_go_as_the_settings_file_says(listen, node, root, rules, tmp_path):
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
