"""Messages to everybody: one acknowledgement for many holders.

A broadcast is delivered to each endpoint under a return address of the proxy's own; the answers to it are counted. The
sender gets one ACK with the number of holders that accepted: when every holder has answered, or at the deadline, half of
the sender's time. So one stopped holder delays the acknowledgement by half of that time, not by all of it.

The counts end with the proxy. The sender then repeats the broadcast, holders that have it acknowledge it again, and the new
proxy counts anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from fabric.protocol.verbs import ACK
from proxy.messages.records import Outgoing, Refusal

#: Prefix of the return addresses of broadcasts. Longer than an origin, so that none can be taken for an origin.
PREFIX = b"broadcast"
MAX_PENDING = 1_000
#: Seconds until the acknowledgement, for a sender that does not say how long it waits.
DEFAULT_TIMEOUT = 2.5


class _Pending:
    __slots__ = ("deadline", "delivered", "id", "sender", "waiting")

    def __init__(self, sender: bytes, id: bytes, sessions: set[bytes], deadline: float) -> None:
        self.sender = sender
        self.id = id
        self.waiting = sessions
        self.deadline = deadline
        self.delivered = 0


class Broadcasts:
    """The broadcasts that not all holders have answered yet. Acknowledgements go to `outgoing`."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._pending: dict[bytes, _Pending] = {}
        self._outgoing = outgoing
        self._serial = 0

    def __len__(self) -> int:
        return len(self._pending)

    def begin(self, sender: bytes, id: bytes, sessions: Iterable[bytes], ttl: float | None, now: float) -> bytes:
        """Register a broadcast to `sessions`; the return address for its DELIVERs.

        `sender` is the peer to acknowledge it to, `ttl` the sender's time in seconds. Refusal `busy` if too many broadcasts
        are pending.
        """
        if len(self._pending) >= MAX_PENDING:
            raise Refusal("busy", text=f"{MAX_PENDING:,} broadcasts are waiting to be acknowledged")
        # A repeat after the sender lost its link: the earlier one need not be answered.
        for back in [key for key, pending in self._pending.items() if pending.id == id]:
            del self._pending[back]
        self._serial += 1
        back = b"%s%d" % (PREFIX, self._serial)
        deadline = now + (DEFAULT_TIMEOUT if ttl is None else ttl / 2)
        pending = self._pending[back] = _Pending(sender, id, set(sessions), deadline)
        self._finish_if_complete(back, pending)
        return back

    def answered(self, back: bytes, session: bytes, delivered: bool) -> None:
        """One holder has accepted or refused. No-op for an unknown return address and for a second answer."""
        pending = self._pending.get(back)
        if pending is not None and session in pending.waiting:
            pending.waiting.discard(session)
            pending.delivered += delivered
            self._finish_if_complete(back, pending)

    def tick(self, now: float) -> None:
        """Acknowledge the broadcasts whose deadline has passed, with the count so far."""
        for back, pending in list(self._pending.items()):
            if now >= pending.deadline:
                pending.waiting.clear()
                self._finish_if_complete(back, pending)

    def next_deadline(self) -> float | None:
        """Time of the earliest deadline; None: no broadcast is pending."""
        return min((pending.deadline for pending in self._pending.values()), default=None)

    def _finish_if_complete(self, back: bytes, pending: _Pending) -> None:
        if not pending.waiting:
            del self._pending[back]
            self._outgoing.append((pending.sender, [ACK, pending.id, b"%d" % pending.delivered]))
