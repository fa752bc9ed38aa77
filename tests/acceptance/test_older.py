"""Nodes and proxies of the first version with those of this one."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from fabric.testing import wait_until
from tests.acceptance.rows import ROOT, record, row

#: The last commit of the first version's wire and layout.
FIRST = "b095328"
VERSIONED = Path(__file__).parent / "versioned.py"
EVENTS, MESSAGES = 500, 50


@pytest.fixture(scope="module")
def older():
    """A folder with the packages of the first version."""
    archive = subprocess.run(
        ["git", "archive", FIRST, "fabric", "proxy", "cli"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history of this checkout does not reach back to {FIRST}")
    with tempfile.TemporaryDirectory(prefix="fabric-older-") as directory:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packages:
            packages.extractall(directory, filter="data")
        yield directory


@pytest.fixture(params=["the older proxy", "the proxy of this version"])
def proxy(request, older):
    """A proxy of either version."""
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        made = Proxy(request.param, f"ipc://{directory}/proxy", older if request.param == "the older proxy" else None)
        yield made
        made.kill()


class Proxy:
    """A proxy of either version."""

    def __init__(self, version, url, source):
        self.version = version
        self.url = url
        self._environment = environment(source)
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "proxy", "--url", self.url, "--settle", "0.3"],
            cwd="/", env=self._environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: Path(self.url.removeprefix("ipc://"), "events-in").exists(), what="the proxy listens")

    def kill(self):
        self._process.kill()
        self._process.wait()


def environment(source):
    """The environment of a process that takes the packages from `source`, else from this checkout."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("FABRIC_")}
    return mine | {"PYTHONPATH": source or str(ROOT)}


@row("older")
def test_nodes_of_both_versions_work_together_at_a_proxy_of_either(proxy, older, program):
    old = program(proxy.url, "old", script=VERSIONED, env=environment(older))
    new = program(proxy.url, "new", script=VERSIONED, env=environment(None))
    for node, source in ((old, older), (new, str(ROOT))):
        assert node("subscribe", pattern="both.**")["file"].startswith(source)
    old("hold", name="old-endpoint")
    new("hold", name="new-endpoint")
    for round_ in (1, 2):
        for node in (old, new):
            node("publish", topic=f"both.{round_}", count=EVENTS)
        for node in (old, new):
            got = node("got", count=2 * EVENTS * round_)
            assert got["missed"] == 0
            for name in ("old", "new"):
                assert [n for src, n in got["seen"] if src == name] == [*range(EVENTS)] * round_
        for asker, holder in ((old, "new"), (new, "old")):
            assert asker("request", name=f"{holder}-endpoint", n=21)["answer"] == {"answer": 42, "by": holder}
            assert asker("send", name=f"{holder}-endpoint", count=MESSAGES)["delivered"] == MESSAGES
        if round_ == 1:
            proxy.kill()
            proxy.start()
            for node in (old, new):
                wait_until(lambda node=node: node("state")["state"] == "up", what="a node is back")
                wait_until(lambda node=node: node("names")["endpoints"] == ["new-endpoint", "old-endpoint"])
            for node in (old, new):
                node("subscribe", pattern="nothing")  # everybody knows everybody's subscriptions again
    record(
        "older",
        f"a node of {FIRST} and one of this version at {proxy.version}, killed once",
        "every event, message and request arrives, both ways",
        events=4 * EVENTS,
        messages=4 * MESSAGES,
        requests=4,
    )
