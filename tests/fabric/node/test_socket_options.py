import socket

import pytest
import zmq

from fabric.config.address import parse_address
from fabric.node.socket_options import OPTIONS, TCP, make_socket, options
from fabric.system.inherited_sockets import KEEPALIVE

IPC, TCP_V4, TCP_V6 = map(parse_address, ("ipc:///run/fabric", "tcp://127.0.0.1:7400", "tcp://[::1]:7400"))
#: libzmq sets them and cannot be asked for them.
WRITE_ONLY = {zmq.XPUB_NODROP, zmq.ONLY_FIRST_SUBSCRIBE}


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.mark.parametrize("address", [IPC, TCP_V4, TCP_V6], ids=lambda address: address.url)
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_socket_has_the_options_of_its_kind_and_address(context, kind, address):
    with make_socket(context, kind, address) as made:
        readable = {option: value for option, value in options(kind, address).items() if option not in WRITE_ONLY}
        assert {option: made.getsockopt(option) for option in readable} == readable


def test_nothing_is_lost_silently_and_nothing_delays_the_end():
    found = options(zmq.XPUB, IPC)
    assert (found[zmq.XPUB_NODROP], found[zmq.IMMEDIATE], found[zmq.RCVHWM], found[zmq.LINGER]) == (1, 1, 0, 0)


def test_only_connections_over_tcp_are_kept_alive():
    assert not TCP.keys() & options(zmq.SUB, IPC).keys()
    assert TCP.items() <= options(zmq.SUB, TCP_V4).items()


def test_only_an_ipv6_address_uses_ipv6():
    assert [options(zmq.SUB, address)[zmq.IPV6] for address in (IPC, TCP_V4, TCP_V6)] == [0, 0, 1]


def test_a_forks_child_recognises_connections_by_the_same_keepalive_options():
    assert {
        socket.TCP_KEEPINTVL: TCP[zmq.TCP_KEEPALIVE_INTVL],
        socket.TCP_KEEPCNT: TCP[zmq.TCP_KEEPALIVE_CNT],
    } == KEEPALIVE
