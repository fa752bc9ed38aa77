"""`fabric notify`, run in this process with the options of notify-hermes, at a real endpoint."""

import os

import pytest

from cli.main import run


@pytest.fixture
def inbox(node, root):
    """An endpoint of the test's own, registered."""
    with node.endpoint(root) as made:
        made.wait_ready()
        yield made


@pytest.fixture
def notify(url, monkeypatch):
    """A function that runs `fabric notify`, outside tmux; the exit code."""
    monkeypatch.delenv("TMUX", raising=False)
    return lambda *arguments: run(["notify", "--url", url, *arguments])


@pytest.fixture
def names(tmp_path):
    """A file of rules with names."""
    path = tmp_path / "rules.toml"
    path.write_text('names.tmux-1 = "Lead"\nnames.tmux-2 = "two words"\n[default]\nprint = true\n')
    return str(path)


def test_all_the_old_options_say_what_they_said(notify, inbox, root, capfd):
    arguments = ["--to", root, "--from", "w", "--type", "task_done", "--channel", "feishu:oc_1"]
    assert notify(*arguments, "the build is green") == 0
    message = inbox.receive(5)
    assert message.body == {"text": "the build is green", "type": "task_done", "channel": "feishu:oc_1"}
    assert message.sender == "anonymous:w"
    assert capfd.readouterr().out == f"delivered {root} id={message.id}\n"


def test_a_body_is_json_and_takes_type_and_channel(notify, inbox, root):
    assert notify("--to", root, "--body", '{"job": 7}', "--type", "directive") == 0
    assert inbox.receive(5).body == {"job": 7, "type": "directive"}


def test_a_sender_is_called_what_the_file_calls_it(notify, inbox, root, names):
    for said in ("tmux-1", "Lead", "other"):
        assert notify("--to", root, "--config", names, "--from", said, "x") == 0
    assert [each.sender for each in inbox.poll()] == ["anonymous:Lead", "anonymous:Lead", "anonymous:other"]


def test_without_from_it_is_the_tmux_session_if_there_is_one(notify, inbox, root, names, monkeypatch, tmp_path):
    assert notify("--to", root, "x") == 0
    assert inbox.receive(5).sender.startswith("anonymous:send-")
    program = tmp_path / "tmux"
    program.write_text("#!/bin/sh\necho tmux-1\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    assert notify("--to", root, "x") == 0
    assert notify("--to", root, "--config", names, "x") == 0
    assert [each.sender for each in inbox.poll()] == ["anonymous:tmux-1", "anonymous:Lead"]


def test_a_failure_is_printed_and_changes_the_exit_code(notify, root, capfd):
    assert notify("--to", f"{root}-nobody", "x") == 4
    assert capfd.readouterr().err.startswith("fabric: no endpoint is called")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["x"], "--to"),
        (["--to", "a"], "nothing to send"),
        (["--to", "a", "x", "--body", "{}"], "two bodies"),
        (["--to", "a", "--body", "[1]", "--type", "b"], "a body is an object"),
        (["--to", "a", "--body", "{"], "this is no JSON"),
        (["--to", "a", "--body", '{"type": "b"}', "--type", "c"], "contradicts the body"),
        (["--to", "", "x"], "must not be empty"),
        (["--to", "a", "x", "--from", "tmux-2", "--config", "NAMES"], "white space"),
        (["--to", "a", "x", "--config", "/nonexistent"], "cannot be read"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_problem(notify, names, arguments, problem, capfd):
    assert notify(*(names if each == "NAMES" else each for each in arguments)) == 2
    assert problem in capfd.readouterr().err


def test_the_help_has_examples_that_begin_with_the_command(capfd):
    assert run(["notify", "--help"]) == 0
    assert capfd.readouterr().out.count("\n    fabric notify") >= 3
