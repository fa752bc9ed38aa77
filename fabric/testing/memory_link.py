"""Link to a proxy in memory: the real link, with other sockets.

    publishers ─▸ MemorySender    ─ MemoryXPub ──▸ ┐
                  MemoryReceiver  ◂─ MemorySub ─── ├ MemoryProxy
    endpoints ◂─▸ MemoryDealer    ◂─ …Socket ────▸ ┘

State, barriers, session, outbox, interest, numbers, gaps and delivery are those of `fabric.node.link` and its parts, and so
are the threads that run an application's code. The difference is the time of sending: always in `publish`, so that an event
has reached its receivers when `publish` returns. Events are not packed, and the tail thread has nothing to do and ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import orjson

from fabric.events.interest import NOBODY
from fabric.events.receiver import Receiver
from fabric.events.sender import MARK_INTERVAL, MARKS_AT_ONCE, Sender
from fabric.messages.dealer import BATCH, Dealer
from fabric.node.link import Link
from fabric.protocol.envelope import Envelope
from fabric.protocol.events import PROBE, UP
from fabric.testing.memory_proxy import MemoryDealerSocket, MemoryProxy, MemorySocket, MemorySub, MemoryXPub

#: The kinds of sockets, in the order of reconnecting: subscribers before publishers.
KINDS: dict[str, Callable[[MemoryProxy], MemorySocket]] = {
    "SUB": MemorySub,
    "XPUB": MemoryXPub,
    "DEALER": MemoryDealerSocket,
}


class MemoryContext:
    """Replaces the ZeroMQ context of one link: makes its three sockets, and breaks their connections."""

    def __init__(self, proxy: MemoryProxy) -> None:
        self._proxy = proxy
        self._made: dict[str, MemorySocket] = {}

    def socket(self, kind: Any) -> MemorySocket:
        """Make one of `XPUB`, `SUB`, `DEALER`."""
        made = self._made[kind.name] = KINDS[kind.name](self._proxy)
        return made

    def cut(self) -> None:
        """Break all connections at once: a node that lost only one of them would not send HELLO again."""
        with self._proxy.lock:
            for kind in KINDS:
                self._proxy.leave(self._made[kind])

    def heal(self) -> None:
        """Restore the connections, the subscriber's first, as after a real restart."""
        with self._proxy.lock:
            for kind in KINDS:
                self.join(kind)

    def join(self, kind: str) -> None:
        """Restore one of the connections."""
        self._proxy.join(self._made[kind])

    def term(self) -> None:
        """No-op: the sockets have been closed."""


class MemorySender(Sender):
    """Sends in `publish`. Holds events back for the same reasons as the real sender."""

    _socket: MemoryXPub  # type: ignore[assignment]
    __slots__ = ("_busy",)

    def __init__(self, socket: Any, origin: bytes, **keywords: Any) -> None:
        super().__init__(socket, origin, **keywords)
        self._busy = False
        # One lock for the whole fabric: a subscription goes to every publisher, an event to every subscriber.
        self._lock = socket.proxy.lock
        socket.read = lambda: self._read_subscriptions(monotonic())

    def forward(self, topic: str, envelope: Envelope) -> None:
        """Send an event to its subscribers, now. Any thread; neither blocks nor raises."""
        if self.interest.routes.of(topic) == NOBODY:
            return
        try:
            encoded = orjson.dumps(envelope)
        except (TypeError, RecursionError) as error:
            self._refuse(topic, f"orjson cannot encode it: {error}")
            return
        if len(encoded) > self._max_bytes:
            self._refuse(topic, f"{len(encoded):,} bytes are over the limit of {self._max_bytes:,}")
            return
        self._append((topic, encoded))
        self._pass_on()

    def _pass_on(self) -> None:
        """Send the events that can be sent. The lock is held for microseconds, never while an application's code runs."""
        with self._lock:
            if self._busy:
                return  # called by a finaliser in the middle of this loop, which goes on until nothing is left
            self._busy = True
            try:
                now = monotonic()
                self.interest.expire(now)
                if self._pacing.down:
                    self.outbox.hold(now)
                else:
                    self._flush(now, 0)
            finally:
                self._busy = False

    # With the lock held

    def _flush(self, now: float, most: int) -> None:
        outbox, routes = self.outbox, self.interest.routes
        while (topic := outbox.next_topic(routes)) is not None:
            self._socket.send([outbox.head(topic)[0], outbox.take(routes)])

    def _poll(self, now: float) -> None:
        """No-op: subscriptions are read when they arrive."""

    def _receive(self) -> list[bytes]:
        batch: list[bytes] = []
        while (frames := self._socket.take()) is not None:
            batch += frames
        return batch

    def _send_probes(self, *, again: bool = False) -> None:
        for prefix, sent in list(self._probes.items()):
            if (again or not sent) and self.interest.has(prefix):
                self._socket.send([prefix])
                self._probes[prefix] = True

    def _send_marks(self, now: float) -> None:
        for topic, number in self._marks.due(self.outbox.counter.numbers, now, MARKS_AT_ONCE):
            if not self._pacing.down and self.interest.routes.of(topic) != NOBODY:
                self._socket.send([self.outbox.head(topic)[0], self.outbox.mark(topic, number)])

    # The control thread's side

    def service(self, now: float) -> None:
        """Read subscriptions, and send the events that were held back."""
        self._pass_on()
        if now - self._marks_at >= MARK_INTERVAL:
            with self._lock:
                self._marks_at = now
                self._send_marks(now)

    def _tail(self) -> None:
        """No-op: nothing is left to this thread."""


