"""The watch: when it beats, what it tells, and what it does not. The planes themselves are played."""

import contextlib
import logging
import threading

import pytest

from fabric.config.settings import load, parse_address
from fabric.testing import wait_until
from proxy.health.systemd import SystemdNotifier
from proxy.health.watchdog import CHECK_INTERVAL, MAX_WAIT, STARTUP_INTERVAL, Watchdog
from proxy.server import Server
from proxy.settings import ProxySettings


class Told(SystemdNotifier):
    """A service manager that writes down what it is told."""

    def __init__(self, watchdog=0.0):
        super().__init__("@nobody", watchdog)
        self.words = []

    def _send(self, line):
        self.words.append(line)
        return True


@pytest.fixture
def watch(fabric_proxy):
    told = Told(0.1)
    watch = Watchdog(parse_address(fabric_proxy.url), told, bound=lambda: True, summary=lambda: "well")
    with contextlib.closing(watch):
        yield watch, told


def test_it_waits_until_the_planes_listen(lonely_url):
    told = Told()
    with contextlib.closing(Watchdog(parse_address(lonely_url), told, bound=lambda: False, summary=str)) as watch:
        assert watch.tick() == STARTUP_INTERVAL
        assert watch.self_check.last == (None, None)
        assert told.words == []


def test_the_first_good_beat_makes_it_ready_and_each_feeds_the_watchdog(watch):
    watch, told = watch
    wait_until(lambda: watch.tick() is not None and told.words)
    assert told.words == ["STATUS=well", "READY=1", "WATCHDOG=1"]
    wait_until(lambda: watch.tick() is not None and len(told.words) > 3)
    assert told.words[3:] == ["WATCHDOG=1"]


def test_it_asks_to_be_called_again_in_time_for_the_watchdog_and_for_the_main_loop(watch):
    watch, told = watch
    wait_until(lambda: watch.tick() is not None and told.words)
    assert watch.tick() <= 0.1 / 2
    assert max(MAX_WAIT, CHECK_INTERVAL) <= 1.0


def test_silence_is_told_once_and_its_end_too(watch, fabric_proxy, caplog):
    watch, told = watch
    wait_until(lambda: watch.tick() is not None and told.words)
    fabric_proxy.kill()
    before = len(told.words)
    with caplog.at_level(logging.INFO, "fabric.proxy"):
        wait_until(lambda: watch.tick() is not None and len(told.words) > before)
        for _ in range(5):
            watch.tick()
        assert told.words[before:] == ["STATUS=neither plane answers"]
        fabric_proxy.start()
        wait_until(lambda: watch.tick() is not None and told.words[-1] == "WATCHDOG=1")
    # The planes may come back one after the other, which is told, too.
    assert told.words[-2:] == ["STATUS=well", "WATCHDOG=1"]
    assert told.words[before:].count("WATCHDOG=1") == 1
    told_in_the_log = [record.message for record in caplog.records]
    assert (told_in_the_log[0], told_in_the_log[-1]) == ("neither plane answers", "both planes answer again")


def test_its_end_is_told(fabric_proxy):
    told = Told()
    Watchdog(parse_address(fabric_proxy.url), told, bound=lambda: True, summary=str).close()
    assert told.words == ["STOPPING=1"]


def test_a_server_in_a_thread_has_its_pulse(lonely_url):
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
