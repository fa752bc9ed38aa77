"""The receiving half of a session: a message is handed on once, however often it comes.

                     new                       a repeat
    DELIVER ──▸ Arrived ──▸ pending            nothing; it is answered when the shell has decided
                              │ accept ──▸ got        GOT again; and REPLY again, if there was one
                              │ refuse ──▸ refused    REFUSED again, for the same reason
                              ▾
                 forgotten a while after its sender has given up

A repeat comes after the sender's or the proxy's link was lost, and only until the message's deadline. How long that is
travels with the message as `ttl`: the id is remembered that long from when it came, which is later than the sender's
count began, and a margin for what lay in pipes. After having been stopped nothing is forgotten for a full timeout: what
lay in pipes meanwhile has not been looked at.

A refusal is remembered, too: if its ERROR was lost and the repeat got in, it would overtake what came after it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError
from fabric.messages.session.outcomes import Arrived
from fabric.protocol.fields import MAX_TTL
from fabric.protocol.json_fields import encode_text
from fabric.protocol.verbs import GOT, REFUSED, REPLY, Deliver, decode_for_node

#: Ids remembered. At the limit new messages are refused as `busy`: to forget an id early could run a handler twice.
MAX_REMEMBERED = 500_000
#: Answers kept for the case that a request is repeated. The oldest go first: then its asker waits for its deadline.
MAX_REPLY_BYTES = 64 * 1024 * 1024
#: Seconds that an id is remembered longer than its sender waits.
MARGIN = 5.0

_PENDING = b""
_GOT = b"got"


class ReturnPath(NamedTuple):
    """How to answer a message: what DELIVER said besides the message itself."""

    id: bytes
    session: bytes
    back: bytes


class _Seen:
    """What became of one id at one of our endpoints."""

    __slots__ = ("delivery", "reply", "state")

    def __init__(self, delivery: ReturnPath) -> None:
        self.delivery = delivery
        #: _PENDING, _GOT, or the code it was refused with.
        self.state = _PENDING
        self.reply: list[bytes] | None = None


class Inbound:
    """What came for our endpoints. Answers go to `outgoing`, what is new to `outcomes`."""

    def __init__(self, outgoing: deque[list[bytes]], outcomes: deque[Any]) -> None:
        self.repeats = 0
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._memory: dict[tuple[int, bytes], _Seen] = {}
        #: Whole second at which to forget → what. Sorting by deadline would cost more than the message.
        self._forget_at: dict[int, list[tuple[int, bytes]]] = {}
        self._not_before = 0.0
        self._swept = 0
        self._replies: deque[_Seen] = deque()
        self._reply_bytes = 0

    def __len__(self) -> int:
        return len(self._memory)

    def delivered(self, key: int, name: str, frames: list[bytes], now: float) -> None:
        """A DELIVER for the endpoint `name`, our registration `key`. WireError if it is none."""
        if len(frames) != 8:
            raise WireError("DELIVER has 7 frames after the verb")
        delivery = ReturnPath(frames[1], frames[2], frames[5])
        memory = self._memory.get((key, frames[1]))
        if memory is not None:
            self.repeats += 1
            # The proxy may be another one by now, and so the return address of a broadcast.
            memory.delivery = delivery
            self._answer(memory)
            return
        try:
            arrived = _arrived(key, name, decode_for_node(frames), now)
        except WireError as error:
            self._refuse(delivery, b"malformed", str(error))
            return
        if len(self._memory) >= MAX_REMEMBERED:
            self._refuse(delivery, b"busy", f"{MAX_REMEMBERED:,} messages are remembered")
            return
        self._memory[key, delivery.id] = _Seen(delivery)
        self._forget_at.setdefault(int(arrived.deadline + MARGIN) + 1, []).append((key, delivery.id))
        self._outcomes.append(arrived)

    def not_ours(self, frames: list[bytes]) -> None:
        """A DELIVER for a session that is not one of ours, or not any more. WireError if it is none."""
        message: Deliver = decode_for_node(frames)
        self._outgoing.append([REFUSED, frames[1], frames[2], message.back, b"gone", b""])

    def accept(self, arrived: Arrived) -> None:
        """The message is in its inbox: acknowledge it."""
        memory = self._memory.get((arrived.key, arrived.id.encode()))
        if memory is not None and memory.state == _PENDING:
            memory.state = _GOT
            self._answer(memory)

    def refuse(self, arrived: Arrived, code: str, text: str) -> None:
        """The message is not taken: `busy`, `closing`, …"""
        memory = self._memory.get((arrived.key, arrived.id.encode()))
        if memory is not None and memory.state == _PENDING:
            memory.state = code.encode()
            self._refuse(memory.delivery, memory.state, text)

    def reply(self, arrived: Arrived, meta: bytes, body: bytes) -> bool:
        """Answer a request. False if it is too late, was answered already, or is none."""
        self.accept(arrived)
        memory = self._memory.get((arrived.key, arrived.id.encode()))
        if memory is None or not arrived.request or memory.state != _GOT or memory.reply is not None:
            return False
        memory.reply = [meta, body]
        self._replies.append(memory)
        self._reply_bytes += len(body)
        while self._reply_bytes > MAX_REPLY_BYTES:
            self._drop_reply(self._replies.popleft())
        self._outgoing.append([REPLY, memory.delivery.id, memory.delivery.back, meta, body])
        return True

    def tick(self, now: float, stopped: bool, grace: float) -> None:
        """Forget what nobody repeats any more. `stopped`: we were, so not for another `grace` seconds."""
        if stopped:
            self._not_before = now + grace
        if now < self._not_before or int(now) == self._swept:
            return
        self._swept = int(now)
        for second in [second for second in self._forget_at if second <= now]:
            for key in self._forget_at.pop(second):
                self._drop_reply(self._memory.pop(key))
        while self._replies and self._replies[0].reply is None:
            self._replies.popleft()

    def _answer(self, memory: _Seen) -> None:
        id_, session, back = memory.delivery
        if memory.state == _GOT:
            self._outgoing.append([GOT, id_, session, back])
            if memory.reply is not None:
                self._outgoing.append([REPLY, id_, back, *memory.reply])
        elif memory.state != _PENDING:
            self._refuse(memory.delivery, memory.state)

    def _refuse(self, delivery: ReturnPath, code: bytes, text: str = "") -> None:
        id_, session, back = delivery
        self._outgoing.append([REFUSED, id_, session, back, code, encode_text(text)])

    def _drop_reply(self, memory: _Seen) -> None:
        if memory.reply is not None:
            self._reply_bytes -= len(memory.reply[1])
            memory.reply = None


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
