"""Receiver: one thread that reads the SUB and delivers the events. Owns that socket.

    ┌─▸ drain    with the lock: read messages into the backlog, up to a limit in bytes
    │   deliver  without it: `BATCH_SIZE` messages (see `fabric.events.delivery`)
    └── wait     when both are empty: on the socket's descriptor and on a pipe that other threads write to

Draining costs a quarter of delivering. Doing it first, and often, keeps a burst in this process, where its bytes are
counted, and not in pipes, which are bounded in messages and drop silently when they are full.

Loop suppression comes first: a message with this node's own origin is dropped before anything is decoded, and an event
that arrived here is never forwarded.

`subscribe` and the control thread use the socket under the same lock, but do not wait for it: a request is queued first,
and the holder of the lock applies the queue, in order. Waiting could deadlock: a caller of `subscribe` has the bus's lock,
and while the delivery thread has this one the garbage collector may run a finaliser there that ends a subscription, for
which it waits for the bus's lock.

Any use of the socket can consume the readiness edge of its descriptor (ZMQ_FD): so the user wakes this thread.
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
from fabric.protocol.events import MAX_HOPS, PROBE, RESERVED, UP, decode_topic, prefixes
from fabric.system.wakeup import Wakeup

logger = logging.getLogger("fabric.link")

#: Messages delivered between two drains; with full packs that takes about a millisecond.
BATCH_SIZE = 16
#: First frames whose origin is cached.
MAX_FIRST_FRAMES = 10_000

_recv: Callable[..., Any] = _Backend.recv
_get: Callable[..., Any] = _Backend.get
_NOBLOCK = int(zmq.NOBLOCK)
_RCVMORE = int(zmq.RCVMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
#: Replaces this node's own origin, to be compared by identity.
_OWN = b"own"


class Receiver:
    """The incoming half of a link. `probed(prefix)` and `greeted(boot)` are called on the delivery thread.

    At most `limit` bytes wait to be delivered. Above it, further messages stay in ZeroMQ's pipes, and those that overflow
    the pipes are a gap; or, with `drop_oldest`, the oldest are dropped, so that a slow handler gets recent events.
    """

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
        max_first_frames: int = MAX_FIRST_FRAMES,
    ) -> None:
        #: Messages whose delivery has begun, and those whose delivery has ended: one less while a callback runs.
        self.begun = 0
        self.taken = 0
        #: This node's own messages that came back.
        self.echoes = 0
        self._socket = socket
        self._bus = bus
        self._origin = origin
        self._probed = probed
        self._greeted = greeted
        self._lock = self._make_lock()
        self._requests: deque[tuple[bool, bytes]] = deque()  # whether to subscribe or to unsubscribe, and the prefix
        self._first_frames: dict[bytes, bytes] = {}  # → origin, or _OWN
        self._max_first_frames = max_first_frames
        self._backlog: deque[tuple[bytes, bytes]] = deque()  # origin, pack
        self._backlog_bytes = 0
        self._limit = limit
        self._drop_oldest = drop_oldest
        self._wakeup = Wakeup()
        #: Decodes and delivers messages. Any thread may read its counters.
        self.delivery = EventDelivery(bus, wake=self._wakeup.set)
        self._closing = False
        socket.subscribe(UP)
        self._thread = threading.Thread(target=self._run, name="fabric-delivery", daemon=True)
        self._thread.start()

    # Other threads

    @property
    def on_delivery_thread(self) -> bool:
        """Whether the caller runs on the delivery thread. Waiting there for an event would never end."""
        return threading.current_thread() is self._thread

    @property
    def thread_id(self) -> int:
        """The identifier of the delivery thread; 0 before it runs."""
        return self._thread.ident or 0

    def subscribe(self, subscription: Subscription) -> None:
        """Subscribe the prefixes of a subscription's pattern at the proxy."""
        self.delivery.expect(subscription)
        self._request(True, *prefixes(subscription.pattern))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Undo one `subscribe`."""
        self.delivery.forget(subscription)
        self._request(False, *prefixes(subscription.pattern))

    def subscribe_probe(self, prefix: bytes) -> None:
        """Subscribe the prefix of a probe."""
        self._request(True, prefix)

    def unsubscribe_probe(self, prefix: bytes) -> None:
        """Undo one `subscribe_probe`: the probe came back, or its barrier has ended."""
        self._request(False, prefix)

    def touch(self) -> None:
        """Use the socket: after a reconnect a SUB sends its subscriptions only then. The delivery thread may be busy."""
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

    def stats(self) -> dict[str, int]:
        """`waiting` messages, their `bytes`, and the cached `first_frames`."""
        return {"waiting": self.waiting, "bytes": self._backlog_bytes, "first_frames": len(self._first_frames)}

    def close(self, timeout: float = 1.0) -> bool:
        """End the thread, which closes the socket. False if a callback still runs after `timeout` seconds.

        In that case the thread ends after the callback.
        """
        self._closing = True
        self._wakeup.set()
        if not self.on_delivery_thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def forked(self) -> None:
        """In the child of a fork: forget the socket, which is the parent's.

        If the fork was made by a callback on the delivery thread, that thread exists here, and ends.
        """
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
        requests, socket = self._requests, self._socket
        while requests and not socket.closed:
            subscribe, prefix = requests.popleft()
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
                    # The first frames of one topic and origin are the same bytes, so each is decoded once. RCVMORE is
                    # not read, which costs as much as a frame: a message of our protocol has two frames. A message
                    # with another number of frames shows as a second frame that is no pack: `_realign`.
                    origin = known.get(first)
                    if origin is None:
                        origin = self._learn(first)
                        if origin is None:
                            continue
                    try:
                        second = _recv(socket, _NOBLOCK)
                    except zmq.Again:  # the frames of a message arrive together: this one has no second
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
        """`frame` came where a pack was expected: it begins the next message, or ends a bad one."""
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
        """The origin of a first frame that is not cached; None, with the whole message read, if it begins no events."""
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
        if len(self._first_frames) >= self._max_first_frames:
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
        """Deliver the oldest messages of the backlog."""
        backlog, delivery = self._backlog, self.delivery
        for _ in range(messages):
            if not backlog:
                return  # a callback forked, and this is the child
            origin, pack = backlog.popleft()
            self._backlog_bytes -= len(pack)
            self.taken = self.begun
            self.begun += 1
            delivery.deliver(origin, pack)
        self.taken = self.begun
        delivery.measure_lag()

    def _shed(self) -> None:
        """Drop the oldest half of the backlog."""
        while self._backlog_bytes > self._limit // 2:
            origin, pack = self._backlog.popleft()
            self._backlog_bytes -= len(pack)
            self.begun += 1
            self.taken += 1
            self.delivery.shed(origin, pack)
