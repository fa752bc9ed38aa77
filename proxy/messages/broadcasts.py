"""Messages to everybody: one acknowledgement for many holders.

A broadcast is delivered to each endpoint under a return address of the proxy's own, which counts the answers. The sender
hears once how many inboxes have it: when every holder has answered, one way or the other, or when the patience is over
(half of what the sender has), so that one holder that is stopped costs the others' acknowledgement half a deadline,
not all of it.

What is counted here dies with the proxy. The sender then repeats the broadcast, whoever has it acknowledges it again,
and the new proxy counts again.
"""

from __future__ import annotations

from collections.abc import Iterable

from fabric.protocol.verbs import ACK
from proxy.messages.records import Outgoing, Refusal

#: Return addresses of broadcasts start with this. Longer than an origin, so that it can never be taken for one.
PREFIX = b"broadcast"
MAX_PENDING = 1_000
#: For a sender that does not say how long it waits.
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
    """The broadcasts that are not answered by everybody yet."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._pending: dict[bytes, _Pending] = {}
        self._outgoing = outgoing
        self._serial = 0

    def __len__(self) -> int:
        return len(self._pending)

    def begin(self, sender: bytes, id: bytes, sessions: Iterable[bytes], ttl: float | None, now: float) -> bytes:
        """The return address under which to deliver it to `sessions`. `sender` is the peer to acknowledge it to."""
        if len(self._pending) >= MAX_PENDING:
            raise Refusal("busy", text=f"{MAX_PENDING:,} broadcasts are waiting to be acknowledged")
        # The same one again: its sender lost the link. One answer is enough.
        for back in [key for key, pending in self._pending.items() if pending.id == id]:
            del self._pending[back]
        self._serial += 1
        back = b"%s%d" % (PREFIX, self._serial)
        deadline = now + (DEFAULT_TIMEOUT if ttl is None else ttl / 2)
        pending = self._pending[back] = _Pending(sender, id, set(sessions), deadline)
        self._finish_if_complete(back, pending)
        return back

    def answered(self, back: bytes, session: bytes, delivered: bool) -> None:
        """One holder has it, or will not have it. From a former life, or twice: nothing."""
        pending = self._pending.get(back)
        if pending is not None and session in pending.waiting:
            pending.waiting.discard(session)
            pending.delivered += delivered
            self._finish_if_complete(back, pending)

    def tick(self, now: float) -> None:
        """Answer with what there is where the patience is over."""
        for back, pending in list(self._pending.items()):
            if now >= pending.deadline:
                pending.waiting.clear()
                self._finish_if_complete(back, pending)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None: never."""
        return min((pending.deadline for pending in self._pending.values()), default=None)

    def _finish_if_complete(self, back: bytes, pending: _Pending) -> None:
        if not pending.waiting:
            del self._pending[back]
            self._outgoing.append((pending.sender, [ACK, pending.id, b"%d" % pending.delivered]))
