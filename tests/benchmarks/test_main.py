"""The command: its runs, output and file of numbers; and that Ctrl-C leaves no process."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.groups import GROUPS
from benchmarks.local import ROWS
from fabric.testing import wait_until
from tests.processes import children_of, has_ended


def test_list_prints_every_row_and_runs_nothing():
    shown = CliRunner().invoke(main, ["--list"])
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert all(row.name in lines for row in ROWS)
    assert all(case.name in lines for group in GROUPS for case in group.cases)


def test_a_run_prints_a_table_and_saves_the_numbers(tmp_path):
    path = tmp_path / "numbers.json"
    arguments = ["throughput", "local", "--row", "one topic", "--row", "among 10", "--repeats", "2"]
    ran = CliRunner().invoke(main, [*arguments, "--events", "200", "--json", str(path)])
    assert ran.exit_code == 0, ran.output
    for part in ("publish among 10,000", "ratio", "reference", "fabric, one topic", "≥ 1.8", "CPU µs broker", "none"):
        assert part in ran.stdout
    assert "nats-py" not in ran.stdout
    kept = orjson.loads(path.read_bytes())
    runs = kept["groups"]["throughput"]["runs"]["fabric, one topic"]
    assert [run["delivered"] for run in runs] == [200, 200]
    assert len(kept["local"]["publish among 10"]) == 2
    assert kept["machine"]["versions"]["pyzmq"]


def test_an_unknown_group_is_a_usage_error():
    assert CliRunner().invoke(main, ["no-such-group"]).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process_that_was_started(short_directory, number):
    environment = {**os.environ, "TMPDIR": str(short_directory)}
    command = [sys.executable, "-m", "benchmarks", "throughput", "--row", "one topic"]
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        wait_until(lambda: len(children_of(running.pid)) >= 3, what="broker and workers run")
        children = children_of(running.pid)
        running.send_signal(number)
        _, errors = running.communicate(timeout=20)
    finally:
        running.kill()
        running.wait()
    assert running.returncode in (1, 128 + number), errors.decode()
    wait_until(lambda: all(has_ended(pid) for pid in children), what="broker and workers end")
    assert not list(short_directory.glob("bench-*"))


@pytest.fixture
def short_directory():
    # Not below tmp_path: the path of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        yield Path(directory)
