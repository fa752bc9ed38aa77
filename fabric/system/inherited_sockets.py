"""The connections that a fork's child has inherited, and must let go of.

A connection ends when the last process that has it lets go. As long as a child held its parent's, the proxy would go on
filling the pipes of a parent that is gone, and publishers would go on sending what nobody reads: for the life of the
child, which may be a daemon's.

libzmq's descriptors are its own secret, and its sockets must not be touched in a child: so they are known by where they
lead. They are not closed but replaced by `/dev/null`, so that no later file gets a number that libzmq may still know.
"""

from __future__ import annotations

import os
import socket
import stat

from fabric.config.address import Address

#: Options of our tcp sockets (see `link`), by which they are told from other people's to the same port of another host.
KEEPALIVE = {socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}


def let_go(address: Address) -> int:
    """Replace all connections of this process to the proxy at `address`; how many there were. For a fork's child only."""
    paths = {endpoint.partition("://")[2] for endpoint in (address.events_in, address.events_out, address.messages)}
    ports = {int(path.rpartition(":")[2]) for path in paths} if address.directory is None else set()
    found = [descriptor for descriptor in _sockets() if _leads_to(descriptor, paths, ports)]
    if found:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in found:
            os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    return len(found)


def _sockets() -> list[int]:
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
        except OSError:  # the one that the directory was read with
            continue
    return found


def _leads_to(descriptor: int, paths: set[str], ports: set[int]) -> bool:
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
