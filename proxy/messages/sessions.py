"""Sessions: what messages are addressed to. A session is one holder of a name on one connection.

A session **ends for good** when the name is released or taken, when its node leaves, is lost, or comes back over another
connection: then messages on their way to the old connection are lost, and a new message must not overtake a repeat of
them. Each peer that has found a session gets GONE once, when it ends.

Only the death of a proxy ends no session, because then *every* sender repeats what was not acknowledged. During the
**recovery**, one timeout after the start, a node may bring along a session that a former proxy granted.

    FIND of a session │ known here   not known, recovering            not known, recovered
    ──────────────────┼───────────────────────────────────────────────────────────────────
    is answered       │ FOUND        when its node is back: FOUND     GONE
                      │              when the recovery is over: GONE

Without that wait a sender that is back before its holder would mistake a restart of the proxy for the end of the holder.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from fabric.protocol.verbs import FOUND, GONE
from proxy.messages.records import Outgoing, RegistrationRecord

#: Peers that get GONE for one session. Further peers learn of its end from the answer to their next SEND.
MAX_WATCHERS = 1_024
#: Sessions of a former proxy that peers wait for.
MAX_AWAITED = 100_000


class Sessions:
    """The sessions of one proxy. Their ids begin with `boot`, so they differ from those of any other proxy.

    `peers` are the connected peers; only these get answers.
    """

    def __init__(self, boot: str, recover_until: float, peers: Container[bytes], outgoing: Outgoing) -> None:
        #: Session → holder. Read for every message.
        self.open: dict[bytes, RegistrationRecord] = {}
        self.recovering = True
        self.recover_until = recover_until
        self._prefix = f"{boot}-".encode()
        self._serial = 0
        #: Sessions of a former proxy: name and waiting peers of the awaited ones; and those that have ended here.
        self._awaited: dict[bytes, tuple[bytes, set[bytes]]] = {}
        self._ended: set[bytes] = set()
        self._peers = peers
        self._outgoing = outgoing

    def new(self) -> bytes:
        """A new session id."""
        self._serial += 1
        return b"%s%x" % (self._prefix, self._serial)

    def may_return(self, session: bytes) -> bool:
        """Whether a node that brings this session along gets it back."""
        return (
            self.recovering
            and bool(session)
            and session not in self.open
            and session not in self._ended
            and not session.startswith(self._prefix)
        )

    def begin(self, registration: RegistrationRecord) -> None:
        """Open the session of a registration for messages."""
        self.open[registration.session] = registration

    def end(self, registration: RegistrationRecord, reason: str) -> None:
        """End the session for good, and send GONE to its watchers."""
        session = registration.session
        del self.open[session]
        if self.recovering and not session.startswith(self._prefix):
            self._ended.add(session)
        self._send_each(registration.watchers, [GONE, registration.name, session, reason.encode()])
        registration.watchers = set()

    def returned(self, registration: RegistrationRecord, shared: bool) -> None:
        """A session of a former proxy is back: answer the peers that wait for it."""
        _, waiting = self._awaited.pop(registration.session, (b"", ()))
        for peer in waiting:
            self.found(peer, registration, registration.session, shared)

    def lost(self, session: bytes) -> None:
        """A session of a former proxy was not granted again: answer the peers that wait for it."""
        self._ended.add(session)
        self._end_wait(session, b"unknown")

    def recovered(self) -> None:
        """End the recovery: sessions that have not come back have ended."""
        self.recovering = False
        for session in list(self._awaited):
            self._end_wait(session, b"timeout")
        self._ended.clear()

    def found(self, peer: bytes, registration: RegistrationRecord, asked: bytes, shared: bool) -> None:
        """Answer FOUND, and make `peer` a watcher of the session."""
        if len(registration.watchers) < MAX_WATCHERS:
            registration.watchers.add(peer)
        flag = b"1" if shared else b"0"
        self._outgoing.append((peer, [FOUND, registration.name, asked, registration.session, flag]))

    def wait_for(self, peer: bytes, name: bytes, session: bytes) -> None:
        """Answer `peer` when the session has come back, or with GONE if it cannot."""
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
