"""The reference of the message plane: a ROUTER as the pyzmq guide shows it, and nothing else.

    DEALER ── to, … ──▸ ROUTER ── recv_multipart, send_multipart ──▸ from, … ──▸ DEALER

The first frame is the routing id of whom a message is for; in its place the receiver finds that of whom it is from. No
registration, no sender that is checked, no word to anybody whose message has come to nothing, no timers, no other socket
to look at: it blocks in `recv_multipart`. Over ipc, high-water marks 0, in a process of its own and its main thread:
`python -m benchmarks.reference_router DIRECTORY`.

With `tuned` behind it, it does what can be done about pyzmq's own cost, as our proxy does: frames that know whether there
are more of them, in place of a question to the socket about each, and libzmq's binding without what is wrapped around it.
That is no target, but says how much of a ratio above 1 comes from there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any

import zmq
from zmq.backend import Socket as _Backend

from benchmarks.client import PATIENCE, SIZE, End

_SERVER = b"server"
_RAW = b"x" * SIZE


class RouterRequests(End):
    """A ping: a blocking DEALER at each end, raw bytes, no thread hop, no JSON."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.rcvtimeo = int(PATIENCE * 1_000)
        self._socket.routing_id = _SERVER if options["role"] == "subscriber" else b"asker"
        self._socket.connect(f"ipc://{address}/router")

    def serve(self, name: str) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        self._socket.rcvtimeo = -1
        while True:
            self._socket.send_multipart(self._socket.recv_multipart())

    def request(self, name: str, count: int) -> list[float]:
        times = []
        send, receive = self._socket.send_multipart, self._socket.recv_multipart
        for _ in range(count):
            begin = monotonic()
            send([_SERVER, _RAW])
            receive()
            times.append(monotonic() - begin)
        return times


def main(directory: str, kind: str = "") -> None:
    """Be the router, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.sndhwm = router.rcvhwm = 0
    router.bind(f"ipc://{directory}/router")
    if kind == "tuned":
        _forward_tuned(router)
    receive, send = router.recv_multipart, router.send_multipart
    while True:
        sender, to, *rest = receive()
        send([to, sender, *rest])


def _forward_tuned(router: zmq.Socket[bytes]) -> None:
    receive: Any = _Backend.recv
    send: Any = _Backend.send
    more = int(zmq.SNDMORE)
    while True:
        frame = receive(router, 0, False)
        frames = [frame.bytes]
        while frame.more:
            frame = receive(router, 0, False)
            frames.append(frame.bytes)
        frames[0], frames[1] = frames[1], frames[0]
        for part in frames[:-1]:
            send(router, part, more)
        send(router, frames[-1], 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
