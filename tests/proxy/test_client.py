"""Queries to a proxy: the answers, and the three kinds of failure."""

import os
import shutil
import signal
import socket
import threading
from pathlib import Path

import pytest
import zmq

from fabric.config.address import parse_address
from fabric.errors import AddressInUse, ProxyError
from fabric.testing import ProxyProcess, wait_until
from proxy import client
from proxy.messages.plane import is_local
from proxy.server import Server
from proxy.settings import ProxySettings
from tests.ports import free_port


@pytest.fixture
def directory(runtime_dir):
    path = runtime_dir / f"p{os.urandom(3).hex()}"
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


def test_the_status_has_the_proxys_identity_its_endpoints_and_its_nodes(fabric_proxy, fabric_node):
    node = fabric_node("app")
    session = node.endpoint("worker").session
    found = client.status(parse_address(fabric_proxy.url))
    assert (found.stats.pid, found.stats.url) == (fabric_proxy.pid, fabric_proxy.url)
    assert found.who == f"pid {fabric_proxy.pid} on {socket.gethostname()}"
    assert 0 <= found.stats.uptime < 60
    assert found.stats.version
    assert len(found.stats.boot) == 16
    assert [(each["endpoint"], each["session"], each["node"]) for each in found.endpoints] == [
        ("worker", session, "app")
    ]
    assert [each["node"] for each in found.nodes] == ["app"]
    assert (found.stats.nodes, found.truncated) == (1, False)


def test_a_query_leaves_no_node_no_thread_and_no_descriptor_behind(fabric_proxy):
    address = parse_address(fabric_proxy.url)
    client.status(address)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert client.status(address).nodes == []
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_proxy_that_is_asked_to_stop_ends_cleanly_and_its_nodes_go_down(fabric_proxy, fabric_node):
    node = fabric_node("app")
    client.stop(parse_address(fabric_proxy.url))
    wait_until(lambda: not fabric_proxy.running)
    assert fabric_proxy.stop() == 0
    assert "ended: asked to" in fabric_proxy.log
    wait_until(lambda: node.state == "down")


def test_a_tcp_proxy_can_be_stopped_from_its_own_machine():
    with ProxyProcess(f"tcp://127.0.0.1:{free_port()}") as proxy:
        client.stop(parse_address(proxy.url))
        wait_until(lambda: not proxy.running)


# No answer


def test_where_nothing_listens_no_proxy_is_running(directory):
    for url in (f"ipc://{directory}", f"ipc://{directory}/none", f"tcp://127.0.0.1:{free_port()}"):
        with pytest.raises(client.NotRunning, match=f"no proxy is running at {url}"):
            client.status(parse_address(url))


def test_sockets_that_a_crash_left_behind_are_no_proxy(fabric_proxy):
    fabric_proxy.kill()
    with pytest.raises(client.NotRunning):
        client.status(parse_address(fabric_proxy.url))


def test_a_proxy_that_is_stopped_by_a_signal_is_running_but_not_answering(fabric_proxy):
    fabric_proxy.signal(signal.SIGSTOP)
    with pytest.raises(client.NotAnswering, match=r"did not answer within 0\.2 s: it is stopped or stuck"):
        client.status(parse_address(fabric_proxy.url), timeout=0.2)
    fabric_proxy.signal(signal.SIGCONT)
    assert client.status(parse_address(fabric_proxy.url)).stats.pid == fabric_proxy.pid


def test_an_ipc_listener_that_takes_no_more_connections_is_not_answering(directory):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(directory / "messages"))
        listener.listen(0)
        first.connect(str(directory / "messages"))
        with pytest.raises(client.NotAnswering, match="takes no more connections"):
            client.status(parse_address(f"ipc://{directory}"), timeout=0.2)


def test_another_program_at_the_port_is_not_answering():
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(client.NotAnswering, match="or it is no proxy"):
            client.status(parse_address(url), timeout=0.2)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([b"junk"], "is not the fabric's protocol"),
        ([b"ERROR", b"STATS", b"stats", b"unknown_verb", b""], "a proxy of another version"),
    ],
)
def test_a_zeromq_program_that_says_something_else_is_not_answering(answer, problem):
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1", max_port=65_000)
    thread = threading.Thread(target=lambda: router.send_multipart([router.recv_multipart()[0], *answer]))
    thread.start()
    try:
        with pytest.raises(client.NotAnswering, match=problem):
            client.status(parse_address(f"tcp://127.0.0.1:{port}"))
    finally:
        thread.join()
        context.destroy(linger=0)


def test_a_host_that_does_not_exist_is_not_reachable():
    with pytest.raises(client.NotReachable, match=r"there is no host 'nobody\.invalid'"):
        client.status(parse_address("tcp://nobody.invalid:7400"))


