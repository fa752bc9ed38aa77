"""The long row of more clients than a proxy may have descriptors for: it refuses them, and goes on."""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import pytest

import fabric
from fabric.config.address import parse_address
from fabric.testing import wait_until
from proxy import client
from tests.acceptance.rows import full, record, row

CROWD = Path(__file__).parent / "crowd.py"


@pytest.fixture
def narrow_proxy():
    """A function that starts a proxy that may open so many files, soft and hard: (process, url)."""
    started = []

    def start(limit):
        directory = tempfile.TemporaryDirectory(prefix="fabric-")
        url = f"ipc://{directory.name}/proxy"
        log = Path(directory.name, "log")
        command = ["prlimit", f"--nofile={limit}:{limit}", sys.executable, "-P", "-m", "proxy", "--url", url]
        with log.open("wb") as file:
            process = subprocess.Popen([*command, "--settle", "0"], cwd="/", stdout=file, stderr=file)
        started.append((process, directory))
        wait_until(lambda: "listening on" in log.read_text() or process.poll() is not None)
        return process, url, log

    yield start
    for process, directory in started:
        process.kill()
        process.wait()
        directory.cleanup()


@row("descriptors")
def test_more_clients_than_descriptors_are_refused_and_the_proxy_survives(narrow_proxy, program):
    limit, processes, each = full((512, 3, 60), (1_024, 8, 50))
    proxy, url, log = narrow_proxy(limit)
    crowds = [program(url, str(number), str(each), script=CROWD) for number in range(processes)]
    begun = monotonic()
    for crowd in crowds:
        crowd.tell("join", ready=False)
    for crowd in crowds:
        crowd.answer("join", 60)
    for crowd in crowds:
        crowd.tell("ready", timeout=full(2.0, 5.0))
    told = [text for crowd in crowds for text in crowd.answer("ready", 60)["told"]]
    assert proxy.poll() is None, log.read_text()[-2_000:]
    ready = told.count("ready")
    refused = sum("full" in text for text in told)
    # Whoever goes makes room.
    for crowd in crowds[1:]:
        crowd("leave")
    with fabric.connect("late", url=url, bus=fabric.Bus(), autostart=False) as late:
        late.wait_ready(20)
        left = monotonic() - begun
    assert client.status(parse_address(url)).who
    record(
        "descriptors",
        f"{processes * each} clients at a limit of {limit:,} descriptors",
        "those that do not fit are refused with a reason, the proxy survives, and has room again when some have gone",
        clients=processes * each,
        ready=ready,
        refused=refused,
        silent=len(told) - ready - refused,
        seconds=round(left, 1),
    )
    assert ready >= limit // 8
    assert refused > 0
