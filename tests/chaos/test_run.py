"""A short run of chaos, and how one ends. `make chaos MINUTES=…` is the long one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.run import Options, Run
from tests.processes import has_ended, mentioning

RUN = Path(__file__).parent / "run.py"


@pytest.mark.parametrize("seed", [3])
def test_some_seconds_of_chaos_are_accounted_for(seed):
    said = []
    run = Run(Options(6.0, seed, publishers=2, subscribers=3, every=0.6, burst=3_000), say=said.append)
    assert run() == [], "\n".join(said)
    assert sum(row.delivered for row in run.rows) > 0
    assert any("killed" in line for line in said)


def test_a_run_that_is_interrupted_leaves_nothing_running(runtime_dir):
    # Its temporary files are named after this, and so is every process of it. (pytest's own is too long for a socket.)
    tmp_path = runtime_dir / "chaos"
    tmp_path.mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.Popen(
        [sys.executable, "-u", str(RUN), "--minutes", "5", "--seed", "1", "--transport", "ipc"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        lines = [run.stdout.readline() for _ in range(2)]  # its seed, and its first fault
        assert "seed 1" in lines[0]
        run.send_signal(signal.SIGINT)
        assert "interrupted" in run.stdout.read()
        assert run.wait(20) == 2
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    assert not [pid for pid in mentioning(tmp_path) if not has_ended(pid)]
    assert list(tmp_path.iterdir()) == []
