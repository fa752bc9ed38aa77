"""Events out: who sends what waits in the outbox, and when. Owns the XPUB towards the proxy.

Every pyzmq call gives up the GIL and may wait 5 ms to get it back while another thread computes; a lock held over one
is a queue of such waits (50 ms at the 90th percentile). So nobody ever waits for this socket:

    publisher   appends the encoded event. Calm (`BURST` at once, then `CALM_RATE`): tries the lock and sends.
                Busy: leaves it to gather, and sends when a message is full.
                Routes alternate (packs would stay short): tries the lock and sends, event by event.
                The lock is taken, or sending was slow of late: leaves it to the tail.
    tail        a thread that is woken when something was left: sends one message a turn once nobody has sent for
                `TAIL_DELAY`. It clears its wake-up before it looks, so nothing is left behind.
    control     (in `link`) is woken by the socket's descriptor and by timers: reads subscriptions, and wakes the tail
                for what a full pipe or a lost link had held up.

While somebody sends, the descriptor can stay silent about subscriptions that arrive: so whoever holds the lock asks for
them, once a millisecond. Which thread sends is decided by flags that are read without a lock: an event is appended
first and the flags are read after that, so that each of them errs towards waking the tail once too often.
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

#: Seconds between looks for subscriptions while events are sent.
POLL_INTERVAL = 0.001
#: Seconds between looks for topics whose last number must be told (see `wire`: marks), and how many at one look.
MARK_INTERVAL = 0.5
MARKS_AT_ONCE = 200

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
    """The outgoing half of a link. `changed` is called (on any thread) when subscriptions or the link have changed."""

    # More than 30 attributes without slots are looked up in a dict that is not shared: a fifth of `forward`.
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
        "_tail_awake",
        "_thread",
        "_unpolled",
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
        #: Events orjson refused, or over the size limit; XPUB messages that were no subscription.
        self.unencodable = 0
        self.rejected = 0
        #: Whether the socket is closed. It is not by a signal handler that interrupts the sending.
        self.ended = False
        self._socket = socket
        self._lock = threading.Lock()  # around every call on the socket; never waited for by a publisher
        self._max_bytes = max_bytes
        self._changed = changed
        self._probes: dict[bytes, bool] = {}  # prefix → sent on this link
        self._logged_topics: set[str] = set()
        self._pacing = Pacing(monotonic())
        self._poll_at = 0.0
        self._unpolled = False  # something was sent since the last look
        self._marks = TailMarks()
        self._marks_at = 0.0
        self._tail_awake = False
        self._closing = False
        self._wakeups: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._tail, name="fabric-tail", daemon=True)
        self._thread.start()

    # The publisher's side

    def forward(self, topic: str, envelope: Envelope) -> None:
        """Send an event to whoever wants it. Any thread; neither blocks nor raises."""
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
        decision = GATHER if gathers and self._tail_awake else pacing.decide(gathers, now := monotonic())
        if decision is GATHER or (decision is SEND and not self._lock.acquire(False)):
            self._append((topic, encoded))
            if not self._tail_awake:  # asked after appending: a tail that was awake before may have looked already
                self._wake_tail()
            return
        if decision is HOLD:
            self._hold(topic, encoded, now)
            return
        try:
            if self.ended:  # since we looked
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
        if self.outbox and not self._tail_awake:
            self._wake_tail()  # somebody found the lock taken, and relies on us

    def has_room(self, topic: str) -> bool:
        """Whether an event on `topic` would be taken without costing another one. Any thread."""
        return not self.outbox.full or self.interest.routes.of(topic) == NOBODY

    def _hold(self, topic: str, encoded: bytes, now: float) -> None:
        self._append((topic, encoded))
        if self.outbox.fresh > BURST and self._lock.acquire(False):
            self.outbox.hold(now)
            self._lock.release()
        if not self._pacing.blocked(now):
            self._wake_tail()  # the link came up just before

    def _wake_tail(self) -> None:
        self._tail_awake = True
        self._wakeups.put(True)

    def _refuse(self, topic: str, problem: str) -> None:
        self.unencodable += 1
        if topic not in self._logged_topics and len(self._logged_topics) < 1_000:
            self._logged_topics.add(topic)
            logger.warning("an event of %r stays in this process: %s (said once a topic)", topic, problem)

    # With the lock held

    def _flush(self, now: float, budget: int) -> None:
        """Send what waits, about `budget` bytes of it, for about `MAX_TURN`."""
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
                return  # other threads have the GIL: to go on now would keep the lock for 5 ms a message

    def _send_one(self, topic: str, encoded: bytes) -> bool:
        """Send an event past the empty outbox; False if it cannot be sent now."""
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
        """Sending may have taken in the news that the descriptor would have told about: ask (2 µs, so not each time).

        Asking keeps the GIL. To read, and be told that there is nothing, would give it up, and keep the lock meanwhile.
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
            # Subscriptions have one frame. A SUB's peer can send other things upstream, and any peer can be one.
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
        """Read subscriptions, and let go of what was held up. Called when the descriptor stirs, and now and then."""
        # Not waited for: a thread that waits for a lock gives up the GIL, and has the lock while it waits for that. Who
        # has it now looks by itself.
        if not self._lock.acquire(False):
            sleep(POLL_INTERVAL)
            return
        try:
            self._poll(now)
            self._pacing.full_until = 0.0  # a full pipe will say so again
            if self._pacing.down:
                self.outbox.hold(now)
            if now - self._marks_at >= MARK_INTERVAL:
                self._marks_at = now
                self._send_marks(now)
        finally:
            self._lock.release()
        # Sending is left to the others: this thread would hold the lock while it waits for the GIL after each message.
        if self.outbox and not self._pacing.down and not self._tail_awake:
            self._wake_tail()

    @property
    def poll_soon(self) -> bool:
        """Whether the control thread should look soon: something waits for a full pipe, or nobody looked since a send."""
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
        """Send `prefix` round once it shows in the interest; `resend_probes` and a new link repeat it."""
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
        """A probe may have been lost in a full pipe."""
        with self._lock:
            if self.interest.up:
                self._send_probes(again=True)

    def end_probe(self, prefix: bytes) -> None:
        """It came back, or nobody waits for it any more."""
        locked = self._lock.acquire(not interrupts(_LOCK_HOLDERS))
        try:
            self._probes.pop(prefix, None)
        finally:
            if locked:
                self._lock.release()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self.outbox

    def close(self) -> int:
        """End the tail thread and close the socket; how many events were abandoned. See `ended`."""
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
            self._tail_awake = False  # before the look: what is appended from here on wakes us again
            tail = TailPacing(pacing)
            # Closing is a flag of its own: a thread that reads subscriptions meanwhile may set `down` to False.
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


#: What holds the lock; see `fabric.system.interrupts`.
_LOCK_HOLDERS = frozenset(
    each.__code__ for each in (Sender.forward, Sender.service, Sender.begin_probe, Sender.end_probe, Sender._tail)
)
