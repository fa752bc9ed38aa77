"""Workers and servers: all processes are ended, and a failure has its reason."""

import os
import signal
import sys

import pytest

from benchmarks.processes import Process, ProcessFailed, Worker
from fabric.testing import wait_until
from tests.processes import has_ended


def test_a_worker_answers_and_ends(tmp_path):
    with Worker("worker", tmp_path) as worker:
        assert worker.ask("cpu") > 0
        assert worker.cpu() > 0
    assert has_ended(worker.pid)


def test_an_error_in_a_worker_is_reported_and_does_not_end_it(tmp_path):
    with Worker("worker", tmp_path) as worker:
        with pytest.raises(ProcessFailed, match="worker: counters: RuntimeError: asked before `open`"):
            worker.ask("counters")
        assert worker.ask("cpu") > 0


def test_the_error_of_a_worker_that_has_ended_has_its_log(tmp_path):
    with Worker("worker", tmp_path) as worker:
        worker.ask("cpu")
        os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: has_ended(worker.pid), what="the worker ends")
        with pytest.raises(ProcessFailed, match=r"worker (ended|was gone).*exited with -9"):
            worker.ask("cpu")


def test_the_error_of_a_worker_that_does_not_answer_shows_where_it_hangs(tmp_path):
    with Worker("worker", tmp_path) as worker:
        worker.ask("cpu")
        worker.begin("heard", timeout=30)
        with pytest.raises(ProcessFailed, match=r"(?s)did not answer within 0\.1 s.*in heard"):
            worker.answer(0.1)


def test_a_worker_ends_when_its_harness_has_ended(tmp_path):
    with Worker("worker", tmp_path) as worker:
        worker.ask("cpu")
        worker._process.stdin.close()
        wait_until(lambda: worker._process.poll() is not None, what="the worker ends")


def test_output_of_a_worker_is_no_answer(tmp_path):
    with Worker("worker", tmp_path) as worker, pytest.raises(ProcessFailed, match="no-such-module"):
        worker.ask("open", client="no-such-module:Client", address="", options={})


def test_the_error_of_a_server_that_ends_at_once_has_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    with Process("server", command, tmp_path) as server, pytest.raises(ProcessFailed, match="no such port"):
        server.wait_until(lambda: False)


def test_a_server_that_ignores_sigterm_is_killed(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    with Process("server", [sys.executable, "-c", code], tmp_path) as server:
        server.wait_until(lambda: (tmp_path / "server.log").read_text().startswith("on"))
    assert "exited with -9" in str(server.failed("was ended"))
