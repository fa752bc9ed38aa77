"""Events in: one thread that reads the SUB and delivers. Owns that socket.

    ┌─▸ drain    under the lock: read what is there into the backlog, at most `BACKLOG_BYTES` of it
    │   deliver  without it: decode and hand over `TURN` messages
    └── wait     when both are empty: on the socket's descriptor and a pipe that others wake us with

Draining costs a quarter of delivering. Doing it first, and often, keeps a burst in this process, where its bytes are
counted, and not in pipes that are counted in messages and drop silently when they are full.

Loop suppression comes first: a message that bears our own origin is dropped before anything is decoded, and what
arrives here is never forwarded.

`subscribe` and the control thread touch the socket under the same lock. Touching it may take in the very news that the
descriptor would have told about: so whoever did wakes this thread.
"""

from __future__ import annotations

import logging
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import zmq
from zmq.backend import Socket as _Backend

from fabric.bus import Bus, Subscription
from fabric.envelope import Envelope
from fabric.errors import WireError
from fabric.sequence import DUPLICATE, Ledger
from fabric.topics import check_topic
from fabric.wakeup import Wakeup
from fabric.wire import (
    MAX_HOPS,
    PROBE,
    RESERVED,
    UP,
    decode_events,
    decode_topic,
    prefixes,
)

logger = logging.getLogger("fabric.link")

