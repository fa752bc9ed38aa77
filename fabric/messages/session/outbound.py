"""The sending half of a session: messages of ours that are not acknowledged, or not answered, yet.

    send ──▸ its line ──SEND──▸ in flight ──ACK──▸ Delivered      (a request stays, until REPLIED)
              ▴ │                │  │  │
              │ │                │  │  └─ deadline ──▸ DeliveryTimeout
              │ │                │  └─ link lost ────▸ pinned to its session: sent again to that one only, when the
              │ │                │                     next proxy says that it is there
              │ │                └─ GONE ────────────▸ DeliveryUnknown; with `redeliver` back to its line
              └─┼─ ERROR gone ───┘
                └─ deadline ──▸ NotConnected, DeliveryTimeout

An acknowledged message is never sent again, except an unanswered request after a reconnect: its holder drops the
repeat, and repeats an answer that was lost with the proxy.

**GONE** says that a session has ended, not which of our messages it still got. Those that it did not get come back as
`ERROR gone`, in order, before the PONG to a PING sent now. So: PING, and what is still open at the PONG is in doubt.

**What the proxy refuses the second time** it may have delivered the first time: then the error is DeliveryUnknown,
whatever the reason. What the *holder* refuses it has never handled, because it remembers.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Any

import orjson

from fabric.errors import (
    Closed,
    DeliveryTimeout,
    DeliveryUnknown,
    EndpointBusy,
    FabricError,
    MessageError,
    MessageTooLarge,
    NameTaken,
    NoSuchEndpoint,
    NotConnected,
    Refused,
    RemoteError,
    SenderNotOwned,
)
from fabric.messages.session.outcomes import CallFailed, Delivered, RequestReplied
from fabric.messages.session.send_queue import OutboundMessage, SendQueues
from fabric.protocol import verbs

#: Messages that nobody has acknowledged, and the bytes of their bodies.
MAX_OPEN = 100_000
MAX_OPEN_BYTES = 256 * 1024 * 1024
#: Ends of a session after which nobody is left to answer a request that it has acknowledged.
_FINAL = ("timeout", "gone")


class Outbound:
    """Messages of ours on their way. Frames go to `outgoing`, what becomes of them to `outcomes`."""

    def __init__(self, outgoing: deque[list[bytes]], outcomes: deque[Any]) -> None:
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._send_queues = SendQueues(outgoing)
        self._up = False
        self._open: dict[bytes, OutboundMessage] = {}
        self._bytes = 0
        self._serial = 0
        self._deadlines: list[tuple[float, int, OutboundMessage]] = []
        self._barriers: dict[bytes, tuple[bytes, str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    # The shell's side

    def send(self, message: OutboundMessage, now: float) -> None:
        """Take a message on. ValueError for an id that is open already; NotConnected, EndpointBusy: too many are."""
        if message.id in self._open:
            raise ValueError(f"message id {message.id.decode()!r} is on its way already: ids are used once")
        self._check_room(message)
        self._serial += 1
        message.serial = self._serial
        self._open[message.id] = message
        self._bytes += len(message.body)
        heappush(self._deadlines, (message.deadline, message.serial, message))
        if len(self._deadlines) > 2 * len(self._open) + 1_000:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].done]
            heapify(self._deadlines)
        self._send_queues.add(message, now)

    def cancel(self, id: bytes, now: float) -> bool:
        """Nobody waits for it any more. It may be delivered all the same."""
        message = self._open.get(id)
        if message is not None:
            self._finish(message)
            self._send_queues.expired(now)
        return message is not None

    def close(self) -> None:
        """Everything open fails."""
        for message in list(self._open.values()):
            self._fail(message, Closed(f"the node was closed before {_to(message)!r} acknowledged"))

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None: never."""
        while self._deadlines and self._deadlines[0][2].done:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def tick(self, now: float) -> None:
        """Fail what is over its deadline."""
        late = False
        while self._deadlines and self._deadlines[0][0] <= now:
            message = heappop(self._deadlines)[2]
            if not message.done:
                late = True
                self._fail(message, self._overdue(message, now))
        if late:
            self._send_queues.expired(now)

    # The link's side

    def up(self, now: float) -> None:
        """There is a proxy (again), and our names are on their way to it."""
        self._up = True
        in_flight = [message for message in self._open.values() if message.sends]
        # In the order of sending, which differs from that of `_open` where a message was taken back.
        self._send_queues.up(sorted(in_flight, key=lambda message: message.serial), now)

    def down(self, now: float) -> None:
        """The link is lost, but nothing else: only sessions that have ended already stay so.

        Their holder may not have heard of it and bring them along to the next proxy. By then what was refused has left
        again, and must not be overtaken in reverse by what is in doubt.
        """
        self._up = False
        self._send_queues.down()
        for token in list(self._barriers):
            self.pong(token, now)

    # The proxy's side

    def acknowledged(self, id: bytes, holders: int) -> bool:
        """ACK: it is in so many inboxes. False if it is no message of ours."""
        message = self._open.get(id)
        if message is None:
            return False
        if not message.acknowledged:
            self._outcomes.append(Delivered(id.decode(), holders))
            if message.request:
                message.acknowledged = True
            else:
                self._finish(message)
        return True

    def replied(self, reply: verbs.Replied) -> None:
        """REPLIED: what the handler returned, or raised."""
        message = self._open.get(reply.id.encode())
        if message is None or not message.request:
            return
        self.acknowledged(message.id, 1)
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
        """FOUND: somebody may be sent to."""
        self._send_queues.found(found.name.encode(), found.asked.encode(), found.session.encode(), found.shared, now)

    def not_found(self, error: verbs.Error, now: float) -> None:
        """ERROR about FIND: nobody has the name (or it cannot be asked for)."""
        for message in self._send_queues.not_found(error.subject.encode(), now):
            self._refuse(message, error)

    def refused(self, error: verbs.Error, now: float) -> None:
        """ERROR about SEND (the proxy) or DELIVER (the holder)."""
        message = self._open.get(error.subject.encode())
        if message is None or message.acknowledged:
            return
        if error.code == "gone" and message.to != b"*":
            session = message.session
            if message.sends == 1:
                self._send_queues.take_back(message, now)
            else:
                self._doubt(message, now)
            self._in_doubt_after_pong(session, "unknown")
            return
        if message.sends > 1 and error.about == verbs.SEND.decode():
            message.doubtful = True
        self._refuse(message, error)

    def gone(self, gone: verbs.Gone, now: float) -> None:
        """GONE: a session has ended."""
        session = gone.session.encode()
        for message in self._send_queues.gone(gone.name.encode(), session, now):
            if not message.acknowledged:
                self._doubt(message, now)
        self._in_doubt_after_pong(session, gone.reason)

    def pong(self, token: bytes, now: float) -> None:
        """PONG: what was in flight to a session that has ended, and was not refused by now, is in doubt."""
        session, reason = self._barriers.pop(token, (b"", ""))
        if not session:
            return
        for message in [message for message in self._open.values() if message.session == session and message.sends]:
            if not message.acknowledged or reason in _FINAL:
                self._doubt(message, now)

    def _in_doubt_after_pong(self, session: bytes, reason: str) -> None:
        if any(waiting == (session, reason) for waiting in self._barriers.values()):
            return
        if not any(message.session == session for message in self._open.values()):
            return
        self._serial += 1
        token = b"gone-%d" % self._serial
        self._barriers[token] = (session, reason)
        self._outgoing.append([verbs.PING, token, b""])

    def _doubt(self, message: OutboundMessage, now: float) -> None:
        """It left, and will not be acknowledged."""
        message.doubtful = True
        if message.redeliver:
            message.acknowledged = False
            self._send_queues.take_back(message, now)
        else:
            self._fail(message, _unknown(message))

    def _refuse(self, message: OutboundMessage, error: verbs.Error) -> None:
        self._fail(message, _unknown(message) if message.doubtful else refusal(_to(message), error.code, error.detail))

    def _fail(self, message: OutboundMessage, error: FabricError) -> None:
        self._finish(message)
        self._outcomes.append(CallFailed(message.id.decode(), error))

    def _finish(self, message: OutboundMessage) -> None:
        message.done = True
        self._bytes -= len(message.body)
        message.body = b""
        del self._open[message.id]

    def _check_room(self, message: OutboundMessage) -> None:
        if len(self._open) < MAX_OPEN and self._bytes + len(message.body) <= MAX_OPEN_BYTES:
            return
        text = f"{len(self._open):,} messages with {self._bytes:,} bytes wait to be acknowledged, no more are taken on"
        raise (EndpointBusy if self._up else NotConnected)(text, to=_to(message))

    def _overdue(self, message: OutboundMessage, now: float) -> FabricError:
        waited = round(now - message.began, 3)
        if message.doubtful:
            return _unknown(message)
        if not message.sends and not self._up:
            return NotConnected(f"no proxy was there for {waited:g} s to take the message to {_to(message)!r}")
        return DeliveryTimeout(_to(message), waited)


