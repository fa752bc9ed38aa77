"""Typing into real tmux panes, on a tmux server of the test."""

import os
import shutil
import subprocess
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.testing import wait_until
from fabric.tmux import LINES, NoSuchPane, PaneError, pieces, prepared, session_name, type_text

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


@pytest.fixture
def tmux(monkeypatch):
    """A function that runs tmux on a server of the test."""
    directory = tempfile.mkdtemp(prefix="fabric-tmux-")
    monkeypatch.setenv("TMUX_TMPDIR", directory)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("TMUX", raising=False)

    def run(*arguments):
        ran = subprocess.run(["tmux", "-f", "/dev/null", *arguments], capture_output=True, text=True, check=True)
        return ran.stdout

    yield run
    subprocess.run(["tmux", "kill-server"], capture_output=True, check=False)
    shutil.rmtree(directory)


@pytest.fixture
def pane(tmux, tmp_path):
    """A function that starts a session whose program writes its input into a file; it returns the file."""

    def start(name="work", program="cat"):
        out = tmp_path / f"{name}.out"
        ready = tmp_path / f"{name}.ready"
        tmux(
            "new-session", "-d", "-s", name, "-x", "200", "-y", "50",
            f"stty raw -echo; : > '{out}'; touch '{ready}'; exec {program} > '{out}'",
        )  # fmt: skip
        wait_until(ready.exists, what="the program in the pane runs")
        return out

    return start


def typed(out, expected):
    """The input of the program, when it is as long as `expected`."""
    wait_until(lambda: len(out.read_bytes()) >= len(expected), what="it is typed")
    return out.read_bytes()


@needs_tmux
@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "Enter",
        "C-c",
        "-l",
        "ends;",
        ";",
        "a;;",
        "\\;",
        "$(touch x) `id` \"'",
        "grüße 漢字 🎉",
        "#{pane_id} #(id)",
        "~.",
        " spaces  ",
    ],
)
def test_a_text_is_typed_literally_and_then_enter(pane, text):
    out = pane()
    assert type_text("work", text, delay=0).startswith("%")
    expected = text.encode() + b"\r"
    assert typed(out, expected) == expected


@needs_tmux
def test_a_long_text_is_typed_completely(pane):
    text = "".join(f"{number};ü" for number in range(6_000))
    out = pane()
    type_text("work", text, delay=0)
    assert typed(out, text.encode() + b"\r") == text.encode() + b"\r"


@needs_tmux
def test_control_and_invisible_characters_are_typed_escaped(pane):
    out = pane()
    type_text("work", "a\x03b\x1b[Ac\x00d\x7fe\tf\u202eg", delay=0)
    expected = b"a\\u0003b\\u001b[Ac\\u0000d\\u007fe f\\u202eg\r"
    assert typed(out, expected) == expected


@needs_tmux
def test_raw_types_control_characters(pane):
    out = pane()
    type_text("work", "a\x03b\tc", raw=True, delay=0)
    assert typed(out, b"a\x03b\tc\r") == b"a\x03b\tc\r"


@needs_tmux
def test_line_breaks_become_spaces_enters_or_a_paste(pane):
    out = pane()
    type_text("work", "one\r\n  two\n\nthree\n", delay=0)
    type_text("work", "one\ntwo", lines="enter", delay=0)
    type_text("work", "one\ntwo", lines="paste", delay=0)
    expected = b"one two three\rone\rtwo\rone\rtwo\r"  # without bracketed paste, the line ends of a paste are Enters
    assert typed(out, expected) == expected


@needs_tmux
def test_a_paste_is_marked_if_the_application_has_asked_for_it(pane):
    out = pane("asks", program="sh -c 'printf \"\\033[?2004h\" > /dev/tty; exec cat'")
    expected = b"\x1b[200~one\rtwo\x1b[201~"

    def pasted():
        # Not before tmux has read the request of the application.
        type_text("asks", "one\ntwo", lines="paste", enter=False, delay=0)
        return expected in out.read_bytes()

    wait_until(pasted, what="the paste is marked")


@needs_tmux
def test_enter_and_interrupt_are_optional(pane):
    out = pane()
    type_text("work", "x", enter=False, delay=0)
    type_text("work", "y", interrupt=True, delay=0)
    assert typed(out, b"x\x03y\r") == b"x\x03y\r"


@needs_tmux
def test_a_session_is_found_by_its_exact_name(pane):
    pane("worker")
    with pytest.raises(NoSuchPane, match="no session or pane 'work'; there are 'worker'"):
        type_text("work", "x")


