"""Looks at other processes through /proc, for tests that must know whether one has ended."""

import os
import signal
from pathlib import Path

from fabric.testing import wait_until


def has_ended(pid):
    """Whether there is no such process any more. A zombie has ended: its new parent may take a while to reap it."""
    try:
        return _state(Path(f"/proc/{pid}/stat")) == "Z"
    except OSError:
        return True


def stop(pid):
    """Send SIGSTOP, and return when every thread of the process has stopped."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    wait_until(lambda: all(_state(stat) in "TZ" for stat in tasks.glob("*/stat")), what=f"process {pid} stops")


def _state(stat):
    return stat.read_text().rpartition(")")[2].split()[0]


def children_of(pid):
    """Process ids of the direct children of `pid`, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def mentioning(text):
    """Process ids of the processes with `text` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(text) in command:
            found.append(int(path.parent.name))
    return found


def take_default_signals():
    """Let children begin with the default actions of the signals that a shell ignores for its background jobs.

    A job behind `&` in a script ignores SIGINT and SIGQUIT, one behind `nohup` ignores SIGHUP. An ignored signal stays
    ignored in every program that a process starts; a handled one is set back to its default. The handlers here keep
    this process as it was: SIGINT interrupts a test run, the others do nothing. Call it on the main thread.
    """
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _ignore)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _ignore(_number, _frame):
    pass
