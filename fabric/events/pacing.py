"""When an event is sent: the policy of `fabric.events.sender`, without its socket, its lock and its clock.

A send costs several microseconds, gives up the GIL, and may wait 5 ms to get it back while another thread computes. So
a publisher sends at once only while that delays nobody; past that, events gather in the outbox until they fill a message.
The first row of this table whose condition holds decides:

       condition                                              decision
    1  a message gathers, and the tail has been woken         GATHER  the tail sends it if no publisher fills it
    2  the link is down, or the pipe was full a moment ago    HOLD    nothing can be sent; the outbox is bounded
    3  over the rate, and a message gathers                   GATHER  packing saves sends
    4  a send was slow a moment ago                           GATHER  another thread has the GIL
    5  otherwise                                              SEND    or GATHER, if another thread has the lock

The rate is a token bucket: `BURST` events at once, `RATE` a second after that. A message *gathers* while it is below
`PACK_BYTES` and consecutive events have one route: on average `MIN_MEAN_RUN` in a row, or `BURST` in the present run.
Only events of one route share a message, so where routes alternate packs stay short, and publishers send event by event.

Rows 2 to 5 are `Pacing.decide`. Row 1 is one expression in `Sender.forward`: a call and a look at the clock would cost a
fifth of what an event costs on that path.

**Races.** No lock protects these fields. A lost update of a counter (tokens, run, bytes gathered) shifts one decision by
one event. `down` and `full_until` are written by the holder of the sender's lock, and a publisher may read an old value.
No decision made from an old value loses an event or leaves it behind:

    SEND    has the lock and finds the socket as it is: an event that cannot be sent is appended to the outbox.
    GATHER  appends, then reads the flag that a wake-up is pending. The tail clears the flag, then looks into the outbox.
            Either the tail sees the event, or the publisher sees the cleared flag and wakes the tail.
    HOLD    appends, then asks `blocked` again. The control thread ends the blockade, then looks into the outbox. Either
            the control thread sees the event, or the publisher sees the end of the blockade and wakes the tail.

Every error is one wake-up too many.
"""

from __future__ import annotations

from fabric.events.interest import NOBODY
from fabric.events.outbox import PACK_BYTES

#: Events that are sent one by one: at once, and per second after that. Up to here packing would only delay them.
BURST = 16
RATE = 4_000.0
#: Mean number of consecutive events of one route below which packing does not pay.
MIN_MEAN_RUN = 2.5
#: Seconds. A send that took longer shows that other threads hold the GIL: publishers do not send for `SLOW_SEND_BACKOFF`.
SLOW_SEND = 0.004
SLOW_SEND_BACKOFF = 0.01
#: Seconds without an attempt to send after the pipe was full.
FULL_PIPE_DELAY = 0.001
#: Seconds that one turn of sending may take.
MAX_TURN = 0.002
#: Seconds without a send before the tail thread sends; and the longest delay, while publishers go on to send.
TAIL_DELAY = 0.000_2
MAX_TAIL_DELAY = 0.005

SEND, GATHER, HOLD = "send", "gather", "hold"


class Pacing:
    """The decisions of the publishers. Any thread, without a lock; see the module for why that is safe.

    All times are monotonic seconds.
    """

    __slots__ = (
        "_mean_run",
        "_route",
        "_run",
        "_slow_until",
        "_tokens",
        "_tokens_at",
        "down",
        "full_until",
        "gathered",
        "sent_at",
    )

    def __init__(self, now: float) -> None:
        #: Whether there is no link. The sender sets it.
        self.down = True
        #: The pipe was full: no attempt before then. The sender sets it; see `FULL_PIPE_DELAY`.
        self.full_until = 0.0
        #: Bytes of the events since a message left. The sender sets it to 0 when one does.
        self.gathered = 0
        #: When the last send ended.
        self.sent_at = 0.0
        self._tokens = float(BURST)
        self._tokens_at = now
        self._route = NOBODY
        self._run = 0
        self._mean_run = float(BURST)
        self._slow_until = 0.0

    def gathers(self, route: int, size: int) -> bool:
        """Count in an event of `size` bytes. Whether its message is worth waiting for: not full, and of long runs."""
        if route == self._route:
            run = self._run = self._run + 1
        else:
            self._mean_run += (self._run - self._mean_run) / 8
            self._route = route
            run = self._run = 1
        gathered = self.gathered = self.gathered + size
        return gathered < PACK_BYTES and (self._mean_run >= MIN_MEAN_RUN or run >= BURST)

    def decide(self, gathers: bool, now: float) -> str:
        """SEND, GATHER or HOLD the event that was counted in: rows 2 to 5 of the module's table."""
        if self.down or now < self.full_until:
            return HOLD
        tokens = min(self._tokens + (now - self._tokens_at) * RATE, BURST)
        self._tokens_at = now
        if tokens >= 1:
            self._tokens = tokens - 1
        else:
            self._tokens = tokens
            if gathers:
                return GATHER
        return GATHER if now < self._slow_until else SEND

    def blocked(self, now: float) -> bool:
        """Whether nothing can be sent: no link, or a full pipe."""
        return self.down or now < self.full_until

    def back_off(self, now: float) -> None:
        """A send by a publisher took longer than `SLOW_SEND`."""
        self._slow_until = now + SLOW_SEND_BACKOFF

    @property
    def activity(self) -> tuple[float, float]:
        """Changes with each decision past row 2 of the table, and with each send."""
        return self._tokens_at, self.sent_at


class TailPacing:
    """The decisions of the tail thread, from one wake-up to the next. That thread only.

    It sends when publishers do not. Each look costs the publishers the GIL, and each send keeps the lock from them for the
    5 ms that it may wait for the GIL: so the longer publishers are active, the rarer it tries.
    """

    __slots__ = ("_pacing", "_seen", "delay")

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._seen = pacing.activity
        #: Seconds to wait before the next attempt.
        self.delay = TAIL_DELAY

    def is_quiet(self) -> bool:
        """Whether no publisher has been active since the last attempt."""
        return self._pacing.activity == self._seen

    def back_off(self) -> None:
        """Publishers are active, or have the lock: wait twice as long."""
        self._seen = self._pacing.activity
        self.delay = min(2 * self.delay or TAIL_DELAY, MAX_TAIL_DELAY)

    def sent(self, began: float, ended: float) -> None:
        """A turn of sending took from `began` to `ended`."""
        self._pacing.sent_at = ended
        self._seen = self._pacing.activity
        if ended - began > MAX_TURN:
            self.delay = MAX_TAIL_DELAY  # another thread computes
        elif self._pacing.full_until > ended:
            self.delay = TAIL_DELAY
        else:
            self.delay = 0.0  # no other thread is active, so there is nothing to wait for
