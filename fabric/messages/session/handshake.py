"""The handshake with the proxy (HELLO, WELCOME) and the heartbeats after it: the state of a session.

    new ──start──▸ connecting ──WELCOME of the last HELLO──▸ welcomed ──close, BYE replaced──▸ closed
                    ▴   │  ▴                                    │
                    └───┘  └────────────────────────────────────┘
          HELLO each second   link_lost · link_back of another proxy · silence for the timeout ·
                              PONG or ERROR saying that it does not know us · BYE timeout, shutdown, …

A HELLO has a number, and WELCOME repeats it: between a HELLO and *its* WELCOME nothing leaves that must be in order. So
all frames that a dying link swallowed or a DEALER kept come before the HELLO, and all that are sent again after it.

All times are monotonic. A tick that is late by more than a heartbeat (the process was stopped or starved) starts the
count of the proxy's silence anew: the proxy may have sent frames meanwhile that were not read yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Terms

NEW, CONNECTING, WELCOMED, CLOSED = "new", "connecting", "welcomed", "closed"

#: Seconds until a HELLO without an answer is repeated. It waits in the DEALER's pipe while the link is down, so a repeat
#: is needed only for a HELLO that was lost.
HELLO_INTERVAL = 1.0
#: Seconds until the first heartbeat. Less than the interval, so that the node's report is not missing for long.
FIRST_PING_DELAY = 1.0
#: Terms before the first WELCOME.
DEFAULT_TERMS = Terms("", 5.0, 15.0, 10 * 1024 * 1024)
#: Verbs that must not reach a proxy before its WELCOME. They are sent anew after it.
_AFTER_WELCOME = frozenset(
    (verbs.HELLO, verbs.REGISTER, verbs.UNREGISTER, verbs.FIND, verbs.SEND, verbs.ASK, verbs.LIST, verbs.PING)
)


class Handshake:
    """The state of one session towards its proxy. Frames go to `outgoing`; `report` makes the payload of a heartbeat."""

    def __init__(self, identity: Identity, outgoing: deque[list[bytes]], report: Callable[[], bytes] = bytes) -> None:
        self.state = NEW
        self.terms = DEFAULT_TERMS
        self.identity = identity
        self.connects = 0
        self._outgoing = outgoing
        self._report = report
        self._attempt = 0
        self._hello_at = self._ping_at = self._last_received = 0.0
        #: `tick` is late after this, plus a heartbeat.
        self._tick_by = 0.0

    def connect(self, now: float) -> None:
        """Send HELLO, and remove from `outgoing` the frames that must not arrive before the WELCOME."""
        if self.state == NEW:
            self._tick_by = now + self.terms.heartbeat
        self.state = CONNECTING
        self._attempt += 1
        outgoing = self._outgoing
        # Rotated once, not rebuilt: another thread may be taking frames from the left meanwhile.
        for _ in range(len(outgoing)):
            try:
                frames = outgoing.popleft()
            except IndexError:
                break
            if frames[0] not in _AFTER_WELCOME:
                outgoing.append(frames)
        outgoing.append(verbs.encode(verbs.Hello(verbs.VERSION, self._attempt, self.identity)))
        self._last_received, self._hello_at = now, now + HELLO_INTERVAL

    def welcome(self, welcome: verbs.Welcome, now: float) -> bool:
        """Accept a WELCOME. False if it is not the answer to our last HELLO."""
        if welcome.attempt != self._attempt or welcome.version != verbs.VERSION:
            return False
        self.state, self.terms = WELCOMED, welcome.terms
        self._ping_at = now + min(self.terms.heartbeat, FIRST_PING_DELAY)
        self.connects += 1
        return True

    def received(self, now: float) -> None:
        """Record that a frame has come from the proxy."""
        self._last_received = now

    def rejected(self, now: float) -> None:
        """The proxy rejected our HELLO (`full`, `version`). Retry after a full timeout, not every second."""
        self._hello_at = now + self.terms.timeout

    def tick(self, now: float) -> bool:
        """Send what is due: a HELLO or a heartbeat. False if the proxy has been silent for its timeout."""
        if self.is_late(now):
            self._last_received = now
        self._tick_by = now + self.terms.heartbeat
        if self.state == WELCOMED:
            if now - self._last_received >= self.terms.timeout:
                return False
            if now >= self._ping_at:
                self.ping()
                self._ping_at = now + self.terms.heartbeat
        elif self.state == CONNECTING and now >= self._hello_at:
            self.connect(now)
        return True

    def ping(self) -> None:
        """Send a heartbeat, with the node's report."""
        self._outgoing.append([verbs.PING, b"ping-%d" % self._attempt, self._report()])

    def is_late(self, now: float) -> bool:
        """Whether a tick at `now` is so late that the silence of a peer proves nothing."""
        return now - self._tick_by > self.terms.heartbeat

    def next_deadline(self) -> float:
        """The time at which `tick` is due."""
        if self.state == CONNECTING:
            return min(self._tick_by, self._hello_at)
        if self.state == WELCOMED:
            return min(self._tick_by, self._ping_at, self._last_received + self.terms.timeout)
        return self._tick_by
