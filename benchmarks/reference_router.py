"""The reference of the message plane: a plain ROUTER, as in the guide of pyzmq.

    DEALER ── to, … ──▸ ROUTER ── recv_multipart, send_multipart ──▸ from, … ──▸ DEALER

The first frame is the routing id of the receiver; the loop replaces it by that of the sender. There is no registration, no
check of senders, no error to a sender, no timer and no other socket: it blocks in `recv_multipart`. Over ipc, high-water
marks 0, on the main thread of a process of its own: `python -m benchmarks.reference_router DIRECTORY`.

With the argument `tuned` it avoids the overhead of pyzmq, as the proxy does: frames have the flag for more frames, so the
socket need not be asked, and the backend of pyzmq is called directly. That is no target; it shows how much of a ratio above
1 comes from this.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any

import zmq
from zmq.backend import Socket as _Backend

from benchmarks.client import SIZE, TIMEOUT, End

_SERVER = b"server"
_RAW = b"x" * SIZE


class RouterRequests(End):
    """Ping: a blocking DEALER at each end, raw bytes, no thread hop, no JSON."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.rcvtimeo = int(TIMEOUT * 1_000)
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
    """Run the router, until killed."""
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
