"""Fabrics in which something has gone wrong, for the commands that report it."""

import contextlib
import os
import socket
import tempfile
import threading

import zmq

from fabric.config.address import parse_address
from fabric.testing import wait_until
from proxy import client

#: Seconds without a word until a node counts as lost: it reports three times as often.
TIMEOUT = 1.5


def record(url, **limits):
    """The record of the proxy at `url`."""
    return client.stats(parse_address(url), 10, **{"nodes": 100, "topics": 100, **limits})


def lose(node, count=3):
    """Let a node publish events that have a subscriber and cannot be encoded."""
    with node.subscribe("lost.**", lambda event: None) as wanted:
        wanted.wait_ready(10, everyone=True)
        for _ in range(count):
            node.publish("lost.here", {"not json": {1, 2}})


def wait_for_report(url, condition):
    """Until `condition` is true of the proxy's record; nodes report with their heartbeats."""
    wait_until(lambda: condition(record(url)), what="the nodes have reported")


@contextlib.contextmanager
def directory():
    """A short one: the address of a socket is 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="fabric-tests-") as path:
        yield path


@contextlib.contextmanager
def full_backlog(family=socket.AF_INET):
    """The address of a listener that never accepts, its queue full: tcp drops connections, a unix socket refuses them."""
    with contextlib.ExitStack() as stack:
        if family == socket.AF_UNIX:
            path = stack.enter_context(directory())
            name, url = os.path.join(path, "messages"), f"ipc://{path}"
        else:
            name, url = ("127.0.0.1", 0), ""
        listener = stack.enter_context(socket.socket(family))
        listener.bind(name)
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield url or f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def router(answer):
    """A ZeroMQ program at a proxy's address that answers `answer(frames)`; its url. It has no event plane."""
    with directory() as path:
        context = zmq.Context()
        made, ending = context.socket(zmq.ROUTER), context.socket(zmq.PULL)
        made.linger = 0
        made.bind(f"ipc://{path}/messages")
        ending.bind("inproc://end")

        def serve():
            poller = zmq.Poller()
            poller.register(made, zmq.POLLIN)
            poller.register(ending, zmq.POLLIN)
            while ending not in dict(poller.poll()):
                peer, *frames = made.recv_multipart()
                made.send_multipart([peer, *answer(frames)])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ipc://{path}"
        finally:
            with context.socket(zmq.PUSH) as push:
                push.connect("inproc://end")
                push.send(b"")
                thread.join()
            context.destroy(linger=0)