@needs_tmux
def test_a_pane_is_found_by_its_id_or_its_position(pane, tmux):
    out = pane()
    id_ = tmux("list-panes", "-t", "work", "-F", "#{pane_id}").strip()
    assert type_text(id_, "a", enter=False) == id_
    assert type_text("work:0.0", "b", enter=False) == id_
    tmux("rename-window", "-t", "work", "a.b")
    assert type_text("work:a.b", "c", enter=False) == id_
    assert typed(out, b"abc") == b"abc"
    for target in ("%99", "work:7", "work:0.5", "=work", "-t", "wor*", ":", "work:0.x"):
        with pytest.raises(NoSuchPane):
            type_text(target, "x")


@needs_tmux
def test_a_pane_that_takes_no_text_now_is_an_error_and_nothing_is_typed(pane, tmux):
    out = pane()
    tmux("copy-mode", "-t", "work")
    with pytest.raises(PaneError, match="copy mode"):
        type_text("work", "x")
    tmux("send-keys", "-t", "work", "-X", "cancel")
    tmux("select-pane", "-d", "-t", "work")
    with pytest.raises(PaneError, match="takes no input"):
        type_text("work", "x")
    tmux("select-pane", "-e", "-t", "work")
    tmux("set-option", "-w", "-t", "work", "synchronize-panes", "on")
    with pytest.raises(PaneError, match="synchronised"):
        type_text("work", "x")
    tmux("set-option", "-w", "-t", "work", "synchronize-panes", "off")
    type_text("work", "y", delay=0)
    assert typed(out, b"y\r") == b"y\r"


@needs_tmux
def test_a_pane_whose_program_has_ended_is_an_error(pane, tmux):
    pane()
    tmux("set-option", "-w", "-t", "work", "remain-on-exit", "on")
    os.kill(int(tmux("list-panes", "-t", "work", "-F", "#{pane_pid}")), 9)
    wait_until(lambda: tmux("list-panes", "-t", "work", "-F", "#{pane_dead}").strip() == "1", what="it has ended")
    with pytest.raises(PaneError, match="has ended"):
        type_text("work", "x")


@needs_tmux
def test_without_a_server_there_is_no_pane(tmux):
    with pytest.raises(NoSuchPane):
        type_text("work", "x")


@pytest.mark.parametrize("target", ["", "a\x1bb", "a\nb"])
def test_an_invalid_target_is_an_error(target):
    with pytest.raises(NoSuchPane, match="no name of a tmux session"):
        type_text(target, "x")


def test_without_tmux_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSuchPane, match="apt-get install tmux"):
        type_text("work", "x")


def test_a_tmux_that_hangs_is_an_error_at_the_timeout(monkeypatch, tmp_path):
    (tmp_path / "tmux").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "tmux").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PaneError, match=r"did not answer within 0\.1 s to: list-panes"):
        type_text("work", "x", timeout=0.1)


def test_the_session_of_this_process_is_empty_outside_of_tmux(monkeypatch):
    monkeypatch.delenv("TMUX", raising=False)
    assert session_name() == ""


@needs_tmux
def test_the_session_of_this_process_is_its_name(pane, tmux, monkeypatch):
    pane("mine")
    monkeypatch.setenv("TMUX", tmux("display-message", "-p", "-t", "mine", "#{socket_path},#{pid},0").strip())
    monkeypatch.setenv("TMUX_PANE", tmux("list-panes", "-t", "mine", "-F", "#{pane_id}").strip())
    assert session_name() == "mine"


def test_an_unknown_treatment_of_lines_is_an_error():
    with pytest.raises(ValueError, match="none of join"):
        type_text("work", "x", lines="all")


@given(st.text(alphabet=st.characters(codec="utf-8") | st.just(";"), max_size=200), st.integers(8, 50))
def test_pieces_are_bounded_and_make_up_the_text(text, limit):
    found = list(pieces(text, limit))
    assert all(len(each.encode()) <= limit + 1 for each in found)
    # tmux takes `\;` at the end of an argument for a semicolon.
    assert "".join(f"{each[:-2]};" if each.endswith("\\;") else each for each in found) == text


@given(st.text(max_size=100), st.sampled_from(LINES))
def test_parts_are_visible_and_one_line_each(text, lines):
    for part in prepared(text, lines=lines, raw=False):
        assert all(each.isprintable() or each.isspace() for each in part)
        assert "\r" not in part
        assert lines == "paste" or "\n" not in part
