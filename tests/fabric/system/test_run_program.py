"""Programs that misbehave in every way: `run` ends them in time, and leaves no process and no descriptor."""

import os
import sys
import threading
from time import monotonic

import pytest

from fabric.system.run_program import run
from fabric.testing import wait_until
from tests.processes import has_ended


def shell(script, data=b"", *, timeout=10.0, limit=100_000, grace=0.3, **options):
    return run(["/bin/sh", "-c", script], data, dict(os.environb), timeout=timeout, limit=limit, grace=grace, **options)


def python(script, *arguments, grace=0.3, **options):
    command = [sys.executable, "-c", script, *arguments]
    return run(command, b"", dict(os.environb), limit=10_000, grace=grace, **options)


def test_a_program_gets_its_input_and_its_output_and_errors_are_kept_apart():
    ran = shell("cat; echo bad >&2; exit 3", b"hello")
    assert (ran.output, ran.errors, ran.status, ran.timed_out) == (b"hello", b"bad\n", 3, False)
    assert ran.problem == "ended with exit status 3"


def test_an_input_larger_than_any_pipe_goes_through_while_output_comes_back():
    data = os.urandom(1024 * 1024)
    assert shell("cat", data, limit=len(data)).output == data


def test_a_program_that_never_reads_its_input_runs_to_its_end():
    assert shell("exit 0", b"x" * 1_000_000).problem == ""


def test_a_program_that_prints_for_ever_costs_no_memory_and_is_ended():
    ran = shell("yes", timeout=0.5, limit=1_000)
    assert (len(ran.output), ran.cut, ran.timed_out) == (1_000, True, True)
    assert ran.seconds < 5


def test_output_over_the_limit_is_read_and_discarded_so_that_the_program_can_end():
    ran = shell("head -c 5000000 /dev/zero; echo end >&2", limit=100)
    assert (ran.output, ran.cut, ran.errors, ran.problem) == (b"\0" * 100, True, b"end\n", "")


def test_a_program_that_hangs_is_ended_and_so_are_its_children(tmp_path):
    ran = shell(f"sleep 600 & echo $! > {tmp_path}/pid; wait", timeout=0.3)
    assert ran.timed_out
    assert ran.problem.startswith("was ended after 0.")
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))


def test_a_program_that_ignores_the_request_to_end_is_killed():
    ran = python("import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", timeout=0.5)
    assert ran.status == -9
    assert ran.seconds < 5


def test_output_that_a_program_writes_when_asked_to_end_is_read():
    ran = shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done", timeout=0.3)
    assert (ran.output, ran.timed_out) == (b"ready\nbye\n", True)


def test_processes_that_a_program_leaves_in_its_group_are_killed_and_not_waited_for(tmp_path):
    began = monotonic()
    ran = shell(f"sleep 600 & echo $! > {tmp_path}/pid; echo done")
    assert (ran.output, ran.problem) == (b"done\n", "")
    assert monotonic() - began < 5
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))


def test_a_process_in_another_session_that_keeps_the_output_open_is_not_waited_for(tmp_path):
    script = "import subprocess,sys; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    ran = python(script, timeout=10.0)
    os.kill(int(ran.output), 9)
    assert ran.seconds < 5


def test_a_program_that_closes_everything_and_goes_on_is_still_waited_for():
    ran = shell("exec 0<&- 1>&- 2>&-; sleep 0.3; exit 4")
    assert (ran.status, ran.seconds >= 0.3) == (4, True)


def test_the_end_of_a_program_is_noticed_without_a_pidfd(monkeypatch):
    def refuse(pid):
        raise OSError

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert shell("cat; sleep 0.05; exit 5", b"in").status == 5


def test_a_cancelled_program_is_ended():
    enough = threading.Event()
    threading.Timer(0.1, enough.set).start()
    ran = shell("sleep 600", timeout=None, cancelled=enough.is_set)
    assert ran.timed_out
    assert ran.seconds < 5


def test_the_signal_that_killed_a_program_is_named():
    assert shell("kill -SEGV $$").problem == "was killed by SIGSEGV"


def test_a_program_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        run(["/nonexistent"], b"", {}, limit=10)


def test_no_descriptor_and_no_process_is_left():
    before = len(os.listdir("/proc/self/fd"))
    for script in ("exit 0", "cat", "exit 1"):
        shell(script, b"x")
    assert len(os.listdir("/proc/self/fd")) == before
