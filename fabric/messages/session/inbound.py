"""The receiving half of a session: each message is delivered once to its endpoint, however often it arrives.

                     first time                a repeat
    DELIVER ──▸ Arrived ──▸ pending            no answer yet: it follows when the shell has decided
                              │ accept ──▸ got        GOT again; and REPLY again, if there was one
                              │ refuse ──▸ refused    REFUSED again, for the same reason
                              ▾
                 forgotten a while after its sender has given up

A repeat comes after the sender's or the proxy's link was lost, and only until the message's deadline. The time until then
travels with the message as `ttl`. The id is remembered for that time from its arrival, which is later than the start of
the sender's count, plus a margin for messages that lay in pipes. After this process was stopped no id is forgotten for a
full timeout: the messages that lay in pipes meanwhile were not read yet.

A refusal is remembered, too: if its ERROR was lost and the repeat were accepted, it would overtake the messages after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError
from fabric.messages.session.outcomes import Arrived
from fabric.messages.session.registrations import Registration
from fabric.protocol.fields import MAX_TTL
from fabric.protocol.json_fields import encode_text
from fabric.protocol.verbs import GOT, REFUSED, REPLY, Deliver, decode_for_node

#: Ids remembered. At the limit new messages are refused as `busy`: to forget an id early could run a handler twice.
MAX_SEEN = 500_000
#: Bytes of answers kept to answer a repeated request. The oldest are dropped first: their requests then end at their
#: deadlines.
MAX_REPLY_BYTES = 64 * 1024 * 1024
#: Seconds that an id is remembered after its sender has given up.
TTL_MARGIN = 5.0

_PENDING = b""
_GOT = b"got"


class ReturnPath(NamedTuple):
    """The frames of a DELIVER that its answers repeat."""

    id: bytes
    session: bytes
    back: bytes


class _Seen:
    """The state of one id at one of our endpoints."""

    __slots__ = ("reply", "return_path", "state")

    def __init__(self, return_path: ReturnPath) -> None:
        self.return_path = return_path
        #: _PENDING, _GOT, or the code of the refusal.
        self.state = _PENDING
        self.reply: list[bytes] | None = None


class Inbound:
    """The messages that came for our endpoints. Answers go to `outgoing`, new messages to `outcomes`.

    `registrations`: session → the registration that it belongs to.
    """

    def __init__(
        self,
        outgoing: deque[list[bytes]],
        outcomes: deque[Any],
        registrations: Mapping[bytes, Registration],
        *,
        max_seen: int = MAX_SEEN,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        self.received = 0
        self.repeats = 0
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._registrations = registrations
        self._max_seen = max_seen
        self._max_reply_bytes = max_reply_bytes
        self._seen: dict[tuple[int, bytes], _Seen] = {}
        #: Whole second → the ids to forget at it. To sort by deadline would cost more than the message.
        self._forget_at: dict[int, list[tuple[int, bytes]]] = {}
        self._not_before = 0.0
        self._swept = 0
        self._replies: deque[_Seen] = deque()
        self._reply_bytes = 0

    def __len__(self) -> int:
        return len(self._seen)

    def deliver(self, frames: list[bytes], now: float) -> None:
        """DELIVER, as frames: enough to answer a repeat or a malformed message. WireError if they are not even that."""
        self.received += 1
        registration = self._registrations.get(frames[2]) if len(frames) == 8 else None
        if registration is None:
            # For a session that is not ours, or not any more.
            message: Deliver = decode_for_node(frames)
            self._outgoing.append([REFUSED, frames[1], frames[2], message.back, b"gone", b""])
            return
        key, id_ = registration.key, frames[1]
        return_path = ReturnPath(id_, frames[2], frames[5])
        seen = self._seen.get((key, id_))
        if seen is not None:
            self.repeats += 1
            # The proxy may be another one by now, and so the return address of a broadcast.
            seen.return_path = return_path
            self._answer(seen)
            return
        try:
            arrived = _arrived(key, registration.granted, decode_for_node(frames), now)
        except WireError as error:
            self._refuse(return_path, b"malformed", str(error))
            return
        if len(self._seen) >= self._max_seen:
            self._refuse(return_path, b"busy", f"{self._max_seen:,} messages are remembered")
            return
        self._seen[key, id_] = _Seen(return_path)
        self._forget_at.setdefault(int(arrived.deadline + TTL_MARGIN) + 1, []).append((key, id_))
        self._outcomes.append(arrived)

    def accept(self, arrived: Arrived) -> None:
        """The message is in its inbox: acknowledge it."""
        seen = self._find(arrived)
        if seen is not None and seen.state == _PENDING:
            seen.state = _GOT
            self._answer(seen)

    def refuse(self, arrived: Arrived, code: str, text: str) -> None:
        """The endpoint does not accept the message: `busy`, `closing`, …"""
        seen = self._find(arrived)
        if seen is not None and seen.state == _PENDING:
            seen.state = code.encode()
            self._refuse(seen.return_path, seen.state, text)

    def reply(self, arrived: Arrived, meta: bytes, body: bytes) -> bool:
        """Answer a request. False if it is too late, was answered already, or is no request."""
        self.accept(arrived)
        seen = self._find(arrived)
        if seen is None or not arrived.request or seen.state != _GOT or seen.reply is not None:
            return False
        seen.reply = [meta, body]
        self._replies.append(seen)
        self._reply_bytes += len(body)
        while self._reply_bytes > self._max_reply_bytes:
            self._drop_reply(self._replies.popleft())
        self._outgoing.append([REPLY, seen.return_path.id, seen.return_path.back, meta, body])
        return True

    def tick(self, now: float, stopped: bool, grace: float) -> None:
        """Forget the ids that no sender repeats any more. `stopped`: this process was, so not for `grace` seconds."""
        if stopped:
            self._not_before = now + grace
        if now < self._not_before or int(now) == self._swept:
            return
        self._swept = int(now)
        for second in [second for second in self._forget_at if second <= now]:
            for key in self._forget_at.pop(second):
                self._drop_reply(self._seen.pop(key))
        while self._replies and self._replies[0].reply is None:
            self._replies.popleft()

    def leftovers(self) -> dict[str, int]:
        """See `Session.leftovers`."""
        return {
            "seen ids": len(self._seen),
            "seconds at which to forget ids": len(self._forget_at),
            "replies": len(self._replies),
            "bytes of replies": self._reply_bytes,
        }

    def _find(self, arrived: Arrived) -> _Seen | None:
        return self._seen.get((arrived.key, arrived.id.encode()))

    def _answer(self, seen: _Seen) -> None:
        id_, session, back = seen.return_path
        if seen.state == _GOT:
            self._outgoing.append([GOT, id_, session, back])
            if seen.reply is not None:
                self._outgoing.append([REPLY, id_, back, *seen.reply])
        elif seen.state != _PENDING:
            self._refuse(seen.return_path, seen.state)

    def _refuse(self, return_path: ReturnPath, code: bytes, text: str = "") -> None:
        id_, session, back = return_path
        self._outgoing.append([REFUSED, id_, session, back, code, encode_text(text)])

    def _drop_reply(self, seen: _Seen) -> None:
        if seen.reply is not None:
            self._reply_bytes -= len(seen.reply[1])
            seen.reply = None


def _arrived(key: int, name: str, deliver: Deliver, now: float) -> Arrived:
    try:
        body = orjson.loads(deliver.body)
    except ValueError as error:
        raise WireError(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise WireError("the body is no object")
    meta = deliver.meta
    message = {
        "type": "message",
        "id": deliver.id,
        "to": deliver.to,
        "from": deliver.sender,
        "ts": meta.ts,
        "body": body,
    }
    if meta.redelivered:
        message["redelivered"] = True
    deadline = now + (MAX_TTL if meta.ttl is None else meta.ttl)
    return Arrived(key, name, deliver.id, message, meta.request, deadline)
