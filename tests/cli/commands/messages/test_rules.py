"""`fabric rules`: checks and lists files of rules, without acting on them."""

import io
import sys
import tomllib

import orjson
import pytest

from cli.main import run

RULES = """
[[rule]]
name = "done"
type = "task_*"
print = "{color:green}{from}{reset}: {text}"
exec = ["touch", "{text}"]
continue = true

[[rule]]
name = "jobs"
on = "event"
topic = "job.*"
publish = "seen.{topic.2}"

[[rule]]
type = "noise"
ignore = true
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return str(path)


def test_check_summarizes_a_file(file, capfd):
    assert run(["rules", "check", file]) == 0
    assert capfd.readouterr().out == f"{file} is right: 3 rules, 1 of them for events\n"


def test_check_reports_a_mistake_with_its_place_and_ends_with_2(tmp_path, capfd):
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\nprint = "{\x1b}"\n'.replace("\x1b", "\\u001b"))
    assert run(["rules", "check", str(path)]) == 2
    said = capfd.readouterr().err
    assert said.startswith(f"fabric: {path}:2: rule 'rule-1': print.format: there is no placeholder {{\\u001b}}")
    assert said.count("\n") == 1
    assert run(["rules", "check", str(tmp_path / "none")]) == 2
    assert "cannot be read: No such file" in capfd.readouterr().err


def test_test_shows_what_a_message_would_do_and_does_nothing(file, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = orjson.dumps({"type": "task_done", "text": "file\x1b[2J"}).decode()
    assert run(["rules", "test", file, "--message", body, "--from", "worker-1"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first == "done: print  worker-1: file\\u001b[2J"
    assert second.startswith('done: exec  argv ["')
    assert second.endswith('touch","file\\\\u001b[2J"]  timeout 30.0')
    assert [path.name for path in tmp_path.iterdir()] == ["rules.toml"]


def test_test_takes_a_whole_message_too_and_can_print_json(file, capfd):
    message = orjson.dumps({"from": "w", "body": {"type": "task_x", "text": "-f"}}).decode()
    assert run(["rules", "test", file, "--message", message, "--json"]) == 0
    said = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert said[0] == {"rule": "done", "action": "print", "text": "w: -f"}
    assert "would be taken for an option" in said[1]["problem"]


def test_test_takes_a_message_from_stdin(file, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"type": "task_x"}')))
    assert run(["rules", "test", file, "--message", "-"]) == 0
    assert capfd.readouterr().out.startswith("done: print  anonymous:test: ")


def test_test_shows_what_an_event_would_do(file, capfd):
    assert run(["rules", "test", file, "--event", "job.7", "--message", '{"n": 1}']) == 0
    assert capfd.readouterr().out == 'jobs: publish  topic seen.7  payload {"n":1,"rule_hops":1}\n'


def test_test_tells_when_there_is_nothing_to_do(file, capfd):
    assert run(["rules", "test", file, "--message", '{"type": "noise"}']) == 0
    assert capfd.readouterr().err == "-- rule rule-3 matches, and there is nothing to do\n"
    assert run(["rules", "test", file, "--message", '{"type": "x"}']) == 4
    assert capfd.readouterr().err == "-- no rule matches\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--message", "{"], "this is no JSON"),
        (["--message", "[]"], "a message is an object"),
        (["--message", "{}", "--event", "a..b"], "empty segment"),
        ([], "Missing option '--message'"),
    ],
)
def test_wrong_usage_ends_with_2(file, options, problem, capfd):
    assert run(["rules", "test", file, *options]) == 2
    assert problem in capfd.readouterr().err


def test_ls_lists_the_rules_in_their_order(file, capfd):
    assert run(["rules", "ls", file]) == 0
    assert [line.split() for line in capfd.readouterr().out.splitlines()] == [
        ["NAME", "ON", "WHEN", "DOES"],
        ["done", "message", "type", "task_*", "print,", "exec", "touch", "->"],
        ["jobs", "event", "topic", "job.*", "publish", "seen.{topic.2}"],
        ["rule-3", "message", "type", "noise", "nothing"],
    ]
    assert run(["rules", "ls", file, "--json"]) == 0
    assert orjson.loads(capfd.readouterr().out.splitlines()[1]) == {
        "name": "jobs", "on": "event", "when": "topic job.*", "does": "publish seen.{topic.2}", "continue": False,
        "line": 9,
    }  # fmt: skip


def test_convert_writes_toml_and_never_over_something(tmp_path, capfd):
    old, new = tmp_path / "bus-rules.yaml", tmp_path / "rules.toml"
    old.write_text("callbacks:\n  - match_type: done\n    print: true\n")
    assert run(["rules", "convert", str(old)]) == 0
    said = capfd.readouterr().out
    assert tomllib.loads(said)["rule"] == [{"name": "done", "type": "done", "print": {"format": "{text:lines}"}}]
    assert run(["rules", "convert", str(old), "-o", str(new)]) == 0
    assert new.read_text() == said
    assert run(["rules", "check", str(new)]) == 0
    new.write_text("mine")
    assert run(["rules", "convert", str(old), "-o", str(new)]) == 1
    assert new.read_text() == "mine"
    assert "is there already" in capfd.readouterr().err


def test_convert_reports_what_is_wrong_with_an_old_file(tmp_path, capfd):
    (tmp_path / "old.yaml").write_text("callbacks:\n  - match_type: a\n    command: a | b\n")
    assert run(["rules", "convert", str(tmp_path / "old.yaml")]) == 2
    assert "old.yaml:3: callbacks[1].command: this needs a shell" in capfd.readouterr().err
