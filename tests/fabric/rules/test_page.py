"""docs/rules.md: its files are valid, its programs run, and it names every key and placeholder."""

import re
from pathlib import Path

import pytest

import fabric
from fabric.rules import Rules, template
from fabric.rules.conditions import NAMES
from fabric.rules.model import KINDS
from fabric.rules.reading.parse import DOCUMENT_KEYS, RULE_KEYS
from fabric.rules.running.describe import plan

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = [code for language, code in BLOCKS if language == "toml"]


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_every_file_on_the_page_is_valid(text):
    assert Rules.parse(text).current.rules


def test_the_first_file_does_what_the_page_says():
    body = {"type": "task_done", "text": "built"}
    plans = [plan(each) for each in Rules.parse(FILES[0]).decide({"from": "worker-1", "body": body})]
    assert [(each["action"], each.get("text") or each.get("argv")) for each in plans] == [
        ("print", " Ann: built"), ("inbox", "[Ann] built"), ("exec", ["notify-send", "--", "Ann", "built"]),
    ]  # fmt: skip


def test_the_program_on_the_page_runs(fabric_memory, monkeypatch, tmp_path, capsys):
    (tmp_path / "rules.toml").write_text(FILES[0])
    tool = tmp_path / "notify-send"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fabric, "connect", fabric_memory.connect)
    code = next(code for language, code in BLOCKS if language == "python")
    exec(compile(code, "rules.md", "exec"), {})
    assert "'matched': 0" in capsys.readouterr().out


def test_every_key_of_a_file_is_on_the_page():
    for word in {*DOCUMENT_KEYS, *RULE_KEYS, *KINDS, *NAMES} - {"rule", "default", "names"}:
        assert f"`{word}`" in PAGE, word
    for word in ("format", "limit", "when_busy", "command", "timeout", "concurrency", "queue", "max_failures", "cooldown",
                 "environment", "answer", "channel", "otherwise", "topic", "payload", "to", "body"):  # fmt: skip
        assert f"`{word}`" in PAGE or f"`{word} = " in PAGE, word


def test_every_placeholder_and_colour_is_on_the_page():
    for name in (*template.VALUES, *template.MARKS):
        assert re.search(rf"`\{{{name}[}}:.]", PAGE), name
    for colour in template.COLOUR_NAMES:
        assert colour in PAGE
