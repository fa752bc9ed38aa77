"""The sending half of a session: messages of ours that are not acknowledged, or not answered, yet.

    send ──▸ its queue ──SEND──▸ in flight ──ACK──▸ Delivered      (a request stays, until REPLIED)
              ▴ │                 │  │  │
              │ │                 │  │  └─ deadline ──▸ DeliveryTimeout
              │ │                 │  └─ link lost ────▸ pinned to its session: sent again to that one only, when the
              │ │                 │                     next proxy says that it is there
              │ │                 └─ GONE ────────────▸ DeliveryUnknown; with `redeliver` back to its queue
              └─┼─ ERROR gone ────┘
                └─ deadline ──▸ NotConnected, DeliveryTimeout

An acknowledged message is never sent again, except for an unanswered request after a reconnect: its holder drops the
repeat, and repeats an answer that was lost with the proxy.

**GONE** says that a session has ended, not which of our messages it still received. Those that it did not receive come
back as `ERROR gone`, in order, before the PONG to a PING sent now. So: send PING; the messages that are still open at the
PONG are in doubt.

**A message in doubt** may have been handled by a session that has ended. It ends as DeliveryUnknown, or is sent to the
next holder if its sender set `redeliver`. A message that the *proxy* refuses the second time ends as DeliveryUnknown,
whatever the reason: it may have been delivered the first time. A message that the *holder* refuses was never handled,
because holders remember the ids they have seen.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any

import orjson

from fabric.errors import (
    Closed,
    DeliveryTimeout,
    DeliveryUnknown,
    EndpointBusy,
    FabricError,
    NotConnected,
    Refused,
    RemoteError,
)
from fabric.messages.session.outcomes import CallFailed, Delivered, RequestReplied
from fabric.messages.session.refusals import refusal
from fabric.messages.session.send_queue import MAX_QUEUES, OutboundMessage, SendQueues
from fabric.protocol import verbs

#: Messages that are not acknowledged, and the bytes of their bodies.
MAX_OPEN = 100_000
MAX_OPEN_BYTES = 256 * 1024 * 1024
#: Reasons for the end of a session after which no holder is left to answer a request that it has acknowledged.
_FINAL = ("timeout", "gone")


class Outbound:
    """The open messages of a session. Frames go to `outgoing`, results to `outcomes`."""

    def __init__(
        self,
        outgoing: deque[list[bytes]],
        outcomes: deque[Any],
        *,
        max_open: int = MAX_OPEN,
        max_bytes: int = MAX_OPEN_BYTES,
        max_queues: int = MAX_QUEUES,
    ) -> None:
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._max_open = max_open
        self._max_bytes = max_bytes
        self._queues = SendQueues(outgoing, max_queues=max_queues)
        self._up = False
        self._open: dict[bytes, OutboundMessage] = {}
        self._bytes = 0
        self._serial = 0
        self._deadlines: list[tuple[float, int, OutboundMessage]] = []
        #: Token of a PING → the session that has ended, and why: at the PONG its open messages are in doubt.
        self._barriers: dict[bytes, tuple[bytes, str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    # Called by the session

    def send(self, message: OutboundMessage, now: float) -> None:
        """Accept a message. ValueError if its id is open already; NotConnected, EndpointBusy if too many are open."""
        if message.id in self._open:
            raise ValueError(f"message id {message.id.decode()!r} is on its way already: ids are used once")
        self._check_limits(message)
        self._serial += 1
        message.serial = self._serial
        self._open[message.id] = message
        self._bytes += len(message.body)
        heappush(self._deadlines, (message.deadline, message.serial, message))
        if len(self._deadlines) > 2 * len(self._open) + 1_000:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].done]
            heapify(self._deadlines)
        self._queues.add(message, now)

    def cancel(self, id: bytes, now: float) -> bool:
        """End a message without an outcome. It may be delivered all the same. False if the id is not open."""
        message = self._open.get(id)
        if message is not None:
            self._finish(message)
            self._queues.drop_done(now)
        return message is not None

    def close(self) -> None:
        """All open messages fail with Closed."""
        for message in list(self._open.values()):
            self._fail(message, Closed(f"the node was closed before {_to(message)!r} acknowledged"))

    def next_deadline(self) -> float | None:
        """The time at which `tick` is due; None: never."""
        while self._deadlines and self._deadlines[0][2].done:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def tick(self, now: float) -> None:
        """Fail the messages that have reached their deadline."""
        late = False
        while self._deadlines and self._deadlines[0][0] <= now:
            message = heappop(self._deadlines)[2]
            if not message.done:
                late = True
                self._fail(message, self._overdue(message, now))
        if late:
            self._queues.drop_done(now)

    def up(self, now: float) -> None:
        """The proxy has welcomed us, and our registrations are on their way to it."""
        self._up = True
        in_flight = [message for message in self._open.values() if message.sends]
        # In the order of sending, which differs from that of `_open` where a message was queued again.
        self._queues.up(sorted(in_flight, key=attrgetter("serial")), now)

    def down(self, now: float) -> None:
        """The link is lost. Sessions are not: except for those that have ended already.

        The holder of an ended session may not know of its end, and register it with the next proxy. By then the messages
        that it refused are queued again, and a message in doubt, sent to that session, would arrive in the wrong order.
        """
        self._up = False
        self._queues.down()
        for token in list(self._barriers):
            self._end_barrier(token, now)

    def leftovers(self) -> dict[str, int]:
        """See `Session.leftovers`."""
        open_ = {"messages": len(self._open), "bytes": self._bytes, "barriers": len(self._barriers)}
        return open_ | self._queues.leftovers()

    # Verbs of the proxy

    def acknowledged(self, ack: verbs.Ack) -> bool:
        """ACK: the message is in the inboxes of `delivered` holders. False if it is no message of ours."""
        return self._acknowledge(self._open.get(ack.id.encode()), ack.delivered)

    def replied(self, reply: verbs.Replied, now: float) -> None:
        """REPLIED: the handler's return value, or its exception."""
        message = self._open.get(reply.id.encode())
        if message is None or not message.request:
            return
        self._acknowledge(message, 1)
        if reply.meta.error is not None:
            self._fail(message, RemoteError(_to(message), *reply.meta.error))
            return
        try:
            value = orjson.loads(reply.body)
        except ValueError as error:
            self._fail(message, Refused(_to(message), "malformed", f"its answer is no JSON: {error}"))
            return
        self._finish(message)
        self._outcomes.append(RequestReplied(reply.id, value))

    def found(self, found: verbs.Found, now: float) -> None:
        """FOUND: the session to send to."""
        self._queues.found(found.name.encode(), found.asked.encode(), found.session.encode(), found.shared, now)

    def not_found(self, error: verbs.Error, now: float) -> None:
        """ERROR about FIND: no node holds the name, or the FIND was refused."""
        for message in self._queues.not_found(error.subject.encode(), now):
            self._refuse(message, error)

    def refused(self, error: verbs.Error, now: float) -> None:
        """ERROR about SEND (from the proxy) or DELIVER (from the holder)."""
        message = self._open.get(error.subject.encode())
        if message is None or message.acknowledged:
            return
        if error.code == "gone" and message.to != b"*":
            session = message.session
            if message.sends == 1:
                self._queues.requeue(message, now)
            else:
                self._doubt(message, now)
            self._begin_barrier(session, "unknown")
            return
        if message.sends > 1 and error.about == verbs.SEND.decode():
            message.in_doubt = True
        self._refuse(message, error)

    def gone(self, gone: verbs.Gone, now: float) -> None:
        """GONE: a session has ended."""
        session = gone.session.encode()
        for message in self._queues.gone(gone.name.encode(), session, now):
            if not message.acknowledged:
                self._doubt(message, now)
        self._begin_barrier(session, gone.reason)

    def pong(self, pong: verbs.Pong, now: float) -> None:
        """PONG: perhaps to the PING of a barrier."""
        self._end_barrier(pong.token.encode(), now)

    def _acknowledge(self, message: OutboundMessage | None, holders: int) -> bool:
        if message is None:
            return False
        if not message.acknowledged:
            self._outcomes.append(Delivered(message.id.decode(), holders))
            if message.request:
                message.acknowledged = True
            else:
                self._finish(message)
        return True

    def _begin_barrier(self, session: bytes, reason: str) -> None:
        """Send the PING at whose PONG the open messages to an ended session are in doubt."""
        if any(ended == (session, reason) for ended in self._barriers.values()):
            return
        if not any(message.session == session for message in self._open.values()):
            return
        self._serial += 1
        token = b"gone-%d" % self._serial
        self._barriers[token] = (session, reason)
        self._outgoing.append([verbs.PING, token, b""])

    def _end_barrier(self, token: bytes, now: float) -> None:
        session, reason = self._barriers.pop(token, (b"", ""))
        if not session:
            return
        for message in [message for message in self._open.values() if message.session == session and message.sends]:
            if not message.acknowledged or reason in _FINAL:
                self._doubt(message, now)

    def _doubt(self, message: OutboundMessage, now: float) -> None:
        """The message left, and will not be acknowledged: send it to the next holder, or fail it."""
        message.in_doubt = True
        if message.redeliver:
            message.acknowledged = False
            self._queues.requeue(message, now)
        else:
            self._fail(message, _unknown(message))

    def _refuse(self, message: OutboundMessage, error: verbs.Error) -> None:
        self._fail(message, _unknown(message) if message.in_doubt else refusal(_to(message), error.code, error.detail))

    def _fail(self, message: OutboundMessage, error: FabricError) -> None:
        self._finish(message)
        self._outcomes.append(CallFailed(message.id.decode(), error))

    def _finish(self, message: OutboundMessage) -> None:
        message.done = True
        self._bytes -= len(message.body)
        message.body = b""
        del self._open[message.id]

    def _check_limits(self, message: OutboundMessage) -> None:
        if len(self._open) < self._max_open and self._bytes + len(message.body) <= self._max_bytes:
            return
        text = f"{len(self._open):,} messages with {self._bytes:,} bytes wait to be acknowledged, no more are taken on"
        raise (EndpointBusy if self._up else NotConnected)(text, to=_to(message))

    def _overdue(self, message: OutboundMessage, now: float) -> FabricError:
        waited = round(now - message.sent_at, 3)
        if message.in_doubt:
            return _unknown(message)
        if not message.sends and not self._up:
            return NotConnected(f"no proxy was there for {waited:g} s to take the message to {_to(message)!r}")
        return DeliveryTimeout(_to(message), waited)


def _unknown(message: OutboundMessage) -> DeliveryUnknown:
    to = _to(message)
    what = "answered" if message.acknowledged else "acknowledged"
    return DeliveryUnknown(f"the holder of {to!r} went away before it {what}: it may have handled the message", to=to)


def _to(message: OutboundMessage) -> str:
    return message.to.decode()
