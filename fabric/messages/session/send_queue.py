"""Who a message leaves to, and when: one line of waiting messages per name.

**Nothing leaves without its receiver's session.** FIND asks for it, once per name; in a group once per message. So the
sending half always knows to whom a message may have gone, and never sends it to anybody else: whoever holds the name
after a crash may not be who handled it before.

    a line's session    asked for by                      when
    ────────────────────────────────────────────────────────────────────────────────────────────────────
    not known           FIND name                         a message waits
    known, confirmed    –                                 FOUND since the last WELCOME
    known from before   FIND name session                 after a WELCOME, if a message waits: answered when the
                                                          holder is back (FOUND) or given up (GONE)
    shared: a turn      FIND name, one for each message   a message waits
    pinned              FIND name session                 after a WELCOME: messages that may have reached it already

**Order.** A line is first in, first out; lines of different names do not wait for each other. What the proxy refused
as `gone` goes back to its old place. A broadcast waits for what was sent before it and still asks by name, and what
comes after a broadcast waits for that.

Two orders are not kept: between a broadcast and messages to a receiver that is away, as long as the proxy's restart
lasts; and in a group, where what one member has refused as `gone` goes to another, after what that one has got.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable

import orjson

from fabric.protocol.names import EVERYBODY
from fabric.protocol.verbs import FIND, SEND

_EVERYBODY = EVERYBODY.encode()
#: Names whose sessions are remembered. The idle ones are forgotten past it, and asked for again.
MAX_LINES = 10_000


class OutboundMessage:
    """One message on its way."""

    __slots__ = (
        "acknowledged",
        "began",
        "body",
        "deadline",
        "done",
        "doubtful",
        "id",
        "redeliver",
        "request",
        "sender",
        "sends",
        "serial",
        "session",
        "to",
        "ts",
    )

    def __init__(
        self, id: bytes, to: bytes, sender: bytes, body: bytes, ts: float, began: float, deadline: float
    ) -> None:
        self.id = id
        self.to = to
        self.sender = sender
        self.body = body
        self.ts = ts
        self.began = began
        self.deadline = deadline
        self.request = False
        self.redeliver = False
        #: Place in the order of sending.
        self.serial = 0
        #: To whom it left, and how often, not counting what was refused by the one it was for.
        self.session = b""
        self.sends = 0
        self.acknowledged = False
        #: A session that may have handled it has ended.
        self.doubtful = False
        #: Nobody waits for it any more; queues drop it when they come to it.
        self.done = False


class SendQueue:
    """What waits for the holder of one name."""

    __slots__ = ("asking", "confirmed", "confirming", "name", "queue", "session", "shared", "turns")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.queue: deque[OutboundMessage] = deque()
        #: The holder as far as known; of a group, any member.
        self.session = b""
        #: It was found since the last WELCOME; it is being asked for.
        self.confirmed = False
        self.confirming = False
        self.shared = False
        #: Sessions of a group that were found and not used yet.
        self.turns: deque[bytes] = deque()
        #: Questions by name that are not answered yet.
        self.asking = 0

    def first(self) -> OutboundMessage | None:
        """The first that somebody still waits for."""
        queue = self.queue
        while queue and queue[0].done:
            queue.popleft()
        return queue[0] if queue else None

    def next_session(self) -> bytes:
        """Where the first may go now; empty: nowhere yet."""
        if not self.confirmed:
            return b""
        if self.shared:
            return self.turns.popleft() if self.turns else b""
        return self.session


class SendQueues:
    """All lines of a session. Frames go to `outgoing`."""

    def __init__(self, outgoing: deque[list[bytes]]) -> None:
        self._outgoing = outgoing
        self._up = False
        self._limit = MAX_LINES
        self._send_queues: dict[bytes, SendQueue] = {}
        self._waiting: dict[bytes, SendQueue] = {}
        self._pinned: dict[bytes, deque[OutboundMessage]] = {}
        self._broadcasts: deque[OutboundMessage] = deque()

    def add(self, message: OutboundMessage, now: float) -> None:
        """A new message: it leaves at once if its line is free."""
        line = self._send_queues.get(message.to)
        if line is not None and line.confirmed and not (line.shared or line.queue or self._broadcasts):
            self._transmit(message, line.session, now)
        elif message.to == _EVERYBODY:
            self._broadcasts.append(message)
            self._release(now)
        else:
            if line is None:
                line = self._new_line(message.to)
            line.queue.append(message)
            self._waiting[line.name] = line
            self._advance(line, now)

    def take_back(self, message: OutboundMessage, now: float) -> None:
        """It was refused by, or may be sent again to another than, the session it left to: back to its old place."""
        session, message.session, message.sends = message.session, b"", 0
        line = self._send_queues.get(message.to) or self._new_line(message.to)
        _forget(line, session)
        line.queue.insert(bisect_left(line.queue, message.serial, key=_serial), message)
        self._waiting[line.name] = line
        self._advance(line, now)

    def up(self, in_flight: Iterable[OutboundMessage], now: float) -> None:
        """There is a proxy (again). `in_flight` may have reached their receivers, and are in order."""
        self._up = True
        again: list[OutboundMessage] = []
        for message in in_flight:
            if message.to == _EVERYBODY:
                again.append(message)
            else:
                self._pinned.setdefault(message.session, deque()).append(message)
        self._broadcasts.extendleft(reversed(again))
        for session, messages in self._pinned.items():
            self._outgoing.append([FIND, messages[0].to, session])
        for line in list(self._waiting.values()):
            line.confirming = line.session in self._pinned
            self._advance(line, now)
        self._release(now)

    def down(self) -> None:
        """No proxy: what is known about sessions must be confirmed by the next one."""
        self._up = False
        self._pinned.clear()
        for line in self._send_queues.values():
            line.confirmed, line.confirming, line.asking = False, False, 0
            line.turns.clear()

    def found(self, name: bytes, asked: bytes, session: bytes, shared: bool, now: float) -> None:
        """The answer to FIND."""
        for message in self._pinned.pop(asked, ()):
            if not message.done:
                self._transmit(message, session, now)
        line = self._send_queues.get(name)
        if line is None:
            return
        if not asked:
            line.asking = max(0, line.asking - 1)
            if shared:
                line.turns.append(session)
        if not asked or line.session == asked:
            line.session, line.shared, line.confirmed, line.confirming = session, shared, True, False
            if not shared:
                line.turns.clear()
        self._advance(line, now)
        self._release(now)

    def not_found(self, name: bytes, now: float) -> list[OutboundMessage]:
        """Nobody has the name: these have waited for the answer."""
        line = self._send_queues.get(name)
        if line is None:
            return []
        line.asking = max(0, line.asking - 1)
        count = 1 if line.shared and line.asking else len(line.queue)
        failed = [line.queue.popleft() for _ in range(min(count, len(line.queue)))]
        self._settle(line)
        self._release(now)
        return [message for message in failed if not message.done]

    def gone(self, name: bytes, session: bytes, now: float) -> list[OutboundMessage]:
        """The session has ended. Returned are those that waited to be sent to it again."""
        pinned = self._pinned.pop(session, ())
        line = self._send_queues.get(name)
        if line is not None:
            _forget(line, session)
            self._advance(line, now)
        return [message for message in pinned if not message.done]

    def expired(self, now: float) -> None:
        """Some that waited are done: others may have waited for them."""
        for line in list(self._waiting.values()):
            self._settle(line)
        self._release(now)

    def _new_line(self, name: bytes) -> SendQueue:
        if len(self._send_queues) >= self._limit:
            self._send_queues = {key: line for key, line in self._send_queues.items() if line.queue or line.asking}
            self._limit = max(MAX_LINES, 2 * len(self._send_queues))
        line = self._send_queues[name] = SendQueue(name)
        return line

    def _advance(self, line: SendQueue, now: float) -> None:
        """Send what may leave, ask for what is missing."""
        while self._up and (first := line.first()) is not None:
            if self._broadcasts and self._broadcasts[0].serial < first.serial:
                break
            if not (session := line.next_session()):
                break
            self._transmit(line.queue.popleft(), session, now)
        self._settle(line)
        self._ask(line)

    def _ask(self, line: SendQueue) -> None:
        if not self._up or not line.queue or (line.confirmed and not line.shared):
            return
        if line.session and not line.confirmed:
            if not line.confirming:
                line.confirming = True
                self._outgoing.append([FIND, line.name, line.session])
            return
        wanted = len(line.queue) - len(line.turns) if line.shared else 1
        while line.asking < wanted:
            self._outgoing.append([FIND, line.name, b""])
            line.asking += 1

    def _release(self, now: float) -> None:
        """Send the broadcasts that nothing holds back, and what they held back."""
        broadcasts = self._broadcasts
        while self._up and broadcasts:
            if broadcasts[0].done:
                broadcasts.popleft()
            elif self._is_held(broadcasts[0]):
                return
            else:
                self._transmit(broadcasts.popleft(), _EVERYBODY, now)
            for line in list(self._waiting.values()):
                self._advance(line, now)

    def _is_held(self, broadcast: OutboundMessage) -> bool:
        for line in self._waiting.values():
            first = line.first()
            if line.asking and first is not None and first.serial < broadcast.serial:
                return True
        return False

    def _settle(self, line: SendQueue) -> None:
        if line.first() is None:
            self._waiting.pop(line.name, None)

    def _transmit(self, message: OutboundMessage, session: bytes, now: float) -> None:
        message.session = session
        message.sends += 1
        meta: dict[str, object] = {"ts": message.ts, "ttl": round(max(0.0, message.deadline - now), 3)}
        if message.request:
            meta["request"] = True
        if message.doubtful:
            meta["redelivered"] = True
        frames = [SEND, message.id, message.to, session, message.sender, orjson.dumps(meta), message.body]
        self._outgoing.append(frames)


def _forget(line: SendQueue, session: bytes) -> None:
    """A session has ended: nothing more goes to it."""
    if session in line.turns:
        line.turns = deque(turn for turn in line.turns if turn != session)
    if line.session == session:
        line.session, line.confirming = b"", False
        line.confirmed = line.confirmed and line.shared


def _serial(message: OutboundMessage) -> int:
    return message.serial
