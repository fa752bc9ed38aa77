"""Connections are identified by their peer address. (A real fork's child: `tests/system/test_forks.py`.)"""

import os
import socket

import pytest

from fabric.config.address import parse_address
from fabric.system.inherited_sockets import KEEPALIVE, close_inherited


@pytest.fixture
def address(lonely_url):
    """A proxy's address, whose directory exists."""
    address = parse_address(lonely_url)
    address.directory.mkdir()
    return address


@pytest.fixture
def listening():
    """A function that connects to a new listener at an address; both are closed after the test."""
    made = []

    def listen(family, address):
        made.extend([listener := socket.socket(family), connection := socket.socket(family)])
        listener.bind(address)
        listener.listen()
        connection.connect(listener.getsockname())
        return connection

    yield listen
    for each in made:
        each.close()


def is_dev_null(connection):
    return os.path.samestat(os.fstat(connection.fileno()), os.stat(os.devnull))


def test_connections_to_the_proxys_sockets_become_dev_null_and_others_stay(listening, address):
    ours = [
        listening(socket.AF_UNIX, endpoint.removeprefix("ipc://"))
        for endpoint in (address.events_in, address.events_out, address.messages)
    ]
    other = listening(socket.AF_UNIX, str(address.directory / "other"))
    assert close_inherited(address) == 3
    assert [is_dev_null(each) for each in ours] == [True] * 3
    other.sendall(b"still there")
    assert close_inherited(address) == 0


def test_over_tcp_only_connections_with_our_options_are_closed(listening):
    ours, other = listening(socket.AF_INET, ("127.0.0.1", 0)), listening(socket.AF_INET, ("127.0.0.1", 0))
    for option, value in KEEPALIVE.items():
        ours.setsockopt(socket.IPPROTO_TCP, option, value)
    for each, count in ((ours, 1), (other, 0)):
        assert close_inherited(parse_address(f"tcp://127.0.0.1:{each.getpeername()[1]}")) == count
    assert is_dev_null(ours)
    other.sendall(b"still there")


def test_it_leaves_no_descriptor_behind(listening, address):
    listening(socket.AF_UNIX, address.messages.removeprefix("ipc://"))
    before = os.listdir("/dev/fd")
    close_inherited(address)
    assert os.listdir("/dev/fd") == before
