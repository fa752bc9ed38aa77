"""Drivers of a router for the rows about messages: one sender, and a few holders of a thousand endpoints.

    sender ── SEND ──▸ ┌────────┐ ── DELIVER ──▸ holders      a window of WINDOW messages is outstanding
           ◂── ACK ─── │ router │ ◂── GOT ─────               22 frames in and out per message, of the same sizes
                       └────────┘

The router is the real proxy or a bare loop (`reference_router`). Both have the same drivers, which implement ZMTP (`zmtp`)
and make their frames with `fabric.protocol.verbs` before the measurement. They use a fraction of the router's CPU time, so
the router is the bottleneck. Only the addresses differ: the proxy finds a holder by its registered session, the bare loop
by the routing id in the first frame.
"""

from __future__ import annotations

import selectors
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from os import getpid
from pathlib import Path
from time import monotonic, time
from typing import Any

import orjson

from benchmarks.client import ENVELOPE, TIMEOUT, End
from benchmarks.zmtp import Dealer, encode
from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Meta

#: Connections that hold the endpoints.
HOLDERS = 4
#: Messages that are sent and not acknowledged.
WINDOW = 1_000
#: Messages written at once, at least (fewer at the end).
_WRITE = 50
_BODY = orjson.dumps(ENVELOPE)

#: The name of an endpoint, and its address for the router.
Target = tuple[str, str]


class Driver(End):
    """Sender or holders. `options`: the `role`."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._path = self.path(address)
        self._role = options["role"]
        self._dealers: list[Dealer] = []
        self._sends: list[bytes] = []
        self._next = 0
        self._seen: set[bytes] = set()

    # Differences between the routers

    @abstractmethod
    def path(self, address: str) -> str:
        """The path of the router's socket."""

    @abstractmethod
    def join(self, number: int) -> Dealer:
        """Make a connection that the router knows."""

    @abstractmethod
    def register(self, holder: Dealer, number: int, names: Sequence[str]) -> list[Target]:
        """Register endpoints on that connection."""

    @abstractmethod
    def to_send(self, target: Target) -> list[bytes]:
        """The frames of a message to it."""

    @abstractmethod
    def to_answer(self, frames: list[bytes]) -> list[bytes]:
        """The frames that acknowledge a message; some of them are copied from it."""

    @abstractmethod
    def reached(self, frames: list[bytes]) -> bytes:
        """The endpoint that a message was delivered to."""

    # Holders

    def hold(self, count: int) -> list[Target]:
        """Register `count` endpoints, and acknowledge all messages to them from now on."""
        targets: list[list[Target]] = []
        for number in range(HOLDERS):
            self._dealers.append(self.join(number))
            names = [f"endpoint-{index:04}" for index in range(number, count, HOLDERS)]
            targets.append(self.register(self._dealers[number], number, names))
        threading.Thread(target=self._acknowledge, daemon=True).start()
        # The holders in turn: no two consecutive messages take the same way.
        return [part[index] for index in range(len(targets[0])) for part in targets if index < len(part)]

    def _acknowledge(self) -> None:
        answer, reached, seen = self.to_answer, self.reached, self._seen
        with selectors.DefaultSelector() as selector:
            for dealer in self._dealers:
                selector.register(dealer, selectors.EVENT_READ, dealer)
            while True:
                for key, _ in selector.select():
                    came = key.data.receive()
                    seen.update(map(reached, came))
                    key.data.send(b"".join([encode(answer(frames)) for frames in came]))

    def endpoints_reached(self) -> int:
        """Number of endpoints that have received a message so far."""
        return len(self._seen)

    # The sender

    def aim(self, targets: Sequence[Sequence[str]]) -> None:
        """Prepare a message to each target."""
        self._dealers = [self.join(HOLDERS)]
        self._sends = [encode(self.to_send((name, known))) for name, known in targets]

    def flood(self, count: int) -> dict[str, float]:
        """Send `count` messages, to the endpoints in turn: seconds until the last acknowledgement, and number of those."""
        dealer = self._dealers[0]
        ring = self._sends
        sent = done = 0
        begin = last = monotonic()
        while done < count:
            free = min(WINDOW - (sent - done), count - sent)
            if free >= _WRITE or (free and sent + free == count):
                start = self._next
                dealer.send(b"".join([ring[index % len(ring)] for index in range(start, start + free)]))
                self._next = (start + free) % len(ring)
                sent += free
            done += sum(map(_is_acknowledgement, dealer.receive()))
            last = monotonic()
        return {"seconds": last - begin, "acknowledged": done}

    def close(self) -> None:
        """Disconnect the sender; the holders end with their process."""
        if self._role == "publisher":
            for dealer in self._dealers:
                dealer.close()


def _is_acknowledgement(frames: list[bytes]) -> bool:
    return b"ACK" in frames or b"GOT" in frames


def _await(dealer: Dealer, verb: bytes, count: int) -> list[Any]:
    """Receive `count` messages of one verb, decoded. RuntimeError for another verb, or after the timeout."""
    found: list[Any] = []
    until = monotonic() + TIMEOUT
    while len(found) < count:
        for frames in dealer.receive():
            message = verbs.decode_for_node(frames)
            if frames[0] != verb or monotonic() > until:
                raise RuntimeError(f"the proxy says {message} in place of {verb!r}")
            found.append(message)
    return found


class ProxyDriver(Driver):
    """Drives the real proxy: nodes that have sent HELLO and REGISTER."""

    def path(self, address: str) -> str:
        return str(Path(address.removeprefix("ipc://")) / "messages")

    def join(self, number: int) -> Dealer:
        dealer = Dealer(self._path)
        identity = Identity(f"driver-{number}", _origin(number), getpid(), "bench", "benchmarks")
        dealer.send(encode(verbs.encode(verbs.Hello(verbs.VERSION, 1, identity))))
        _await(dealer, verbs.WELCOME, 1)
        return dealer

    def register(self, holder: Dealer, number: int, names: Sequence[str]) -> list[Target]:
        for key, name in enumerate(names):
            holder.send(encode(verbs.encode(verbs.Register(key, name, "reject"))))
        return [(granted.name, granted.session) for granted in _await(holder, verbs.REGISTERED, len(names))]

    def to_send(self, target: Target) -> list[bytes]:
        return _send(target)

    def to_answer(self, frames: list[bytes]) -> list[bytes]:
        return [verbs.GOT, frames[1], frames[2], frames[5]]

    def reached(self, frames: list[bytes]) -> bytes:
        return frames[3]


class RouterDriver(Driver):
    """Drives the bare loop: the same frames, with the routing id of the receiver as the first one."""

    def path(self, address: str) -> str:
        return f"{address}/router"

    def join(self, number: int) -> Dealer:
        return Dealer(self._path, _origin(number))

    def register(self, holder: Dealer, number: int, names: Sequence[str]) -> list[Target]:
        return [(name, _origin(number).decode()) for name in names]

    def to_send(self, target: Target) -> list[bytes]:
        name, holder = target
        return [holder.encode(), *_send((name, "0123456789abcdef-1000"))[1:]]

    def to_answer(self, frames: list[bytes]) -> list[bytes]:
        return [frames[0], verbs.GOT, frames[1], frames[3]]

    def reached(self, frames: list[bytes]) -> bytes:
        return frames[2]


def _send(target: Target) -> list[bytes]:
    meta = Meta(ts=time(), ttl=5.0)
    return verbs.encode(verbs.Send(f"message-{target[0]}", *target, "anonymous:bench", meta, _BODY))


def _origin(number: int) -> bytes:
    return b"origin-%d" % number
