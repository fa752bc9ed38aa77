"""What messages are addressed to: a holder of a name, on one connection.

A **session** ends for good: when the name is given back or taken, when its node leaves, falls silent, or comes back
over another connection, for then what was on its way to the old one is lost, and what is sent now must not overtake a
repeat of it. Whoever found a session is told GONE when it ends, once.

Only a proxy's death does not end sessions, because then *every* sender repeats what was not acknowledged. During the
**recovery**, one timeout long after the start, a node may bring a session along that a former proxy gave it.

    FIND of a session │ known here   not known, recovering            not known, recovered
    ──────────────────┼───────────────────────────────────────────────────────────────────
    is answered       │ FOUND        when its node is back: FOUND     GONE
                      │              when the recovery is over: GONE

Without that wait a sender that is back before its holder would take a restart of the proxy for the holder's end.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from fabric.protocol.verbs import FOUND, GONE
from proxy.messages.records import Outgoing, RegistrationRecord

#: Peers that are told of the end of one session. Who comes after them learns it from the answer to the next SEND.
MAX_WATCHERS = 1_024
#: Sessions of a former proxy that somebody waits for.
MAX_AWAITED = 100_000


class Sessions:
    """The sessions of one life of a proxy. `boot` makes them unlike those of any other, `peers` says who is here."""

    def __init__(self, boot: str, recover_until: float, peers: Container[bytes], outgoing: Outgoing) -> None:
        #: What is addressed to whom: read for every message.
        self.open: dict[bytes, RegistrationRecord] = {}
        self.recovering = True
        self.recover_until = recover_until
        self._prefix = f"{boot}-".encode()
        self._serial = 0
        #: Sessions of a former proxy: their name and who waits for them; and which have ended under this one.
        self._awaited: dict[bytes, tuple[bytes, set[bytes]]] = {}
        self._ended: set[bytes] = set()
        self._peers = peers
        self._outgoing = outgoing

    def new(self) -> bytes:
        """A session nobody ever had."""
        self._serial += 1
        return b"%s%x" % (self._prefix, self._serial)

    def may_return(self, session: bytes) -> bool:
        """Whether a node that brings this session along may have it back."""
        return (
            self.recovering
            and bool(session)
            and session not in self.open
            and session not in self._ended
            and not session.startswith(self._prefix)
        )

    def begin(self, registration: RegistrationRecord) -> None:
        """Messages may be sent to `registration.session` from now on."""
        self.open[registration.session] = registration

    def end(self, registration: RegistrationRecord, reason: str) -> None:
        """No more message is ever delivered to it; its watchers are told."""
        session = registration.session
        del self.open[session]
        if self.recovering and not session.startswith(self._prefix):
            self._ended.add(session)
        self._send_each(registration.watchers, [GONE, registration.name, session, reason.encode()])
        registration.watchers = set()

    def returned(self, registration: RegistrationRecord, shared: bool) -> None:
        """Tell those who waited for its session that it is here."""
        _, waiting = self._awaited.pop(registration.session, (b"", ()))
        for peer in waiting:
            self.found(peer, registration, registration.session, shared)

    def lost(self, session: bytes) -> None:
        """Its node brought it along and did not get it back."""
        self._ended.add(session)
        self._end_wait(session, b"unknown")

    def recovered(self) -> None:
        """The recovery is over: who has not come back by now has no session any more."""
        self.recovering = False
        for session in list(self._awaited):
            self._end_wait(session, b"timeout")
        self._ended.clear()

    def found(self, peer: bytes, registration: RegistrationRecord, asked: bytes, shared: bool) -> None:
        """Tell `peer` of the session, and remember to tell it of its end."""
        if len(registration.watchers) < MAX_WATCHERS:
            registration.watchers.add(peer)
        flag = b"1" if shared else b"0"
        self._outgoing.append((peer, [FOUND, registration.name, asked, registration.session, flag]))

    def wait_for(self, peer: bytes, name: bytes, session: bytes) -> None:
        """Tell `peer` when the session has come back, or that it has not."""
        if self.may_return(session) and (session in self._awaited or len(self._awaited) < MAX_AWAITED):
            _, waiting = self._awaited.setdefault(session, (name, set()))
            if len(waiting) < MAX_WATCHERS:
                waiting.add(peer)
        else:
            self._outgoing.append((peer, [GONE, name, session, b"unknown"]))

    def leftovers(self) -> dict[str, int]:
        """Sessions of a former proxy that are waited for, or known to have ended. Both are 0 after the recovery."""
        return {"awaited sessions": len(self._awaited), "ended sessions": len(self._ended)}

    def _end_wait(self, session: bytes, reason: bytes) -> None:
        name, waiting = self._awaited.pop(session, (b"", ()))
        self._send_each(waiting, [GONE, name, session, reason])

    def _send_each(self, peers: Iterable[bytes], frames: list[bytes]) -> None:
        for peer in peers:
            if peer in self._peers:
                self._outgoing.append((peer, frames))