def test_a_directory_that_may_not_be_entered_is_not_reachable(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    # The tests may be run by root, who has every permission.
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(client.NotReachable, match="cannot reach ipc:///run/x: permission denied"):
        client.status(parse_address("ipc:///run/x"))


def test_a_tcp_host_that_takes_no_connection_in_time_is_not_reachable(monkeypatch):
    def be_silent(*_, **__):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", be_silent)
    with pytest.raises(client.NotReachable, match=r"takes no connection within 0\.1 s"):
        client.status(parse_address("tcp://10.255.255.1:7400"), timeout=0.1)


# An address that is taken


def test_a_second_proxy_at_a_tcp_address_names_the_one_that_has_it():
    with ProxyProcess(f"tcp://127.0.0.1:{free_port()}") as proxy:
        with pytest.raises(AddressInUse) as caught:
            Server(ProxySettings(url=proxy.url)).run()
        assert caught.value.holder == f"pid {proxy.pid} on {socket.gethostname()}"


def test_a_tcp_port_of_another_program_is_not_taken_for_a_proxy():
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ProxyError, match=f"cannot listen on {url}: something listens") as caught:
            Server(ProxySettings(url=url)).run()
        assert not isinstance(caught.value, AddressInUse)


# STOP


class _Frame:
    def __init__(self, address):
        self._address = address

    def get(self, name):
        assert name == "Peer-Address"
        if self._address is None:
            raise zmq.ZMQError(22)
        return self._address


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.7", False),
     ("::ffff:10.0.0.7", False), ("2001:db8::1", False), ("localhost:0:0:7", False), ("", False), (None, False)],
)  # fmt: skip
def test_only_loopback_peers_may_stop_a_tcp_proxy(address, allowed):
    assert is_local(parse_address("tcp://0.0.0.0:7400"), _Frame(address)) is allowed


def test_stop_from_another_peer_is_refused_with_the_reason(directory, monkeypatch):
    monkeypatch.setattr("proxy.messages.plane.is_local", lambda address, frame: False)
    address = parse_address(f"ipc://{directory}")
    server = Server(ProxySettings(url=address.url, settle=0.0))
    ready = threading.Event()
    thread = threading.Thread(target=lambda: server.run(ready=ready.set))
    thread.start()
    try:
        assert ready.wait(10)
        with pytest.raises(ProxyError, match="can only be stopped from the machine it runs on"):
            client.stop(address)
        assert client.status(address).stats.pid == os.getpid()
    finally:
        server.stop()
        thread.join()


def test_malformed_queries_are_answered_and_the_proxy_continues(fabric_proxy):
    address = parse_address(fabric_proxy.url)
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.connect(address.messages)
        for frames in ([b"STATS"], [b"STOP"], [b"STOP", b"\xff"], [b"STATS", b"a", b"no JSON"], [b"STOP", b""]):
            dealer.send_multipart(frames)
            assert dealer.poll(10_000)
            assert dealer.recv_multipart()[:4:3] == [b"ERROR", b"malformed"]
    finally:
        context.destroy(linger=0)
    assert client.status(address).stats.pid == fabric_proxy.pid


# Repeated queries


@pytest.fixture
def asker(fabric_proxy):
    made = client.StatsClient(parse_address(fabric_proxy.url))
    yield made
    made.close()


def test_an_asker_keeps_its_connection(asker, fabric_proxy, fabric_node):
    fabric_node("app")
    assert [each.node for each in asker.stats(nodes=5).members] == ["app"]
    connected = asker.stats().process.descriptors
    assert [asker.stats().process.descriptors for _ in range(20)] == [connected] * 20


def test_an_asker_finds_the_next_proxy_and_raises_while_there_is_none(asker, fabric_proxy):
    first = asker.stats().boot
    fabric_proxy.kill()
    with pytest.raises(client.NotRunning):
        asker.stats()
    fabric_proxy.restart(settle=0)
    second = asker.stats().boot
    fabric_proxy.restart(settle=0)
    assert len({first, second, asker.stats().boot}) == 3


def is_stopped(pid):
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def test_an_asker_of_a_stopped_proxy_times_out_and_gets_an_answer_when_it_continues(asker, fabric_proxy):
    asker.stats()
    fabric_proxy.signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(fabric_proxy.pid))
    with pytest.raises(client.NotAnswering):
        asker.stats(timeout=0.2)
    fabric_proxy.signal(signal.SIGCONT)
    assert asker.stats(topics=3).pid == fabric_proxy.pid


def test_an_asker_that_is_closed_leaves_no_descriptor_behind(asker):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        asker.stats()
        asker.close()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_the_record_has_the_versions_of_the_libraries(asker):
    assert asker.stats().libraries == client.libraries()
    assert [each.partition(" ")[0] for each in client.libraries()] == ["python", "pyzmq", "libzmq", "orjson"]
