"""Events in: one thread that reads the SUB and delivers. Owns that socket.

    ┌─▸ drain    under the lock: read what is there into the backlog, at most so many bytes of it
    │   deliver  without it: `BATCH_SIZE` messages (see `fabric.events.delivery`)
    └── wait     when both are empty: on the socket's descriptor and a pipe that others wake us with

Draining costs a quarter of delivering. Doing it first, and often, keeps a burst in this process, where its bytes are
counted, and not in pipes that are counted in messages and drop silently when they are full.

Loop suppression comes first: a message that bears our own origin is dropped before anything is decoded, and what
arrives here is never forwarded.

`subscribe` and the control thread touch the socket under the same lock, but do not wait for it: what is asked for is noted
first, in order, and whoever has the lock passes it on. (To wait for it with the bus's lock in hand, while the garbage
collector runs in this thread, and somebody's finaliser ends a subscription, would be to wait for ever.) Touching it may
take in the very news that the descriptor would have told about: so whoever did wakes this thread.
"""

from __future__ import annotations

import logging
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq
from zmq.backend import Socket as _Backend

from fabric.bus.bus import Bus
from fabric.bus.subscription import Subscription
from fabric.errors import WireError
from fabric.events.delivery import EventDelivery
from fabric.protocol.events import (
    MAX_HOPS,
    PROBE,
    RESERVED,
    UP,
    decode_topic,
    prefixes,
)
from fabric.system.wakeup import Wakeup

logger = logging.getLogger("fabric.link")

#: Messages delivered between two drains; with full packs a millisecond or so.
BATCH_SIZE = 16
#: First frames remembered.
MAX_FIRST_FRAMES = 10_000

