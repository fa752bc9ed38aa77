"""A place on tcp where a proxy can listen: three ports in a row that nobody has."""

import contextlib
import os
import socket


def free_port():
    """The first of the three, below those that the kernel gives away. Another one in each process that runs tests."""
    first = 20_000 + os.getpid() % 300 * 30
    for port in range(first, first + 3_000, 3):
        with contextlib.ExitStack() as stack:
            try:
                for each in range(port, port + 3):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
            return port
    raise AssertionError("no three ports are free")