def refusal(to: str, code: str, detail: dict[str, Any]) -> MessageError:
    """The error for a code on the wire. What is missing from `detail` is left out, whatever is in there is a fact."""
    if code == "no_such_endpoint":
        similar = detail.get("similar")
        return NoSuchEndpoint(to, [str(name) for name in similar] if isinstance(similar, list) else ())
    if code == "busy":
        return EndpointBusy(f"{to!r} is busy: its inbox, or the pipe towards it, is full", to=to)
    if code == "too_large":
        return MessageTooLarge(to, _number(detail, "size"), _number(detail, "limit"))
    if code == "not_owned":
        return SenderNotOwned(str(detail.get("sender", "")), to=to)
    if code == "name_taken":
        return NameTaken(to, str(detail.get("holder", "another node")))
    return Refused(to, code, str(detail.get("text", "")))


def _unknown(message: OutboundMessage) -> DeliveryUnknown:
    to = _to(message)
    what = "answered" if message.acknowledged else "acknowledged"
    return DeliveryUnknown(f"the holder of {to!r} went away before it {what}: it may have handled the message", to=to)


def _number(detail: dict[str, Any], key: str) -> int:
    value = detail.get(key)
    return value if isinstance(value, int) else 0


def _to(message: OutboundMessage) -> str:
    return message.to.decode()
