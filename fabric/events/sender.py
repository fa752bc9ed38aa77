"""Sender: encodes events, and sends them and what waits in the outbox. Owns the XPUB towards the proxy.

When an event is sent is decided by `fabric.events.pacing`; how events are packed and numbered, by `fabric.events.outbox`.

Every pyzmq call gives up the GIL and may wait 5 ms to get it back while another thread computes; a lock held over one
is a queue of such waits (50 ms at the 90th percentile). So no thread waits for this socket:

    publisher   encodes the event, then as pacing decides: SEND tries the lock and sends, GATHER appends the event and
                wakes the tail thread, HOLD appends it.
    tail        a thread that is woken when an event was left in the outbox: sends one message per turn, once no
                publisher has been active for `TAIL_DELAY`. It clears its wake-up flag before it looks into the outbox,
                so no event is left behind.
    control     (in `link`) is woken by the socket's descriptor and by timers: reads subscriptions, and wakes the tail
                for events that a full pipe or a lost link had held up.

A send can consume the readiness edge of the descriptor (ZMQ_FD): then it stays silent about subscriptions that have
arrived. So the holder of the lock checks ZMQ_EVENTS itself, once a millisecond.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from math import inf
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any

import orjson
import zmq
from zmq.backend import Socket as _Backend

from fabric.events.interest import NOBODY, Interest
from fabric.events.offline_queue import OutboxLimits
from fabric.events.outbox import PACK_BYTES, Outbox
from fabric.events.pacing import BURST, FULL_PIPE_DELAY, GATHER, HOLD, MAX_TURN, SEND, SLOW_SEND, Pacing, TailPacing
from fabric.protocol.envelope import Envelope
from fabric.protocol.sequence import TailMarks
from fabric.system.interrupts import interrupts

logger = logging.getLogger("fabric.link")

#: Seconds between polls for subscriptions while events are sent.
POLL_INTERVAL = 0.001
#: Seconds between searches for topics that need a mark (see `fabric.protocol.events`), and marks sent at once.
MARK_INTERVAL = 0.5
MARKS_AT_ONCE = 200
#: Topics of which a refused event is logged.
MAX_LOGGED_TOPICS = 1_000

# The sugar of pyzmq's Socket (enum flags, trackers, multipart lists) is most of its cost: 2.5 µs a message.
_send: Callable[..., Any] = _Backend.send
_recv: Callable[..., Any] = _Backend.recv
_get: Callable[..., Any] = _Backend.get
_NOBLOCK = int(zmq.NOBLOCK)
_MORE_NOBLOCK = int(zmq.SNDMORE | zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_RCVMORE = int(zmq.RCVMORE)
_POLLIN = int(zmq.POLLIN)


class Sender:
    """The outgoing half of a link. `changed` is called, on any thread, when subscriptions or the link have changed.

    `history` is how many bytes of sent packs are kept for retransmission.
    """

    # Attributes in slots are found faster than in a dict: with more than 30 of them that was a fifth of `forward`.
    __slots__ = (
        "_append",
        "_changed",
        "_closing",
        "_lock",
        "_logged_topics",
        "_marks",
        "_marks_at",
        "_max_bytes",
        "_pacing",
        "_poll_at",
        "_probes",
        "_socket",
        "_thread",
        "_unpolled",
        "_wakeup_pending",
        "_wakeups",
        "descriptor",
        "ended",
        "interest",
        "outbox",
        "rejected",
        "unencodable",
    )

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        origin: bytes,
        *,
        limits: OutboxLimits,
        max_bytes: int,
        changed: Callable[[], None],
        history: int = 0,
    ) -> None:
        self.interest = Interest()
        self.outbox = Outbox(origin, limits, history)
        self._append = self.outbox.append
        self.descriptor: int = socket.fileno()
        #: Events that orjson cannot encode, or over the size limit; XPUB messages that are not subscriptions.
        self.unencodable = 0
        self.rejected = 0
        #: Whether the socket is closed. `close` leaves it open in a signal handler that interrupts a holder of the lock.
        self.ended = False
        self._socket = socket
        self._lock = threading.Lock()  # around every call on the socket; publishers never wait for it
        self._max_bytes = max_bytes
        self._changed = changed
        self._probes: dict[bytes, bool] = {}  # prefix → sent on this link
        self._logged_topics: set[str] = set()
        self._pacing = Pacing(monotonic())
        self._poll_at = 0.0
        self._unpolled = False  # whether a message was sent since the last poll
        self._marks = TailMarks()
        self._marks_at = 0.0
        self._wakeup_pending = False
        self._closing = False
        self._wakeups: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._tail, name="fabric-tail", daemon=True)
        self._thread.start()

    # The publisher's side

    def forward(self, topic: str, envelope: Envelope) -> None:
        """Send an event to the nodes that have subscribed its topic. Any thread; neither blocks nor raises."""
        routes = self.interest.routes
        route = routes.cache.get(topic)
        if route is None:
            route = routes.of(topic)
        if route == NOBODY:
            return
        try:
            encoded = orjson.dumps(envelope)
        except (TypeError, RecursionError) as error:
            self._refuse(topic, f"orjson cannot encode it: {error}")
            return
        size = len(encoded)
        if size > self._max_bytes:
            self._refuse(topic, f"{size:,} bytes are over the limit of {self._max_bytes:,}")
            return
        pacing = self._pacing
        gathers = pacing.gathers(route, size)
        decision = GATHER if gathers and self._wakeup_pending else pacing.decide(gathers, now := monotonic())
        if decision is GATHER or (decision is SEND and not self._lock.acquire(False)):
            self._append((topic, encoded))
            if not self._wakeup_pending:  # read after appending; see the races in `pacing`
                self._wake_tail()
            return
        if decision is HOLD:
            self._hold(topic, encoded, now)
            return
        try:
            if self.ended:  # after the decision
                self._append((topic, encoded))
            elif self.outbox or not self._send_one(topic, encoded):
                self._append((topic, encoded))
                self._flush(now, 4 * PACK_BYTES)
            if now >= self._poll_at:
                self._poll(now)
            else:
                self._unpolled = True
        finally:
            self._lock.release()
        pacing.sent_at = ended = monotonic()
        if ended - now > SLOW_SEND:
            pacing.back_off(ended)
        if self.outbox and not self._wakeup_pending:
            self._wake_tail()  # a publisher that found the lock taken appended an event meanwhile

    def has_room(self, topic: str) -> bool:
        """Whether the outbox has room for an event on `topic`, or does not need any. Any thread."""
        return not self.outbox.full or self.interest.routes.of(topic) == NOBODY

    def _hold(self, topic: str, encoded: bytes, now: float) -> None:
        self._append((topic, encoded))
        if self.outbox.fresh > BURST and self._lock.acquire(False):
            try:
                self.outbox.hold(now)
            finally:
                self._lock.release()
        if not self._pacing.blocked(now):  # the link came up since the decision
            self._wake_tail()

    def _wake_tail(self) -> None:
        self._wakeup_pending = True
        self._wakeups.put(True)

    def _refuse(self, topic: str, problem: str) -> None:
        self.unencodable += 1
        if topic not in self._logged_topics and len(self._logged_topics) < MAX_LOGGED_TOPICS:
            self._logged_topics.add(topic)
            logger.warning("an event of %r stays in this process: %s (said once a topic)", topic, problem)

    # With the lock held

    def _flush(self, now: float, budget: int) -> None:
        """Send about `budget` bytes of the outbox, for about `MAX_TURN` seconds."""
        self._pacing.gathered = 0
        outbox, socket = self.outbox, self._socket
        routes = self.interest.routes
        while budget > 0:
            topic = outbox.next_topic(routes)
            if topic is None:
                return
            try:
                _send(socket, outbox.head(topic)[0], _MORE_NOBLOCK)
            except zmq.Again:
                self._pacing.full_until = now + FULL_PIPE_DELAY
                outbox.hold(now)
                return
            # A pipe that took the first frame takes the second: libzmq counts whole messages.
            pack = outbox.take(routes)
            _send(socket, pack, _NOBLOCK)
            budget -= len(pack)
            if monotonic() - now > MAX_TURN:
                return  # other threads have the GIL: going on would keep the lock for 5 ms per message

    def _send_one(self, topic: str, encoded: bytes) -> bool:
        """Send an event without the outbox, which is empty. False if it cannot be sent now."""
        self._pacing.gathered = 0
        outbox, socket = self.outbox, self._socket
        frame, head = outbox.head(topic)
        try:
            _send(socket, frame, _MORE_NOBLOCK)
        except zmq.Again:
            return False
        _send(socket, outbox.encode_one(topic, head, encoded), _NOBLOCK)
        return True

    def _poll(self, now: float) -> None:
        """Read subscriptions if there are any, since a send can consume the descriptor's edge. 2 µs, so not each time.

        ZMQ_EVENTS is read first because that keeps the GIL. A receive that finds nothing would give it up, with the lock.
        """
        self._poll_at = now + POLL_INTERVAL
        self._unpolled = False
        if _get(self._socket, _EVENTS) & _POLLIN:
            self._read_subscriptions(now)
        self.interest.expire(now)

    def _receive(self) -> list[bytes]:
        batch: list[bytes] = []
        socket = self._socket
        while True:
            try:
                frame = _recv(socket, _NOBLOCK)
            except zmq.Again:
                return batch
            if not _get(socket, _RCVMORE):
                batch.append(frame)
                continue
            # Subscriptions have one frame. Any peer may send other messages upstream.
            self.rejected += 1
            while _get(socket, _RCVMORE):
                _recv(socket, _NOBLOCK)

    def _read_subscriptions(self, now: float) -> None:
        before = (self.interest.up, self.interest.losses)
        batch = self._receive()
        if not batch:
            return
        self.interest.read(batch, now)
        up = self.interest.up
        if (up, self.interest.losses) != before:
            self._pacing.down = not up
            self._probes = dict.fromkeys(self._probes, False)
        if up:
            self._marks.restart()
            self._send_probes()
        self._changed()

    def _send_probes(self, *, again: bool = False) -> None:
        for prefix, sent in list(self._probes.items()):
            if (again or not sent) and self.interest.has(prefix):
                try:
                    _send(self._socket, prefix, _NOBLOCK)
                except zmq.Again:
                    return
                self._probes[prefix] = True

    # The control thread's side

    def service(self, now: float) -> None:
        """Read subscriptions, end a blockade, send marks. Called when the descriptor is readable, and periodically."""
        # Not waiting for the lock: a thread that waits for one gives up the GIL, and then holds the lock while it waits for
        # the GIL. The present holder polls by itself.
        if not self._lock.acquire(False):
            sleep(POLL_INTERVAL)
            return
        try:
            self._poll(now)
            self._pacing.full_until = 0.0  # if the pipe is still full, the next send finds out
            if self._pacing.down:
                self.outbox.hold(now)
            if now - self._marks_at >= MARK_INTERVAL:
                self._marks_at = now
                self._send_marks(now)
        finally:
            self._lock.release()
        # Other threads send: this one would hold the lock while it waits for the GIL after each message.
        if self.outbox and not self._pacing.down and not self._wakeup_pending:
            self._wake_tail()

    @property
    def poll_soon(self) -> bool:
        """Whether the control thread should call `service` soon: the pipe was full, or no poll followed the last send."""
        pacing = self._pacing
        return not pacing.down and (pacing.full_until > 0.0 or self._unpolled)

    def _send_marks(self, now: float) -> None:
        routes = self.interest.routes
        for topic, number in self._marks.due(self.outbox.counter.numbers, now, MARKS_AT_ONCE):
            if self._pacing.down or routes.of(topic) == NOBODY:
                continue
            try:
                _send(self._socket, self.outbox.head(topic)[0], _MORE_NOBLOCK)
            except zmq.Again:
                return
            _send(self._socket, self.outbox.mark(topic, number), _NOBLOCK)

    def begin_probe(self, prefix: bytes) -> None:
        """Send the probe `prefix` once it shows in the interest; `resend_probes` and a new link send it again."""
        locked = self._lock.acquire(not interrupts(_LOCK_HOLDERS))
        try:
            self._probes[prefix] = False
            if locked and self.interest.up:
                self._read_subscriptions(monotonic())
                self._send_probes()
        finally:
            if locked:
                self._lock.release()

    def resend_probes(self) -> None:
        """Send all probes again: one may have been lost in a full pipe."""
        with self._lock:
            if self.interest.up:
                self._send_probes(again=True)

    def end_probe(self, prefix: bytes) -> None:
        """Stop sending a probe: it came back, or its barrier has ended."""
        locked = self._lock.acquire(not interrupts(_LOCK_HOLDERS))
        try:
            self._probes.pop(prefix, None)
        finally:
            if locked:
                self._lock.release()

    def close(self) -> int:
        """End the tail thread and close the socket. Returns the number of events abandoned; see also `ended`."""
        self._closing = self._pacing.down = True
        self._wakeups.put(False)
        self._thread.join()
        if self._lock.acquire(not interrupts(_LOCK_HOLDERS)):
            try:
                self._pacing.down = True  # the last holder may have found the link up
                self._poll_at = inf
                self._socket.close(linger=0)
                self.ended = True
            finally:
                self._lock.release()
        return self.outbox.abandon()

    # The tail thread

    def _tail(self) -> None:
        pacing = self._pacing
        while self._wakeups.get():
            self._wakeup_pending = (
                False  # before looking into the outbox: an event appended later wakes this thread again
            )
            tail = TailPacing(pacing)
            # `_closing` beside `down`: a thread that reads subscriptions meanwhile may set `down` to False again.
            while self.outbox and not pacing.down and not self._closing:
                if tail.delay:
                    sleep(tail.delay)
                if not tail.is_quiet() or not self._lock.acquire(False):
                    tail.back_off()
                    continue
                try:
                    began = monotonic()
                    if not pacing.down:
                        self._flush(began, PACK_BYTES)
                    self._unpolled = True
                finally:
                    self._lock.release()
                tail.sent(began, monotonic())


#: Functions that hold the lock; see `fabric.system.interrupts`.
_LOCK_HOLDERS = frozenset(
    each.__code__ for each in (Sender.forward, Sender.service, Sender.begin_probe, Sender.end_probe, Sender._tail)
)
