"""Whether the proxy knows us, and how we find out.

    new ──start──▸ connecting ──WELCOME of the last HELLO──▸ welcomed ──close, BYE replaced──▸ closed
                    ▴   │  ▴                                    │
                    └───┘  └────────────────────────────────────┘
          HELLO each second   link_lost · link_back of another proxy · silence for the timeout ·
                              PONG or ERROR saying that it does not know us · BYE timeout, shutdown, …

A HELLO has a number, and WELCOME repeats it: between a HELLO and *its* WELCOME nothing leaves that must be in order, so
that whatever a dying link swallowed or a DEALER kept comes before the HELLO, and everything sent again after it.

All times are monotonic. A tick that finds itself late by more than a heartbeat (stopped, starved) begins to count the
proxy's silence anew: the proxy may have spoken all the while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Terms

NEW, CONNECTING, WELCOMED, CLOSED = "new", "connecting", "welcomed", "closed"

#: A HELLO that is not answered is repeated. It waits in the DEALER's pipe meanwhile, so this is for those that got lost.
HELLO_EVERY = 1.0
#: The first heartbeat comes early: what the node reports should not be missing for long.
FIRST_PING = 1.0
#: Until a WELCOME says otherwise.
DEFAULT_TERMS = Terms("", 5.0, 15.0, 10 * 1024 * 1024)
#: What must not reach a proxy that has not welcomed us; it is said anew after the WELCOME.
_ONLY_WELCOMED = frozenset(
    (verbs.HELLO, verbs.REGISTER, verbs.UNREGISTER, verbs.FIND, verbs.SEND, verbs.ASK, verbs.LIST, verbs.PING)
)


class Handshake:
    """The state of one session towards its proxy. Frames go to `outgoing`; `report` makes what a heartbeat carries."""

    def __init__(self, identity: Identity, outgoing: deque[list[bytes]], report: Callable[[], bytes] = bytes) -> None:
        self.state = NEW
        self.terms = DEFAULT_TERMS
        self.identity = identity
        self.connects = 0
        self._outgoing = outgoing
        self._report = report
        self._attempt = 0
        self._hello_at = self._ping_at = self._heard = self._due = 0.0

    def connect(self, now: float) -> None:
        """Say HELLO, and take back what has not left yet and must not come before the WELCOME."""
        if self.state == NEW:
            self._due = now + self.terms.heartbeat
        self.state = CONNECTING
        self._attempt += 1
        outgoing = self._outgoing
        # Turned once round, not rebuilt: a shell may be taking from the left meanwhile.
        for _ in range(len(outgoing)):
            try:
                frames = outgoing.popleft()
            except IndexError:
                break
            if frames[0] not in _ONLY_WELCOMED:
                outgoing.append(frames)
        outgoing.append(verbs.encode(verbs.Hello(verbs.VERSION, self._attempt, self.identity)))
        self._heard, self._hello_at = now, now + HELLO_EVERY

    def welcome(self, welcome: verbs.Welcome, now: float) -> bool:
        """WELCOME. False if it does not answer our last HELLO."""
        if self.state != CONNECTING or welcome.attempt != self._attempt or welcome.version != verbs.VERSION:
            return False
        self.state, self.terms = WELCOMED, welcome.terms
        self._ping_at = now + min(self.terms.heartbeat, FIRST_PING)
        self.connects += 1
        return True

    def heard(self, now: float) -> None:
        """The proxy has said something."""
        self._heard = now

    def turned_away(self, now: float) -> None:
        """It will not have us. To ask again each second would not change its mind."""
        self._hello_at = now + self.terms.timeout

    def tick(self, now: float) -> bool:
        """Do what is due. False if the proxy has been silent for too long."""
        if self.is_late(now):
            self._heard = now
        self._due = now + self.terms.heartbeat
        if self.state == WELCOMED:
            if now - self._heard >= self.terms.timeout:
                return False
            if now >= self._ping_at:
                self.ping()
                self._ping_at = now + self.terms.heartbeat
        elif self.state == CONNECTING and now >= self._hello_at:
            self.connect(now)
        return True

    def ping(self) -> None:
        """A heartbeat, with what the node reports of itself."""
        self._outgoing.append([verbs.PING, b"ping-%d" % self._attempt, self._report()])

    def is_late(self, now: float) -> bool:
        """Whether the tick of now comes so late that nobody may be judged by it."""
        return now - self._due > self.terms.heartbeat

    def next_deadline(self) -> float:
        """When `tick` is due."""
        if self.state == CONNECTING:
            return min(self._due, self._hello_at)
        if self.state == WELCOMED:
            return min(self._due, self._ping_at, self._heard + self.terms.timeout)
        return self._due