#: Messages delivered between two drains; with full packs a millisecond or so.
TURN = 16
#: Raw bytes that wait to be delivered. Past it the rest stays in ZeroMQ's pipes, and what overflows them is a gap.
BACKLOG_BYTES = 64 * 1024 * 1024
#: Seconds after subscribing before holes are reported as gaps: until a publisher has read a new prefix, an event may
#: ride under a topic that the newcomer did not ask for.
JOINING = 1.0
#: Origins whose name is remembered for reports.
REMEMBERED = 10_000
#: Seconds between log lines about bytes that are not our protocol.
COMPLAIN_EVERY = 10.0

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

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        bus: Bus,
        origin: bytes,
        *,
        probed: Callable[[bytes], None],
        greeted: Callable[[bytes], None],
    ) -> None:
        #: Events handed over; messages of our own that came back; duplicates dropped.
        self.delivered = 0
        self.echoes = 0
        self.duplicates = 0
        #: Holes: how often, and how many events; events missed before a subscription counted as ready.
        self.gaps = 0
        self.missed = 0
        self.joining = 0
        #: Messages that were none of ours, and whole messages dropped for having been over too many bridges.
        self.rejected = 0
        self._socket = socket
        self._bus = bus
        self._origin = origin
        self._probed = probed
        self._greeted = greeted
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._sources: dict[bytes, str] = {}  # origin → the src it published under last
        self._ready_at: dict[Subscription, float] = {}
        self._forget = False
        self._complain_at = 0.0
        self._first_frames: dict[bytes, bytes] = {}  # → origin, or _OWN
        self._backlog: deque[tuple[bytes, bytes]] = deque()  # origin, pack
        self._backlog_bytes = 0
        self._wakeup = Wakeup()
        self._closing = False
        socket.subscribe(UP)
        self._thread = threading.Thread(target=self._run, name="fabric-delivery", daemon=True)
        self._thread.start()

    # Other threads

    @property
    def on_delivery_thread(self) -> bool:
        """Whether the caller is a callback that this thread runs: waiting there for news from it would never end."""
        return threading.current_thread() is self._thread

    def subscribe(self, subscription: Subscription) -> None:
        """Ask the proxy for what `subscription` matches."""
        self._ready_at[subscription] = monotonic() + JOINING
        with self._touching() as socket:
            for prefix in prefixes(subscription.pattern):
                socket.subscribe(prefix)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Take one `subscribe` back."""
        self._ready_at.pop(subscription, None)
        self._forget = True
        with self._touching() as socket:
            for prefix in prefixes(subscription.pattern):
                socket.unsubscribe(prefix)

    def ready(self, subscription: Subscription) -> None:
        """From now on holes are gaps: everybody who publishes knows of the subscription."""
        if subscription in self._ready_at:
            self._ready_at[subscription] = 0.0

    def subscribe_probe(self, prefix: bytes) -> None:
        """Ask for a probe's own prefix."""
        with self._touching() as socket:
            socket.subscribe(prefix)

    def unsubscribe_probe(self, prefix: bytes) -> None:
        """It came back, or nobody waits for it any more."""
        with self._touching() as socket:
            socket.unsubscribe(prefix)

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

    def close(self, patience: float = 1.0) -> bool:
        """End the thread, which closes the socket. False if a callback goes on after `patience` seconds: it ends then."""
        self._closing = True
        self._wakeup.set()
        if not self.on_delivery_thread:
            self._thread.join(patience)
        return not self._thread.is_alive()

    @contextmanager
    def _touching(self) -> Iterator[zmq.Socket[bytes]]:
        with self._lock:
            if not self._socket.closed:
                yield self._socket
        self._wakeup.set()

    # The delivery thread

    def _run(self) -> None:
        poller = select.poll()
        poller.register(_get(self._socket, zmq.FD), select.POLLIN)
        poller.register(self._wakeup.descriptor, select.POLLIN)
        backlog = self._backlog
        try:
            while not self._closing:
                self._drain()
                if not backlog:
                    for descriptor, _ in poller.poll():
                        if descriptor == self._wakeup.descriptor:
                            self._wakeup.clear()
                    continue
                self._deliver(min(TURN, len(backlog)))
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
            try:
                while self._backlog_bytes < BACKLOG_BYTES:
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
                        self._reject("a topic without events", first)
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
        self._reject("a topic without events", first)
        if not _get(self._socket, _RCVMORE):
            self._reject("a topic without events", frame)
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
        if len(self._first_frames) >= REMEMBERED:
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
            self._reject(problem, first)

    def _reject(self, problem: object, frame: bytes) -> None:
        self.rejected += 1
        now = monotonic()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAIN_EVERY
            logger.warning("rejected a message (%d so far): %s: %r", self.rejected, problem, frame[:60])

    def _deliver(self, messages: int) -> None:
        """Hand over the events of the oldest messages of the backlog."""
        if self._forget:
            self._forget_unwanted()
        bus = self._bus
        known = bus.known_topics
        backlog, ledger = self._backlog, self._ledger
        for _ in range(messages):
            origin, pack = backlog.popleft()
            self._backlog_bytes -= len(pack)
            try:
                events = decode_events(pack)
            except WireError as error:
                self._reject(error, pack)
                continue
            seen = ledger.of(origin)
            for topic, number, envelope in events:
                subscribers = known.get(topic)
                if subscribers is None:
                    subscribers = bus.subscribers_of(topic)
                if not subscribers:
                    continue
                if seen.get(topic) == number - 1 and envelope is not None:
                    seen[topic] = number
                elif not self._judge(seen, origin, topic, number, envelope, subscribers) or envelope is None:
                    continue
                self.delivered += 1
                if len(subscribers) == 1:
                    bus.hand_over(subscribers[0], topic, envelope)
                    continue
                for subscription in subscribers:
                    bus.hand_over(subscription, topic, envelope.copy())

    def _judge(
        self,
        seen: dict[str, int],
        origin: bytes,
        topic: str,
        number: int,
        envelope: Envelope | None,
        subscribers: tuple[Subscription, ...],
    ) -> bool:
        """The slow path: anything but the next number of a known topic. Whether to deliver it."""
        if topic not in seen:
            if len(self._sources) >= REMEMBERED:
                self._sources.clear()
            self._sources[origin] = (envelope or {}).get("src") or topic.partition(".")[0]
            try:
                check_topic(topic)
            except ValueError as error:
                self._reject(error, topic.encode(errors="replace"))
                return False
        if envelope is None:
            missed = self._ledger.judge_mark(seen, topic, number)
        else:
            missed = self._ledger.judge(seen, topic, number)
        if missed == DUPLICATE:
            self.duplicates += 1
            return False
        if missed:
            self._report(missed, origin, topic, envelope, subscribers)
        return envelope is not None

    def _report(
        self,
        missed: int,
        origin: bytes,
        topic: str,
        envelope: Envelope | None,
        subscribers: tuple[Subscription, ...],
    ) -> None:
        now = monotonic()
        if all(self._ready_at.get(subscription, now) >= now for subscription in subscribers):
            self.joining += missed
            return
        self.gaps += 1
        self.missed += missed
        gap = {"origin": origin.hex(), "src": self._sources.get(origin), "topic": topic, "missed": missed}
        self._bus.announce("fabric.gap", gap)

    def _forget_unwanted(self) -> None:
        self._forget = False
        wanted = self._bus.subscribers_of
        self._ledger.keep(topic for topic in self._ledger.topics() if wanted(topic))
