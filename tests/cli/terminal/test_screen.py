"""The terminal that `fabric top` takes over is given back exactly as it was, however that ends."""

import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from fabric.testing import ProxyProcess
from tests.cli.running import FABRIC, wait_for_rest

SHELL = str(Path(__file__).with_name("job_shell.py"))
#: The command with a fault in it, once it has been on the screen.
FAULTY = """
import cli.views.top
right, calls = cli.views.top.frame, []
def frame(*arguments, **options):
    calls.append(1)
    if len(calls) > 2: raise ZeroDivisionError("a fault of ours")
    return right(*arguments, **options)
cli.views.top.frame = frame
from cli.main import main
main()
"""


@pytest.fixture(scope="module")
def url():
    """A proxy of its own: its counts are on the screen."""
    with ProxyProcess() as proxy:
        yield proxy.url


@pytest.fixture
def in_shell(start, url):
    """A function that runs `fabric top` in a shell with job control, and returns both when it is on the screen."""

    def run(*options, program=("-m", "cli.main"), **how):
        shell = (sys.executable, SHELL, sys.executable, "-P", *program)
        command = start("top", "--url", url, *options, program=shell, terminal=True, **how)
        command.wait_for("events  ")
        pid = int(command.out.partition("pid ")[2].split()[0])
        return command, pid

    return run


def is_balanced(shown):
    """Whether the alternate screen was left as often as it was entered, and the cursor is there at the end."""
    return (
        shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l")
        and shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
        and shown.rfind("\x1b[?1049l") > shown.rfind("\x1b[H")
    )


@pytest.mark.parametrize(
    ("typed", "sent", "status"),
    [
        (b"q", None, 0),
        (b"\x03", None, 0),
        (b"\x1c", None, 131),
        (None, signal.SIGTERM, 143),
        (None, signal.SIGHUP, 129),
        (None, signal.SIGINT, 0),
    ],
)
def test_every_end_leaves_it_as_it_was(typed, sent, status, in_shell):
    command, pid = in_shell()
    command.write(typed) if typed else os.kill(pid, sent)
    command.wait_for(f"ended {status} same")
    assert is_balanced(command.out)
    assert "Traceback" not in command.out


def test_a_fault_of_ours_leaves_it_as_it_was_and_is_printed_on_the_ordinary_screen(in_shell):
    command, _ = in_shell("--interval", "0.1", program=("-c", FAULTY))
    command.wait_for("ended 1 same")
    assert is_balanced(command.out)
    assert "ZeroDivisionError" in command.out.rpartition("\x1b[?1049l")[2]


def test_ctrl_z_gives_it_back_and_takes_it_over_again_when_continued(in_shell):
    command, _ = in_shell()
    for times in (1, 2):
        command.write(b"\x1a")
        command.wait_until(lambda times=times: command.out.count("stopped same") == times, what="it has stopped")
        assert is_balanced(command.out.rpartition("stopped same")[0])
        entered = command.out.count("\x1b[?1049h")
        command.write(b"fg\n")
        command.wait_until(lambda entered=entered: command.out.count("\x1b[?1049h") > entered, what="it is back")
        command.wait_until(lambda: "lost  " in command.out.rpartition("\x1b[?1049h")[2], what="it draws")
    command.write(b"q")
    command.wait_for("ended 0 same")
    assert is_balanced(command.out)


def test_after_a_sigstop_which_no_handler_sees_it_draws_again_and_reads_keys(in_shell):
    command, pid = in_shell()
    os.kill(pid, signal.SIGSTOP)
    command.wait_for("stopped changed")  # SIGSTOP cannot be handled
    command.write(b"fg\n")
    command.wait_until(lambda: "lost  " in command.out.rpartition("stopped")[2], what="it draws")
    command.write(b"q")
    command.wait_for("ended 0 same")
    assert is_balanced(command.out)


def test_keys_are_not_echoed_and_ctrl_s_stops_nothing(in_shell):
    command, _ = in_shell("--interval", "0.1")
    command.write(b"\x13zzz")
    drawn = command.out.count("\x1b[H")
    command.wait_until(lambda: command.out.count("\x1b[H") > drawn + 3, what="it goes on")
    command.write(b"q")
    command.wait_for("ended 0 same")
    assert "zzz" not in command.out


def test_another_size_is_used_at_once(in_shell):
    command, _ = in_shell("--interval", "3600", size=(80, 24))
    assert "of a core" in command.out
    command.resize(30, 6)
    command.wait_until(lambda: "\x1b[2J" in command.out.rpartition("descriptors")[2], what="it is cleared")
    command.wait_until(lambda: "in al…" in command.out, what="it is drawn in 30 columns")
    command.write(b"q")
    command.wait_for("ended 0 same")


def test_a_terminal_that_goes_away_ends_it(start, url):
    command = start("top", "--url", url, terminal=True)
    command.wait_for("events  ")
    command.hang_up()
    assert command.process.wait(10) == 129


def test_a_terminal_that_takes_nothing_does_not_keep_it(start, url):
    command = start("top", "--interval", "3600", "--url", url, terminal=True)
    command.wait_for("lost    0")
    fill(f"/proc/{command.pid}/fd/1")
    command.write(b"r")  # this causes a drawing, which is not read
    wait_for_rest(command.pid)
    command.process.terminate()
    assert command.process.wait(10) == 143


def fill(terminal):
    """Write to a terminal until it takes no more, also after the kernel has passed its buffer on."""
    descriptor = os.open(terminal, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    while select.select([], [descriptor], [], 0.2)[1]:
        with suppress(BlockingIOError):
            os.write(descriptor, b"x" * 128)
    os.close(descriptor)


def test_without_a_terminal_to_type_at_it_still_shows_and_ends_by_ctrl_c(start, url):
    program = ("/bin/sh", "-c", 'exec "$@" < /dev/null', "sh", *FABRIC)
    command = start("top", "--url", url, program=program, terminal=True)
    command.wait_for("events  ")
    assert command.interrupt() == 0
