"""The reference: plain pyzmq, as in its guide.

    PUB ─ send_multipart([topic, 200 raw bytes]) ─▸ XSUB ═ zmq.proxy ═▸ XPUB ─▸ SUB ─ recv_multipart()

Over ipc, high-water marks 0 (no event is dropped), the proxy on the main thread of a process of its own:
`python -m benchmarks.reference DIRECTORY`. No JSON at either end, so every ratio to it includes the fabric's JSON. A proxy
passes both ways, so the round trip is two of these.

The row about publishing threads has `LockedReferenceClient`: a ZeroMQ socket may be used by one thread at a time, and a
lock around each send is the obvious way to ensure that.
"""

from __future__ import annotations

import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from time import monotonic, sleep
from typing import Any

import zmq

from benchmarks.client import SIZE, Client, Event, Handle

_RAW = b"x" * SIZE
_AT = struct.Struct("d")
#: Milliseconds for sent events to leave the process.
_LINGER = 30_000


class ReferenceClient(Client):
    """Raw bytes through plain pyzmq. No dict is made: `event` is ignored."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._address = address
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._out = self._context.socket(zmq.PUB)
        self._out.sndhwm = 0
        self._out.linger = _LINGER
        self._out.connect(f"ipc://{address}/in")

    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        made = self._context.socket(zmq.SUB)
        made.rcvhwm = 0
        made.linger = 0
        made.connect(f"ipc://{self._address}/out")
        for topic in topics:
            made.subscribe(topic)
        threading.Thread(target=_receive, args=(made, handle), daemon=True).start()

    def publish(self, topic: str, event: Event) -> None:
        self._out.send_multipart([topic.encode(), _RAW])

    def blast(self, topics: Sequence[str], count: int) -> None:
        send = self._out.send_multipart
        for topic in islice(cycle([topic.encode() for topic in topics]), count):
            send([topic, _RAW])

    def record(self, topic: str, delays: list[float]) -> None:
        def heard(frames: list[bytes]) -> None:
            delays.append(monotonic() - _AT.unpack_from(frames[1])[0])

        self.subscribe([topic], heard)

    def pace(self, topic: str, rate: float, count: int) -> None:
        name, rest = topic.encode(), _RAW[_AT.size :]
        begin = monotonic()
        for number in range(count):
            ahead = begin + number / rate - monotonic()
            if ahead > 0:
                sleep(ahead)
            self._out.send_multipart([name, _AT.pack(monotonic()) + rest])

    def close(self) -> None:
        self._out.close()
        self._context.term()


class LockedReferenceClient(ReferenceClient):
    """The same with a lock around each send, for several publishing threads."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        super().__init__(address, options)
        self._lock = threading.Lock()

    def publish(self, topic: str, event: Event) -> None:
        with self._lock:
            super().publish(topic, event)


def _receive(made: zmq.Socket[bytes], handle: Handle) -> None:
    receive = made.recv_multipart
    try:
        while True:
            handle(receive())
    except zmq.ContextTerminated:
        made.close()


def main(directory: str) -> None:
    """Run the proxy, until killed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    incoming, outgoing = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    for made in (incoming, outgoing):
        made.sndhwm = made.rcvhwm = 0
    outgoing.bind(f"ipc://{directory}/out")
    incoming.bind(f"ipc://{directory}/in")
    zmq.proxy(incoming, outgoing)


if __name__ == "__main__":
    main(sys.argv[1])
