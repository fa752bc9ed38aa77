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
from fabric.protocol.envelope import Envelope
from fabric.protocol.sequence import TailMarks
from fabric.system.interrupts import interrupts

logger = logging.getLogger("fabric.link")

#: Events that leave at once in a burst, and per second after it. Up to here packing would only delay.
BURST = 16
CALM_RATE = 4_000.0
#: Seconds without a send before the tail thread takes over from the publishers.
TAIL_DELAY = 0.000_2
#: The longest that it waits between looks while they do send.
TAIL_PATIENCE = 0.005
#: A send that took longer says that other threads hold the GIL: publishers leave sending alone for `SHY_SECONDS`.
SLOW_SEND = 0.004
SHY_SECONDS = 0.01
#: Events in a row of one route below which a pack is not worth waiting for.
SHORT_RUN = 2.5
#: Seconds that one turn of sending may take.
TURN_SECONDS = 0.002
#: Seconds that nobody tries to send after the pipe was full.
FULL_SECONDS = 0.001
#: Seconds between looks for subscriptions while events are sent.
LOOK_SECONDS = 0.001
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
        "_armed",
        "_changed",
        "_complained",
        "_down",
        "_full_until",
        "_gathered",
        "_lock",
        "_look_at",
        "_marks",
        "_marks_at",
        "_max_bytes",
        "_mean_run",
        "_probes",
        "_route",
        "_run",
        "_sent_at",
        "_shy_until",
        "_socket",
        "_thread",
        "_tokens",
        "_tokens_at",
        "_unlooked",
        "_wakes",
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
        self._complained: set[str] = set()
        self._down = True  # no link yet, or lost
        self._full_until = 0.0  # the pipe is full: do not try before then
        self._look_at = 0.0
        self._unlooked = False  # something was sent since the last look
        self._tokens = float(BURST)
        self._tokens_at = monotonic()
        self._gathered = 0
        self._route = NOBODY
        self._run = 0
        self._mean_run = float(BURST)
        self._shy_until = 0.0
        self._sent_at = 0.0
        self._marks = TailMarks()
        self._marks_at = 0.0
        self._armed = False
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._tail, name="fabric-tail", daemon=True)
        self._thread.start()

    # The publisher's side

    def forward(self, topic: str, envelope: Envelope) -> None:
        """Send an event to whoever wants it. Any thread; neither blocks nor raises."""
        routes = self.interest.routes
        route = routes.memory.get(topic)
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
        if route == self._route:
            self._run += 1
        else:
            self._mean_run += (self._run - self._mean_run) / 8
            self._route = route
            self._run = 1
        gathered = self._gathered = self._gathered + size
        packable = gathered < PACK_BYTES and (self._mean_run >= SHORT_RUN or self._run >= BURST)
        if packable and self._armed:
            self._leave_to_tail(topic, encoded)
            return
        now = monotonic()
        if self._down or now < self._full_until:
            self._append((topic, encoded))
            if self.outbox.fresh > BURST and self._lock.acquire(False):
                self.outbox.hold(now)
                self._lock.release()
            if not self._down and now >= self._full_until:
                self._arm()  # the link came up just before
            return
        tokens = min(self._tokens + (now - self._tokens_at) * CALM_RATE, BURST)
        self._tokens_at = now
        if tokens < 1:
            self._tokens = tokens
            if packable:
                self._leave_to_tail(topic, encoded)
                return
        else:
            self._tokens = tokens - 1
        if now < self._shy_until or not self._lock.acquire(False):
            self._leave_to_tail(topic, encoded)
            return
        try:
            if self.ended:  # since we looked
                self._append((topic, encoded))
            elif self.outbox or not self._send_one(topic, encoded):
                self._append((topic, encoded))
                self._flush(now, 4 * PACK_BYTES)
            if now >= self._look_at:
                self._look(now)
            else:
                self._unlooked = True
        finally:
            self._lock.release()
        self._sent_at = done = monotonic()
        if done - now > SLOW_SEND:
            self._shy_until = done + SHY_SECONDS
        if self.outbox and not self._armed:
            self._arm()  # somebody found the lock taken, and relies on us

    def has_room(self, topic: str) -> bool:
        """Whether an event on `topic` would be taken without costing another one. Any thread."""
        return not self.outbox.full or self.interest.routes.of(topic) == NOBODY

    def _leave_to_tail(self, topic: str, encoded: bytes) -> None:
        self._append((topic, encoded))
        if not self._armed:  # asked after appending: a tail that was awake before may have looked already
            self._arm()

    def _arm(self) -> None:
        self._armed = True
        self._wakes.put(True)

    def _refuse(self, topic: str, problem: str) -> None:
        self.unencodable += 1
        if topic not in self._complained and len(self._complained) < 1_000:
            self._complained.add(topic)
            logger.warning("an event of %r stays in this process: %s (said once a topic)", topic, problem)

    # With the lock held

    def _flush(self, now: float, most: int) -> None:
        """Send what waits, about `most` bytes of it, for about `TURN_SECONDS`."""
        self._gathered = 0
        outbox, socket = self.outbox, self._socket
        routes = self.interest.routes
        while most > 0:
            topic = outbox.next_topic(routes)
            if topic is None:
                return
            try:
                _send(socket, outbox.head(topic)[0], _MORE_NOBLOCK)
            except zmq.Again:
                self._full_until = now + FULL_SECONDS
                outbox.hold(now)
                return
            # A pipe that took the first frame takes the second: libzmq counts whole messages.
            pack = outbox.take(routes)
            _send(socket, pack, _NOBLOCK)
            most -= len(pack)
            if monotonic() - now > TURN_SECONDS:
                return  # other threads have the GIL: to go on now would keep the lock for 5 ms a message

    def _send_one(self, topic: str, encoded: bytes) -> bool:
        """Send an event past the empty outbox; False if it cannot be sent now."""
        self._gathered = 0
        outbox, socket = self.outbox, self._socket
        frame, head = outbox.head(topic)
        try:
            _send(socket, frame, _MORE_NOBLOCK)
        except zmq.Again:
            return False
        _send(socket, outbox.pass_by(topic, head, encoded), _NOBLOCK)
        return True

    def _look(self, now: float) -> None:
        """Sending may have taken in the news that the descriptor would have told about: ask (2 µs, so not each time).

        Asking keeps the GIL. To read, and be told that there is nothing, would give it up, and keep the lock meanwhile.
        """
        self._look_at = now + LOOK_SECONDS
        self._unlooked = False
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
            self._down = not up
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
            sleep(LOOK_SECONDS)
            return
        try:
            self._look(now)
            self._full_until = 0.0  # a full pipe will say so again
            if self._down:
                self.outbox.hold(now)
            if now - self._marks_at >= MARK_INTERVAL:
                self._marks_at = now
                self._send_marks(now)
        finally:
            self._lock.release()
        # Sending is left to the others: this thread would hold the lock while it waits for the GIL after each message.
        if self.outbox and not self._down and not self._armed:
            self._arm()

    @property
    def impatient(self) -> bool:
        """Whether the control thread should look soon: something waits for a full pipe, or nobody looked since a send."""
        return not self._down and (self._full_until > 0.0 or self._unlooked)

    def _send_marks(self, now: float) -> None:
        routes = self.interest.routes
        for topic, number in self._marks.due(self.outbox.counter.numbers, now, MARKS_AT_ONCE):
            if self._down or routes.of(topic) == NOBODY:
                continue
            try:
                _send(self._socket, self.outbox.head(topic)[0], _MORE_NOBLOCK)
            except zmq.Again:
                return
            _send(self._socket, self.outbox.mark(topic, number), _NOBLOCK)

    def begin_probe(self, prefix: bytes) -> None:
        """Send `prefix` round once it shows in the interest; `resend_probes` and a new link repeat it."""
        locked = self._lock.acquire(not interrupts(_HOLDERS))
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
        locked = self._lock.acquire(not interrupts(_HOLDERS))
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
        self._down = True
        self._wakes.put(False)
        self._thread.join()
        if self._lock.acquire(not interrupts(_HOLDERS)):
            try:
                self._down = True  # who had the lock may have found the link up
                self._look_at = inf
                self._socket.close(linger=0)
                self.ended = True
            finally:
                self._lock.release()
        return self.outbox.abandon()

    # The tail thread

    def _tail(self) -> None:
        while self._wakes.get():
            self._armed = False  # before the look: what is appended from here on wakes us again
            pause = TAIL_DELAY
            seen = self._activity()
            while self.outbox and not self._down:
                if pause:
                    sleep(pause)
                if self._activity() != seen or not self._lock.acquire(False):
                    # Publishers are at work, and send by themselves. To look on costs them the GIL, and to send keeps
                    # the lock from them for the 5 ms that each message waits for it: the longer they go on, the rarer.
                    seen = self._activity()
                    pause = min(2 * pause or TAIL_DELAY, TAIL_PATIENCE)
                    continue
                try:
                    began = monotonic()
                    if not self._down:
                        self._flush(began, PACK_BYTES)
                    self._unlooked = True
                    self._sent_at = ended = monotonic()
                finally:
                    self._lock.release()
                seen = self._activity()
                if ended - began > TURN_SECONDS:
                    pause = TAIL_PATIENCE  # somebody computes
                elif self._full_until > ended:
                    pause = TAIL_DELAY
                else:
                    pause = 0.0  # nobody else is at work, so there is nothing to wait for

    def _activity(self) -> tuple[float, float]:
        """What changes when somebody publishes, or sends."""
        return self._tokens_at, self._sent_at


#: What holds the lock; see `fabric.system.interrupts`.
_HOLDERS = frozenset(
    each.__code__ for each in (Sender.forward, Sender.service, Sender.begin_probe, Sender.end_probe, Sender._tail)
)