_recv: Callable[..., Any] = _Backend.recv
_get: Callable[..., Any] = _Backend.get
_NOBLOCK = int(zmq.NOBLOCK)
_RCVMORE = int(zmq.RCVMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
#: Stands for our own origin where it is compared by identity.
_OWN = b"own"


class Receiver:
    """The incoming half of a link. `probed(prefix)` and `greeted(boot)` are called on the delivery thread."""

    _make_lock: Callable[[], Any] = staticmethod(threading.Lock)
    _may_wait = False

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        bus: Bus,
        origin: bytes,
        *,
        probed: Callable[[bytes], None],
        greeted: Callable[[bytes], None],
        limit: int = 64 * 1024 * 1024,
        drop_oldest: bool = False,
    ) -> None:
        #: Messages that were taken to be delivered, and that were: one less while a callback runs.
        self.begun = 0
        self.taken = 0
        #: Messages of our own that came back.
        self.echoes = 0
        self._socket = socket
        self._bus = bus
        self._origin = origin
        self._probed = probed
        self._greeted = greeted
        self._lock = self._make_lock()
        self._requests: deque[tuple[bool, bytes]] = deque()  # whether to subscribe, and to what
        self._first_frames: dict[bytes, bytes] = {}  # → origin, or _OWN
        self._backlog: deque[tuple[bytes, bytes]] = deque()  # origin, pack
        self._backlog_bytes = 0
        # Raw bytes that wait to be delivered. Past it the rest stays in ZeroMQ's pipes, and what overflows them is a gap;
        # or the oldest goes, so that a handler that is slow sees what is new.
        self._limit = limit
        self._drop_oldest = drop_oldest
        self._wakeup = Wakeup()
        #: What becomes of what was read. Its counters may be read by any thread.
        self.delivery = EventDelivery(bus, wake=self._wakeup.set)
        self._closing = False
        socket.subscribe(UP)
        self._thread = threading.Thread(target=self._run, name="fabric-delivery", daemon=True)
        self._thread.start()

    # Other threads

    @property
    def on_delivery_thread(self) -> bool:
        """Whether the caller is a callback that this thread runs: waiting there for news from it would never end."""
        return threading.current_thread() is self._thread

    @property
    def thread_id(self) -> int:
        """The delivery thread's; 0 before it runs."""
        return self._thread.ident or 0

    def subscribe(self, subscription: Subscription) -> None:
        """Ask the proxy for what `subscription` matches."""
        self.delivery.expect(subscription)
        self._request(True, *prefixes(subscription.pattern))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Take one `subscribe` back."""
        self.delivery.forget(subscription)
        self._request(False, *prefixes(subscription.pattern))

    def subscribe_probe(self, prefix: bytes) -> None:
        """Ask for a probe's own prefix."""
        self._request(True, prefix)

    def unsubscribe_probe(self, prefix: bytes) -> None:
        """It came back, or nobody waits for it any more."""
        self._request(False, prefix)

    def touch(self) -> None:
        """After a reconnect a SUB sends its subscriptions only when it is touched, and we may sit in a callback."""
        if self._lock.acquire(blocking=False):
            try:
                readable = _get(self._socket, _EVENTS) & _POLLIN
            finally:
                self._lock.release()
            if readable:
                self._wakeup.set()

    @property
    def waiting(self) -> int:
        """Messages read and not yet delivered."""
        return len(self._backlog)

    def close(self, timeout: float = 1.0) -> bool:
        """End the thread, which closes the socket. False if a callback goes on after `timeout` seconds: it ends then."""
        self._closing = True
        self._wakeup.set()
        if not self.on_delivery_thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def forked(self) -> None:
        """We are a fork's child: the socket is the parent's. If a callback of its delivery thread forked, this ends it."""
        self._closing = True
        self._lock = self._make_lock()
        self._wakeup.forked()
        self._backlog.clear()
        self.delivery.forked()

    def _request(self, subscribe: bool, *wanted: bytes) -> None:
        self._requests.extend((subscribe, prefix) for prefix in wanted)
        if self._lock.acquire(self._may_wait):
            try:
                self._apply_requests()
            finally:
                self._lock.release()
        self._wakeup.set()

    # With the lock held

    def _apply_requests(self) -> None:
        asked, socket = self._requests, self._socket
        while asked and not socket.closed:
            subscribe, prefix = asked.popleft()
            if subscribe:
                socket.subscribe(prefix)
            else:
                socket.unsubscribe(prefix)

    # The delivery thread

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._socket.fileno(), select.POLLIN)
        poller.register(self._wakeup.descriptor, select.POLLIN)
        backlog = self._backlog
        try:
            while not self._closing:
                self._drain()
                if self._drop_oldest and self._backlog_bytes >= self._limit:
                    self._shed()
                    continue
                if self.delivery.recovering:
                    self.delivery.recover()
                if not backlog:
                    for descriptor, _ in poller.poll(self.delivery.poll_timeout()):
                        if descriptor == self._wakeup.descriptor:
                            self._wakeup.clear()
                    continue
                self._deliver(min(BATCH_SIZE, len(backlog)))
        except zmq.ContextTerminated:
            pass
        finally:
            with self._lock:
                self._socket.close(linger=0)
            self._wakeup.close()

    def _drain(self) -> None:
        backlog = self._backlog
        known = self._first_frames
        with self._lock:
            socket = self._socket
            self._apply_requests()
            try:
                while self._backlog_bytes < self._limit:
                    first = _recv(socket, _NOBLOCK)
                    # The first frames of one topic and origin are the same bytes, so taking them apart once will do.
                    # Nor is RCVMORE asked for, which costs as much as a frame: what looks like ours has two; whatever
                    # else somebody sends shows as a frame out of place, and is taken in step again there.
                    origin = known.get(first)
                    if origin is None:
                        origin = self._learn(first)
                        if origin is None:
                            continue
                    try:
                        second = _recv(socket, _NOBLOCK)
                    except zmq.Again:  # the frames of a message come together: this one had no second
                        self.delivery.reject("a topic without events", first)
                        break
                    if second[:1] != b"[":
                        self._realign(first, second)
                        continue
                    if origin is _OWN:
                        self.echoes += 1
                        continue
                    backlog.append((origin, second))
                    self._backlog_bytes += len(second)
            except zmq.Again:
                pass

    def _realign(self, first: bytes, frame: bytes) -> None:
        """`frame` came where events were expected: it begins the next message, or ends a bad one."""
        origin = self._first_frames.get(frame) or self._learn(frame)
        if origin is None:
            return
        self.delivery.reject("a topic without events", first)
        if not _get(self._socket, _RCVMORE):
            self.delivery.reject("a topic without events", frame)
            return
        pack = _recv(self._socket, _NOBLOCK)
        if origin is _OWN:
            self.echoes += 1
        else:
            self._backlog.append((origin, pack))
            self._backlog_bytes += len(pack)

    def _learn(self, first: bytes) -> bytes | None:
        """The origin of a first frame not seen before; None, and the whole message read, if it is none of ours."""
        try:
            _, hops, origin = decode_topic(first)
        except WireError as error:
            self._take_other(first, error)
            return None
        if hops > MAX_HOPS:
            self._take_other(first, f"over {MAX_HOPS} bridges")
            return None
        if origin == self._origin:
            origin = _OWN
        if len(self._first_frames) >= MAX_FIRST_FRAMES:
            self._first_frames.clear()
        self._first_frames[first] = origin
        return origin

    def _take_other(self, first: bytes, problem: object) -> None:
        frames = 1
        while _get(self._socket, _RCVMORE):
            _recv(self._socket, _NOBLOCK)
            frames += 1
        if frames == 1 and first.startswith(PROBE):
            self._probed(first)
        elif frames == 1 and first.startswith(UP):
            self._greeted(first[len(UP) :])
        elif first[:1] != RESERVED:
            self.delivery.reject(problem, first)

    def _deliver(self, messages: int) -> None:
        """Hand over the events of the oldest messages of the backlog."""
        backlog, delivery = self._backlog, self.delivery
        for _ in range(messages):
            if not backlog:
                return  # a callback forked, and we are the child
            origin, pack = backlog.popleft()
            self._backlog_bytes -= len(pack)
            self.taken = self.begun
            self.begun += 1
            delivery.deliver(origin, pack)
        self.taken = self.begun
        delivery.measure_lag()

    def _shed(self) -> None:
        """Drop the oldest half."""
        while self._backlog_bytes > self._limit // 2:
            origin, pack = self._backlog.popleft()
            self._backlog_bytes -= len(pack)
            self.begun += 1
            self.taken += 1
            self.delivery.shed(origin, pack)
