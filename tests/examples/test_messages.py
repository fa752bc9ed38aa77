"""The examples about messages run, and print their results."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(shared_proxy, monkeypatch):
    monkeypatch.setenv("FABRIC_URL", shared_proxy.url)

    def run(name):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_request_and_reply(run):
    lines = run("request_reply.py")
    assert lines[0] == "the converter says 25.0"
    assert lines[1] == "without a rate it says KeyError 'rate'"
    assert "did you mean 'converter'" in lines[2]


def test_a_worker_group(run):
    lines = run("worker_group.py")
    assert sorted(line.split()[0] for line in lines[:9]) == [f"{n}.png" for n in range(9)]
    assert {line.split()[-1] for line in lines[:9]} == {"worker-1", "worker-2", "worker-3"}
    assert lines[9].startswith("last.png resized by worker-")


def test_an_agent_lifecycle_copies_the_channel_unchanged(run):
    lines = run("agent_lifecycle.py")
    for channel in ("feishu:oc_1", "telegram:42"):
        kinds = [line.split()[1].rstrip(":") for line in lines if line.startswith(f"[{channel}]")]
        assert kinds == ["ack", "progress", "progress", "task_done"]
