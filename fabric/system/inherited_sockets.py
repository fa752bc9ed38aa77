"""Closes the connections to the proxy that a fork's child inherited from its parent.

A connection ends when the last process that has its descriptor closes it. While a child kept its parent's descriptors,
the proxy would go on filling the pipes of a parent that has ended, and publishers would go on sending to it: for the life
of the child, which may be a daemon's.

libzmq does not publish its descriptors, and its sockets must not be used in a child. So the descriptors are found by
their peer address. Each is replaced by `/dev/null` instead of closed, so that no later file gets a number that libzmq
still uses.
"""

from __future__ import annotations

import os
import socket
import stat

from fabric.config.address import Address

#: Options of our tcp sockets (see `fabric.node.link`). They distinguish our connections from others to the same port.
KEEPALIVE = {socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}


def close_inherited(address: Address) -> int:
    """Replace all connections of this process to the proxy at `address` by `/dev/null`. Their number.

    For a fork's child only.
    """
    paths = {endpoint.partition("://")[2] for endpoint in (address.events_in, address.events_out, address.messages)}
    ports = {int(path.rpartition(":")[2]) for path in paths} if address.directory is None else set()
    found = [descriptor for descriptor in _sockets() if _is_connected_to(descriptor, paths, ports)]
    if found:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in found:
            os.dup2(null, descriptor, inheritable=False)
        os.close(null)
    return len(found)


def _sockets() -> list[int]:
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
        except OSError:  # the descriptor with which the directory was read
            continue
    return found


def _is_connected_to(descriptor: int, paths: set[str], ports: set[int]) -> bool:
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        peer = connection.getpeername()
        if connection.family == socket.AF_UNIX:
            return peer in paths
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or peer[1] not in ports:
            return False
        return all(connection.getsockopt(socket.IPPROTO_TCP, option) == value for option, value in KEEPALIVE.items())
    except OSError:  # not connected
        return False
    finally:
        connection.detach()
