"""When the watchdog checks the planes, and what it reports to a service manager and to the log."""

import contextlib
import logging
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from fabric.config.address import parse_address
from fabric.config.settings import load
from fabric.testing import wait_until
from proxy.health.systemd import SystemdNotifier
from proxy.health.watchdog import CHECK_INTERVAL, MAX_WAIT, STARTUP_INTERVAL, Watchdog
from proxy.server import Server
from proxy.settings import ProxySettings


class Manager:
    """A service manager's socket, and the lines that it has received."""

    def __init__(self, path):
        self._path = str(path)
        self._lines = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        self._socket.setblocking(False)

    def notifier(self, watchdog=0.0):
        return SystemdNotifier(self._path, watchdog)

    @property
    def lines(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self._lines.append(self._socket.recv(500).decode())
        return self._lines

    def close(self):
        self._socket.close()


@pytest.fixture
def manager():
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        manager = Manager(Path(directory) / "notify")
        yield manager
        manager.close()


@pytest.fixture
def watchdog(fabric_proxy, manager):
    """The watchdog of a running proxy; the service manager expects a sign of life every 0.1 s."""
    made = Watchdog(parse_address(fabric_proxy.url), manager.notifier(0.1), bound=lambda: True, summary=lambda: "well")
    with contextlib.closing(made):
        yield made


def tick_until(watchdog, condition):
    wait_until(lambda: watchdog.tick() is not None and condition())


def test_it_waits_until_the_planes_listen(lonely_url, manager):
    address = parse_address(lonely_url)
    with contextlib.closing(Watchdog(address, manager.notifier(), bound=lambda: False, summary=str)) as watchdog:
        assert watchdog.tick() == STARTUP_INTERVAL
        assert watchdog.self_check.last == (None, None)
        assert manager.lines == []


def test_the_first_good_check_makes_it_ready_and_each_feeds_the_watchdog(watchdog, manager):
    tick_until(watchdog, lambda: manager.lines)
    assert manager.lines == ["STATUS=well", "READY=1", "WATCHDOG=1"]
    tick_until(watchdog, lambda: len(manager.lines) > 3)
    assert manager.lines[3:] == ["WATCHDOG=1"]


def test_the_next_tick_is_in_time_for_the_service_manager_and_for_the_main_loop(watchdog, manager):
    tick_until(watchdog, lambda: manager.lines)
    assert watchdog.tick() <= 0.1 / 2
    assert max(MAX_WAIT, CHECK_INTERVAL) <= 1.0


def test_silence_is_reported_once_and_its_end_too(watchdog, manager, fabric_proxy, caplog):
    tick_until(watchdog, lambda: manager.lines)
    fabric_proxy.kill()
    before = len(manager.lines)
    with caplog.at_level(logging.INFO, "fabric.proxy"):
        tick_until(watchdog, lambda: len(manager.lines) > before)
        for _ in range(5):
            watchdog.tick()
        assert manager.lines[before:] == ["STATUS=neither plane answers"]
        fabric_proxy.start()
        tick_until(watchdog, lambda: manager.lines[-1] == "WATCHDOG=1")
    # The planes may come back one after the other; then that is reported, too.
    assert manager.lines[-2:] == ["STATUS=well", "WATCHDOG=1"]
    assert manager.lines[before:].count("WATCHDOG=1") == 1
    logged = [record.message for record in caplog.records]
    assert (logged[0], logged[-1]) == ("neither plane answers", "both planes answer again")


def test_closing_is_reported(fabric_proxy, manager):
    Watchdog(parse_address(fabric_proxy.url), manager.notifier(), bound=lambda: True, summary=str).close()
    assert manager.lines == ["STOPPING=1"]


def test_a_server_in_a_thread_checks_itself(lonely_url):
    server = Server(load(ProxySettings, "proxy", {"url": lonely_url, "settle": 0.0}))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.self_check is not None and server.self_check.alive)
        wait_until(lambda: server.stats().plane.alive)
        assert 0 < server.stats().plane.round_trip < 10
    finally:
        server.stop()
        thread.join(10)
