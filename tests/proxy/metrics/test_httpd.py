"""The HTTP server: hostile clients, and that it frees all it has."""

import http.client
import socket
import threading

import pytest

from fabric.testing import wait_until
from proxy.metrics.httpd import MAX_CONNECTIONS, Httpd


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.fixture
def serve():
    made = []

    def start(application=hello, host="127.0.0.1", **options):
        server = Httpd(host, 0, application, **options)
        made.append(server)
        server.start()
        return server

    yield start
    while made:
        made.pop().stop()


def get(port, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def requests():
    return [thread for thread in threading.enumerate() if thread.name == "fabric-http-request"]


def test_it_answers(serve):
    assert get(serve().port) == b"hello"


def test_silent_connections_are_cut_off_for_new_ones(serve):
    server = serve()
    silent = [connect(server) for _ in range(MAX_CONNECTIONS * 3)]
    try:
        assert get(server.port) == b"hello"
        assert len(requests()) <= MAX_CONNECTIONS
    finally:
        for each in silent:
            each.close()


def test_a_request_that_takes_too_long_is_cut_off(serve):
    with connect(serve(request_timeout=0.0, io_timeout=60.0, poll_interval=0.05)) as slow:
        slow.sendall(b"GET / HTTP/1.0\r\n")
        assert slow.recv(1) == b""


def test_an_application_that_hangs_does_not_pile_up_threads(serve):
    release = threading.Event()

    def hang(environ, start_response):
        release.wait(10)
        return hello(environ, start_response)

    server = serve(hang)
    waiting = [connect(server) for _ in range(MAX_CONNECTIONS)]
    try:
        for each in waiting:
            each.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_until(lambda: len(requests()) == MAX_CONNECTIONS)
        with connect(server) as late:
            late.sendall(b"GET / HTTP/1.0\r\n\r\n")
            try:
                assert late.recv(1) == b""
            except ConnectionResetError:
                pass  # the same, if the request was not read
        assert len(requests()) == MAX_CONNECTIONS
    finally:
        release.set()
        for each in waiting:
            each.close()


@pytest.mark.parametrize(
    "said",
    [b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 200 + b"\r\n"],
    ids=["zeros", "no path", "another version", "many headers"],
)
def test_a_malformed_request_does_no_harm_and_is_not_logged(serve, said, capfd):
    server = serve()
    with connect(server) as stranger:
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(4_096):
            pass
    assert get(server.port) == b"hello"
    assert capfd.readouterr() == ("", "")


def test_an_application_that_fails_writes_no_traceback_to_stderr(serve, capfd):
    def fail(environ, start_response):
        raise RuntimeError("not today")

    server = serve(fail)
    with connect(server) as asking:
        asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert asking.recv(4_096).startswith(b"HTTP/1.0 500 ")
    wait_until(lambda: not requests())
    assert capfd.readouterr() == ("", "")


def test_a_client_that_goes_away_before_the_answer_is_no_error(serve, capfd):
    server = serve()
    for _ in range(5):
        with connect(server) as hasty:
            hasty.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert get(server.port) == b"hello"
    wait_until(lambda: not requests())
    assert capfd.readouterr() == ("", "")


def test_stop_frees_the_address_and_cuts_off_connections(serve):
    server = serve()
    port = server.port
    with connect(server) as there:
        wait_until(requests)
        server.stop()
        assert there.recv(1) == b""
    assert not requests()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_it_can_be_stopped_before_it_was_started():
    Httpd("127.0.0.1", 0, hello).stop()


def test_a_port_that_is_in_use_is_an_error(serve):
    with pytest.raises(OSError, match="in use"):
        Httpd("127.0.0.1", serve().port, hello)


def test_everywhere_is_both_ip_versions(serve):
    server = serve(host="*", everywhere=True)
    assert get(server.port) == b"hello"
    if socket.has_dualstack_ipv6():
        assert get(server.port, "::1") == b"hello"
