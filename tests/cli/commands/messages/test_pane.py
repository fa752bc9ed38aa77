"""`fabric pane`, at a real tmux."""

import io
import shutil
import subprocess
import sys
import tempfile

import pytest

from cli.main import run
from fabric.testing import wait_until

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """The file to which a tmux session `work` writes its input."""
    directory = tempfile.mkdtemp(prefix="fabric-tmux-")
    monkeypatch.setenv("TMUX_TMPDIR", directory)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("TMUX", raising=False)
    out, ready = tmp_path / "out", tmp_path / "ready"
    program = f"stty raw -echo; : > '{out}'; touch '{ready}'; exec cat > '{out}'"
    subprocess.run(["tmux", "-f", "/dev/null", "new-session", "-d", "-s", "work", program], check=True)
    wait_until(ready.exists, what="the program in the pane runs")
    yield out
    subprocess.run(["tmux", "kill-server"], check=True)
    shutil.rmtree(directory)


def pane(*arguments):
    return run(["pane", "--delay", "0", *arguments])


def is_typed(out, expected):
    wait_until(lambda: len(out.read_bytes()) >= len(expected), what="it is typed")
    return out.read_bytes() == expected


def test_a_text_is_typed_and_its_pane_is_printed(typed, capfd):
    assert pane("work", "C-c is a word;") == 0
    assert is_typed(typed, b"C-c is a word;\r")
    assert capfd.readouterr().out == "typed into work %0\n"


def test_options_set_the_sender_and_leave_the_text_unentered(typed):
    assert pane("work", "--from", "lead", "--no-enter", "--", "-v is missing") == 0
    assert is_typed(typed, b"[lead] -v is missing")


def test_a_text_comes_from_stdin_and_its_lines_are_entered_if_that_is_said(typed, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    assert pane("work", "-", "--lines", "enter") == 0
    assert is_typed(typed, b"one\rtwo\r")


def test_interrupting_is_asked_for(typed):
    assert pane("work", "x", "--interrupt") == 0
    assert is_typed(typed, b"\x03x\r")


def test_a_pane_that_cannot_be_typed_into_is_reported(typed, capfd):
    assert pane("wor", "x") == 4
    assert capfd.readouterr().err == "fabric: tmux has no session or pane 'wor'; there are 'work'\n"
    subprocess.run(["tmux", "copy-mode", "-t", "work"], check=True)
    assert pane("work", "x") == 1
    assert "copy mode" in capfd.readouterr().err
    assert pane("work", " ") == 2


def test_the_help_has_examples_that_begin_with_the_command(capfd):
    assert run(["pane", "--help"]) == 0
    assert capfd.readouterr().out.count("\n    fabric pane") >= 2