class MemoryReceiver(Receiver):
    """Delivers like the real receiver, from another kind of socket."""

    _socket: MemorySub  # type: ignore[assignment]
    _make_lock = staticmethod(threading.RLock)
    _may_wait = True  # so that a subscription is live when `subscribe` returns

    def touch(self) -> None:
        """No-op: the descriptor of this socket is readable for as long as messages wait."""

    def _drain(self) -> None:
        known = self._first_frames
        with self._lock:
            socket = self._socket
            self._apply_requests()
            socket.clear()
            while self._backlog_bytes < self._limit:
                frames = socket.take()
                if frames is None:
                    return
                if frames[0].endswith(self._origin):
                    self.echoes += 1
                    continue
                origin = known.get(frames[0]) or self._learn(frames[0])
                if origin is None:
                    continue  # a probe, or a greeting
                self._backlog.append((origin, frames[1]))
                self._backlog_bytes += len(frames[1])

    def _take_other(self, first: bytes, problem: object) -> None:
        if first.startswith(PROBE):
            self._probed(first)
        else:
            self._greeted(first[len(UP) :])


class MemoryDealer(Dealer):
    """The shell of the session, like the real dealer."""

    _socket: MemoryDealerSocket  # type: ignore[assignment]

    def service(self, now: float) -> float:
        """As the real one; also runs the timers of the directory, which has no thread of its own."""
        due = self._socket.proxy.tick(now)
        return min(super().service(now), due)

    def _receive(self) -> list[list[bytes]]:
        batch: list[list[bytes]] = []
        with self._wire:
            if self._closed:
                return batch
            self._socket.clear()
            while len(batch) < BATCH and (frames := self._socket.take()) is not None:
                batch.append(frames)
        return batch

    def _pump(self) -> None:
        outgoing = self.session.outgoing
        while outgoing and not self._closed:
            if not self._wire.acquire(blocking=False):
                return  # the holder of the lock checks again
            try:
                while outgoing:
                    try:
                        frames = outgoing.popleft()
                    except IndexError:
                        break
                    if not self._socket.send(frames):
                        outgoing.appendleft(frames)
                        return
            finally:
                self._wire.release()


class MemoryLink(Link):
    """The connection of one node to a proxy in memory."""

    _sender_type = MemorySender
    _receiver_type = MemoryReceiver
    _dealer_type = MemoryDealer

    def __init__(self, context: MemoryContext, *arguments: Any, **keywords: Any) -> None:
        self._given = context
        super().__init__(*arguments, **keywords)

    def _make_context(self) -> Any:
        return self._given
