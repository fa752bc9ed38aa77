"""The ZeroMQ options of a node's three sockets. They are set before a socket is connected.

The limits of a pipe (SNDHWM, RCVHWM) count messages. The size of a message (MAXMSGSIZE) is limited by the proxy, and not
here: a socket that connects, and receives a frame over its limit, disconnects for good.
"""

from __future__ import annotations

from typing import Any

import zmq

from fabric.config.address import Address

#: Milliseconds between attempts to reconnect. Constant: with back-off, subscribers would be back later than the time for
#: which a restarted proxy holds publishers off (see `proxy`).
RECONNECT_MS = 100
#: Messages of at most about 8 KB that may wait in the SUB until the delivery thread reads them.
PIPE_MESSAGES = 16_384

OPTIONS: dict[int, dict[int, int]] = {
    zmq.XPUB: {
        zmq.XPUB_NODROP: 1,  # EAGAIN in place of a silent drop: the socket has one peer, the proxy
        zmq.IMMEDIATE: 1,  # EAGAIN while the peer is gone, in place of a pipe that fills
        zmq.SNDHWM: 4_096,
        zmq.RCVHWM: 0,  # subscriptions only, which a limit would drop silently
        zmq.MAXMSGSIZE: 512,  # subscriptions only
        zmq.ONLY_FIRST_SUBSCRIBE: 1,  # the later frames of a message are no subscriptions
    },
    zmq.SUB: {
        zmq.SNDHWM: 0,  # subscriptions only
        zmq.RCVHWM: PIPE_MESSAGES,
        zmq.MAXMSGSIZE: -1,
    },
    zmq.DEALER: {
        zmq.SNDHWM: 1_000,
        zmq.RCVHWM: 1_000,
        zmq.MAXMSGSIZE: -1,
    },
}
#: Of all three.
COMMON: dict[int, int] = {
    zmq.LINGER: 0,
    zmq.HANDSHAKE_IVL: 3_000,
    zmq.RECONNECT_IVL: RECONNECT_MS,
}
#: Of all three, if the address is tcp. A half-open connection is found within 11 s. `inherited_sockets` recognises our
#: connections by the keepalive options.
TCP: dict[int, int] = {
    zmq.CONNECT_TIMEOUT: 2_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 5,
    zmq.TCP_KEEPALIVE_INTVL: 2,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 10_000,
}


def options(kind: int, address: Address) -> dict[int, int]:
    """The options of a socket of this kind that connects to `address`."""
    tcp = TCP if address.directory is None else {}
    return {**COMMON, zmq.IPV6: int(":" in address.host), **tcp, **OPTIONS[kind]}


def make_socket(context: Any, kind: int, address: Address) -> Any:
    """A socket of `context`, with its options set, and not connected."""
    made = context.socket(kind)
    for option, value in options(kind, address).items():
        made.setsockopt(option, value)
    return made
