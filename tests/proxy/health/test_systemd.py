"""Reports to a service manager, on a real datagram socket."""

import os
import socket
import tempfile

import pytest

from proxy.health.systemd import SystemdNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request):
    """A service manager's socket and its address, as in $NOTIFY_SOCKET."""
    with (
        tempfile.TemporaryDirectory(prefix="fabric-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as it,
    ):
        path = f"{directory}/notify"
        it.bind(path if request.param == "path" else "\0" + path)
        it.settimeout(5)
        yield it, path if request.param == "path" else "@" + path


def test_each_report_is_a_datagram(manager):
    it, path = manager
    notify = SystemdNotifier(path, 10.0)
    notify.status("two nodes")
    notify.ready()
    notify.alive()
    notify.stopping()
    assert [it.recv(500) for _ in range(4)] == [b"STATUS=two nodes", b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_status_is_sent_only_if_it_changed(manager):
    it, path = manager
    notify = SystemdNotifier(path)
    for text in ("a", "a", "b", "a"):
        notify.status(text)
    notify.ready()
    assert [it.recv(500) for _ in range(4)] == [b"STATUS=a", b"STATUS=b", b"STATUS=a", b"READY=1"]


def test_a_status_is_one_short_line(manager):
    it, path = manager
    SystemdNotifier(path).status("one\nREADY=1\n" + "é" * 500)
    said = it.recv(2_000)
    assert b"\n" not in said
    assert said.startswith(b"STATUS=one READY=1 ")
    assert len(said) <= len("STATUS=") + 200


def test_a_manager_without_a_watchdog_gets_no_sign_of_life(manager):
    it, path = manager
    notify = SystemdNotifier(path)
    notify.alive()
    notify.stopping()
    assert it.recv(500) == b"STOPPING=1"


def test_its_variables_are_read_and_removed_from_the_environment(manager):
    it, path = manager
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notify = SystemdNotifier.take(environment)
    assert environment == {"HOME": "/"}
    assert (bool(notify), notify.watchdog) == (True, 2.5)
    notify.ready()
    assert it.recv(500) == b"READY=1"


@pytest.mark.parametrize("usec", ["", "soon", "-5", "²", "0"])
def test_an_invalid_watchdog_time_is_no_watchdog(usec):
    assert SystemdNotifier.take({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": usec}).watchdog == 0.0


def test_a_watchdog_of_another_process_is_ignored():
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert SystemdNotifier.take(environment).watchdog == 0.0


@pytest.mark.parametrize("path", ["", "vsock:2:1234", "relative", "/nowhere/at/all", "/" + "long" * 100, "/with\0nul"])
def test_without_a_reachable_manager_nothing_raises(path):
    notify = SystemdNotifier(path, 1.0)
    notify.ready()
    notify.status("…")
    notify.alive()
    notify.stopping()


def test_without_a_service_manager_there_is_no_watchdog():
    notify = SystemdNotifier.take({"WATCHDOG_USEC": "1000000"})
    assert (bool(notify), notify.watchdog) == (False, 0.0)


def test_a_manager_that_does_not_read_delays_the_proxy_for_a_bounded_time(manager):
    it, path = manager
    notify = SystemdNotifier(path, timeout=0.0001)
    queued = 0
    it.setblocking(False)
    for _ in range(2_000):  # more than any queue of datagrams holds
        notify.ready()
    while True:
        try:
            it.recv(500)
        except BlockingIOError:
            break
        queued += 1
    assert 0 < queued < 2_000
