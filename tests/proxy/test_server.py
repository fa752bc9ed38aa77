"""The proxy's life in a real process: lock, directory, signals, end."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq

from fabric.config.settings import load
from fabric.errors import AddressInUse, ProxyError
from fabric.testing import ProxyProcess, wait_until
from proxy.server import Server
from proxy.settings import ProxySettings


def run_proxy(*arguments):
    """Run `python -m proxy` to its end: (status, stderr)."""
    command = [sys.executable, "-P", "-m", "proxy", *arguments]
    result = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=20)
    return result.returncode, result.stderr


@pytest.fixture
def stopped():
    """A proxy that has not been started."""
    proxy = ProxyProcess()
    yield proxy
    proxy.close()


@pytest.fixture
def served(stopped):
    return stopped.directory / "proxy"


def sockets(directory):
    return sorted(path.name for path in directory.glob("[!.]*") if path.is_socket())


def test_it_makes_its_directory_with_mode_0700(stopped, served):
    stopped.start()
    assert served.stat().st_mode & 0o777 == 0o700


def test_its_sockets_are_for_its_user_only(stopped, served):
    stopped.start()
    for name in ("messages", "events-in", "events-out"):
        assert (served / name).stat().st_mode & 0o077 == 0


def test_its_address_is_logged(stopped):
    stopped.start()
    assert f"listening on {stopped.url} (pid {stopped.pid}" in stopped.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_without_socket_files(stopped, served, number):
    stopped.start()
    stopped.signal(number)
    wait_until(lambda: not stopped.running)
    assert stopped.stop() == 0
    assert sockets(served) == []
    assert stopped.log.rstrip().endswith(f"ended: {number.name}")


def test_a_signal_ends_it_while_it_settles(stopped, served):
    ended = []

    def start():
        with pytest.raises(RuntimeError, match="ended at once"):
            stopped.start(settle=60.0)
        ended.append(True)

    thread = threading.Thread(target=start)
    thread.start()
    wait_until(lambda: "listening on" in stopped.log)
    stopped.signal(signal.SIGTERM)
    thread.join()
    assert ended
    assert stopped.stop() == 0
    assert sockets(served) == []


def test_a_signal_ends_it_under_load(fabric_proxy, fabric_node):
    node, stop = fabric_node(), threading.Event()
    other = fabric_node()
    other.subscribe("load", lambda event: None).wait_ready(everyone=True)

    def pour():
        while not stop.is_set():
            node.publish("load")

    thread = threading.Thread(target=pour)
    thread.start()
    status = fabric_proxy.stop()
    stop.set()
    thread.join()
    assert status == 0
    for each in (node, other):
        each.close(0.0)


def test_a_second_proxy_exits_1_and_names_the_holder(fabric_proxy):
    status, log = run_proxy("--url", fabric_proxy.url)
    assert status == 1
    assert f"is held by another proxy (pid {fabric_proxy.pid} on {socket.gethostname()})" in log


def test_a_second_proxy_does_the_first_no_harm(fabric_proxy, fabric_node):
    listener, speaker, events = fabric_node(), fabric_node(), []
    listener.subscribe("a", events.append).wait_ready(everyone=True)
    run_proxy("--url", fabric_proxy.url)
    speaker.publish("a")
    wait_until(lambda: events)
    assert fabric_node().state == "up"
    assert listener.stats()["links_lost"] == 0


def test_a_stopped_proxy_still_holds_its_address(fabric_proxy):
    fabric_proxy.signal(signal.SIGSTOP)
    status, _ = run_proxy("--url", fabric_proxy.url)
    fabric_proxy.signal(signal.SIGCONT)
    assert status == 1


def test_the_sockets_of_a_killed_proxy_are_replaced(fabric_proxy, fabric_node):
    fabric_proxy.kill()
    assert sockets(fabric_proxy.directory / "proxy") == ["events-in", "events-out", "messages"]
    fabric_proxy.start()
    assert fabric_node().state == "up"


def test_files_in_the_place_of_its_sockets_are_replaced(stopped, served, fabric_node):
    served.mkdir(mode=0o700)
    for name in ("messages", "events-in", "events-out"):
        (served / name).write_text("stale")
    stopped.start()
    fabric_node(url=stopped.url).close()


def test_a_live_socket_of_another_program_is_not_stolen(stopped, served):
    served.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(served / "messages"))
        theirs.listen()
        status, log = run_proxy("--url", stopped.url)
    assert status == 1
    assert "something listens" in log
    assert (served / "messages").is_socket()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_directory_open_to_others_is_refused(stopped, served, mode):
    served.mkdir()
    served.chmod(mode)
    status, log = run_proxy("--url", stopped.url)
    assert status == 1
    assert "open to others" in log


def test_a_link_to_a_directory_is_refused(stopped, served, tmp_path):
    tmp_path.chmod(0o700)
    served.symlink_to(tmp_path)
    status, log = run_proxy("--url", stopped.url)
    assert status == 1
    assert "a link" in log
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.0.2.1", "example.org"])
def test_an_address_that_others_can_reach_is_refused(host):
    status, log = run_proxy("--url", f"tcp://{host}:17400")
    assert status == 1
    assert "--insecure" in log


def test_insecure_allows_it_and_warns():
    with ProxyProcess("tcp://0.0.0.0:17500", insecure=True) as proxy:
        assert "nothing is encrypted" in proxy.log


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_tcp_port_that_is_taken_exits_1(taken):
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 17600 + taken))
        theirs.listen()
        status, log = run_proxy("--url", "tcp://127.0.0.1:17600")
    assert status == 1
    assert "tcp://127.0.0.1:176" in log


def test_a_second_proxy_on_tcp_exits_1():
    with ProxyProcess("tcp://127.0.0.1:17700") as proxy:
        status, log = run_proxy("--url", proxy.url)
    assert status == 1
    assert "held by another proxy" in log


def test_the_file_limit_is_raised_to_the_hard_one(fabric_proxy):
    [line] = [
        line
        for line in Path(f"/proc/{fabric_proxy.pid}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    ]
    soft, hard = line.split()[3:5]
    assert soft == hard


# In this process


def test_it_can_be_embedded_in_a_thread(stopped):
    server = Server(load(ProxySettings, "proxy", {"url": stopped.url, "settle": 0.0}))
    ready = threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"ready": ready.set})
    thread.start()
    assert ready.wait(5)
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_a_server_that_finds_another_raises_address_in_use(fabric_proxy):
    with pytest.raises(AddressInUse) as caught:
        Server(load(ProxySettings, "proxy", {"url": fabric_proxy.url})).run()
    assert f"pid {fabric_proxy.pid}" in caught.value.holder


def test_a_server_with_a_forbidden_address_raises_proxy_error():
    with pytest.raises(ProxyError, match="insecure"):
        Server(load(ProxySettings, "proxy", {"url": "tcp://0.0.0.0:17400"})).run()


def test_the_umask_is_restored_at_the_end(stopped):
    before = os.umask(0o022)
    os.umask(before)
    server = Server(load(ProxySettings, "proxy", {"url": stopped.url, "settle": 0.0}))
    ready = threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"ready": ready.set})
    thread.start()
    assert ready.wait(5)
    server.stop()
    thread.join(5)
    after = os.umask(before)
    assert after == before


def test_each_life_has_a_boot_id_of_its_own(fabric_proxy):
    def greeting():
        with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            subscriber.linger = 0
            subscriber.subscribe(b"\0up")
            subscriber.connect(f"{fabric_proxy.url}/events-out")
            assert subscriber.poll(5_000)
            return subscriber.recv()

    first = greeting()
    assert greeting() == first
    fabric_proxy.restart()
    assert greeting() != first
