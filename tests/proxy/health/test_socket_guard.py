"""The names of the sockets: removed before descriptors run out, restored when there is room or when they were deleted."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import fabric
from fabric.config.address import parse_address
from fabric.testing import ProxyProcess, wait_until
from proxy.health.socket_guard import (
    MAX_ACCEPT_RATE,
    MIN_POLL_INTERVAL,
    DescriptorLimits,
    SocketGuard,
    backlog,
    descriptors_used,
)

NAMES = ("messages", "events-in", "events-out")


@pytest.fixture
def directory(runtime_dir):
    """A directory with three listening sockets."""
    path = runtime_dir / "guarded"
    path.mkdir()
    listening = []
    for name in NAMES:
        listening.append(socket.socket(socket.AF_UNIX))
        listening[-1].bind(str(path / name))
        listening[-1].listen()
    yield path
    for each in listening:
        each.close()
    shutil.rmtree(path, ignore_errors=True)


class Guarded:
    """A guard with given numbers of descriptors, and its calls of `full`."""

    def __init__(self, directory):
        self.used, self.bound, self.full = 10, True, []
        self.directory = directory
        self.guard = SocketGuard(
            parse_address(f"ipc://{directory}"),
            bound=lambda: self.bound,
            full=self.full.append,
            used=lambda: self.used,
            limit=lambda: 1_000,
        )

    def check(self, used):
        """The names that accept a connection after a check with `used` descriptors."""
        self.used = used
        self.guard.check()
        return {name for name in NAMES if self.accepts(name)}

    def accepts(self, name):
        with socket.socket(socket.AF_UNIX) as trial:
            try:
                trial.connect(str(self.directory / name))
            except OSError:
                return False
        return True


def test_the_names_are_removed_at_two_thresholds_and_restored(directory):
    guarded = Guarded(directory)
    assert guarded.check(used=749) == set(NAMES)
    assert guarded.check(used=750) == {"messages"}
    assert guarded.full == [True]
    assert guarded.check(used=875) == set()
    assert guarded.check(used=874) == {"messages"}
    assert guarded.check(used=740) == {"messages"}, "one client fewer does not restore them"
    assert guarded.full == [True]
    assert guarded.check(used=700) == set(NAMES)
    assert guarded.full == [True, False]


def test_open_connections_stay_when_the_names_are_removed(directory):
    guarded = Guarded(directory)
    guarded.check(used=10)
    with socket.socket(socket.AF_UNIX) as open_connection:
        open_connection.connect(str(directory / "messages"))
        assert guarded.check(used=999) == set()
        assert open_connection.send(b"x") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_name_is_restored(directory, name):
    guarded = Guarded(directory)
    guarded.check(used=10)
    (directory / name).unlink()
    assert guarded.check(used=10) == set(NAMES)
    assert stat.S_ISSOCK((directory / name).stat().st_mode)


def test_a_name_that_another_process_took_is_restored(directory):
    guarded = Guarded(directory)
    guarded.check(used=10)
    (directory / "messages").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "messages"))
        assert guarded.check(used=10) == set(NAMES)


def test_a_file_of_a_killed_proxy_is_not_taken_for_ours(directory):
    guarded = Guarded(directory)
    guarded.bound = False
    (directory / "events-in").unlink()
    old = (directory / "events-in").open("w")
    old.close()
    guarded.check(used=10)
    assert not (directory / ".events-in").exists()


def test_an_emptied_directory_is_a_failure(directory):
    guarded = Guarded(directory)
    guarded.check(used=10)
    for path in directory.iterdir():
        path.unlink()
    assert guarded.check(used=10) == set()
    assert "emptied" in guarded.guard.failure


def test_hidden_names_are_removed_at_the_end(directory):
    guarded = Guarded(directory)
    guarded.check(used=10)
    assert {path.name for path in directory.iterdir()} == {*NAMES, *(f".{name}" for name in NAMES)}
    guarded.guard.close()
    assert {path.name for path in directory.iterdir()} == set(NAMES)


def test_at_a_tcp_address_newcomers_are_refused_and_no_name_is_removed():
    full = []
    guard = SocketGuard(
        parse_address("tcp://127.0.0.1:7400"),
        bound=lambda: True,
        full=full.append,
        used=lambda: 900,
        limit=lambda: 1_000,
    )
    guard.check()
    assert full == [True]
    guard.close()


@pytest.mark.parametrize("limit", [256, 1_024, 4_096, 20_000, 1_000_000])
def test_the_connections_between_two_checks_fit_into_the_reserve(limit):
    limits = DescriptorLimits(limit)
    assert 0 < limits.reopen < limits.full < limits.exhausted < limit
    assert 3 * backlog(limit) <= limit - limits.full
    for used in range(0, limits.full, max(limit // 100, 1)):
        interval = limits.poll_interval(used)
        assert 0 < interval <= 1.0
        # At most up to the threshold, or past it by the connections of the shortest interval.
        assert used + MAX_ACCEPT_RATE * interval <= max(limits.full, used + MAX_ACCEPT_RATE * MIN_POLL_INTERVAL) + 1


def test_a_proxy_with_few_descriptors_refuses_newcomers_with_the_reason(runtime_dir):
    url = f"ipc://{runtime_dir}/narrow"
    command = ["prlimit", "--nofile=128:128", sys.executable, "-P", "-m", "proxy", "--url", url, "--settle", "0"]
    log = runtime_dir / "narrow.log"
    with log.open("wb") as file:
        proxy = subprocess.Popen(command, cwd="/", stdout=file, stderr=file)
    nodes, refused = [], None
    try:
        wait_until(lambda: "listening on" in log.read_text())
        for number in range(60):
            nodes.append(fabric.connect(f"node-{number}", url=url, bus=fabric.Bus(), autostart=False))
            try:
                nodes[-1].wait_ready(3.0)
            except fabric.NotReady as error:
                refused = error
                break
        assert refused is not None
        assert refused.reason == "full"
        assert "ulimit" in str(refused)
        assert proxy.poll() is None
        nodes[0].wait_ready(5.0)
    finally:
        for node in nodes:
            node.close(0.1)
        proxy.terminate()
        assert proxy.wait(10) == 0
    assert "turned away" in log.read_text()


def test_a_proxy_whose_sockets_were_deleted_accepts_newcomers_again_and_keeps_its_nodes(fabric_proxy, fabric_node):
    directory = parse_address(fabric_proxy.url).directory
    node = fabric_node("node")
    lost = []
    node.subscribe("fabric.link.down", lost.append)
    wait_until(lambda: (directory / ".events-in").exists())
    for name in NAMES:
        (directory / name).unlink()
    fabric_node("newcomer")
    assert lost == []
    assert node.state == "up"


def test_a_proxy_whose_directory_was_deleted_ends():
    with ProxyProcess() as proxy:
        directory = parse_address(proxy.url).directory
        wait_until(lambda: (directory / ".events-in").exists())
        shutil.rmtree(directory)
        wait_until(lambda: not proxy.running)
        assert "emptied" in proxy.log
        assert "Traceback" not in proxy.log


def test_descriptors_are_counted():
    before = descriptors_used()
    with Path(os.devnull).open():
        assert descriptors_used() == before + 1
