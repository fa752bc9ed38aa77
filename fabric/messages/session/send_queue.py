"""Send queues: to which session a message leaves, and when. One queue of waiting messages per receiver's name.

**No message leaves without its receiver's session.** FIND asks for it, once per name; for a group once per message. So
the sender always knows which session may have received a message, and never sends it to another one: the holder of the
name after a crash may not be the holder that handled the message before.

    a queue's session    asked for by        when
    ──────────────────────────────────────────────────────────────────────────────────────────────────────
    not known            FIND name           a message waits
    known, confirmed     –                   FOUND since the last WELCOME
    known from before    FIND name session   after a WELCOME, if a message waits: answered when the holder is
                                             back (FOUND) or given up (GONE)
    a group's member     FIND name, one per  a message waits
                         message
    pinned               FIND name session   after a WELCOME: messages that may have reached that session already

**Order.** A queue is first in, first out; queues of different names do not wait for each other. A message that the proxy
refused as `gone` returns to its old place. A broadcast waits for the messages sent before it whose FIND by name is not
answered yet, and messages sent after a waiting broadcast wait for it.

Two orders are not kept: between a broadcast and messages to an absent receiver, for as long as the proxy's restart takes;
and in a group, where a message that one member refused as `gone` goes to another member, after the messages that this one
has got already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

import orjson

from fabric.protocol.names import EVERYBODY
from fabric.protocol.verbs import FIND, SEND

_EVERYBODY = EVERYBODY.encode()
#: Names whose sessions are remembered. Past it the idle queues are forgotten; their sessions are asked for again.
MAX_QUEUES = 10_000


class OutboundMessage:
    """One message that is not acknowledged, or not answered, yet."""

    __slots__ = (
        "acknowledged",
        "body",
        "deadline",
        "done",
        "id",
        "in_doubt",
        "redeliver",
        "request",
        "sender",
        "sends",
        "sent_at",
        "serial",
        "session",
        "to",
        "ts",
    )

    def __init__(
        self, id: bytes, to: bytes, sender: bytes, body: bytes, ts: float, sent_at: float, deadline: float
    ) -> None:
        self.id = id
        self.to = to
        self.sender = sender
        self.body = body
        self.ts = ts
        self.sent_at = sent_at
        self.deadline = deadline
        self.request = False
        self.redeliver = False
        #: Place in the order of sending.
        self.serial = 0
        #: The session it left to, and how often it left to it. Reset when it is queued again because that session is gone.
        self.session = b""
        self.sends = 0
        self.acknowledged = False
        #: A session that may have handled it has ended.
        self.in_doubt = False
        #: It has had its outcome, or was cancelled. Queues drop it when they come to it.
        self.done = False


class SendQueue:
    """The messages that wait for the holder of one name."""

    __slots__ = ("assigned", "confirmed", "confirming", "finds", "messages", "name", "session", "shared")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.messages: deque[OutboundMessage] = deque()
        #: The holder as far as known; of a group, any member.
        self.session = b""
        #: The session was found since the last WELCOME; a FIND for it is open.
        self.confirmed = False
        self.confirming = False
        #: The name is a group's.
        self.shared = False
        #: Members of a group that were found, one per message, and not used yet.
        self.assigned: deque[bytes] = deque()
        #: Open FINDs by name.
        self.finds = 0

    def first(self) -> OutboundMessage | None:
        """The first message that is not done."""
        messages = self.messages
        while messages and messages[0].done:
            messages.popleft()
        return messages[0] if messages else None

    def next_session(self) -> bytes:
        """The session to which the first message may leave now; empty: none yet."""
        if not self.confirmed:
            return b""
        if self.shared:
            return self.assigned.popleft() if self.assigned else b""
        return self.session

    def forget(self, session: bytes) -> None:
        """A session has ended: send no message to it any more."""
        if session in self.assigned:
            self.assigned = deque(each for each in self.assigned if each != session)
        if self.session == session:
            self.session, self.confirming = b"", False
            self.confirmed = self.confirmed and self.shared


class SendQueues:
    """All send queues of a session. Frames go to `outgoing`."""

    def __init__(self, outgoing: deque[list[bytes]], *, max_queues: int = MAX_QUEUES) -> None:
        self._outgoing = outgoing
        self._up = False
        self._max_queues = self._forget_idle_at = max_queues
        self._queues: dict[bytes, SendQueue] = {}
        #: Those with messages.
        self._waiting: dict[bytes, SendQueue] = {}
        #: Session → messages that may have reached it under the proxy before, in order.
        self._pinned: dict[bytes, deque[OutboundMessage]] = {}
        self._broadcasts: deque[OutboundMessage] = deque()

    def add(self, message: OutboundMessage, now: float) -> None:
        """Queue a new message. It leaves at once if no other message has to leave before it."""
        queue = self._queues.get(message.to)
        if queue is not None and queue.confirmed and not (queue.shared or queue.messages or self._broadcasts):
            self._transmit(message, queue.session, now)
        elif message.to == _EVERYBODY:
            self._broadcasts.append(message)
            self._flush_broadcasts(now)
        else:
            if queue is None:
                queue = self._new_queue(message.to)
            queue.messages.append(message)
            self._waiting[queue.name] = queue
            self._flush(queue, now)

    def requeue(self, message: OutboundMessage, now: float) -> None:
        """Return a message to its old place. The session it left to is gone: another one may get it."""
        session, message.session, message.sends = message.session, b"", 0
        queue = self._queues.get(message.to) or self._new_queue(message.to)
        queue.forget(session)
        queue.messages.insert(bisect_left(queue.messages, message.serial, key=attrgetter("serial")), message)
        self._waiting[queue.name] = queue
        self._flush(queue, now)

    def up(self, in_flight: Iterable[OutboundMessage], now: float) -> None:
        """The proxy has welcomed us. `in_flight`, in order: messages that may have reached their receivers."""
        self._up = True
        broadcasts: list[OutboundMessage] = []
        for message in in_flight:
            if message.to == _EVERYBODY:
                broadcasts.append(message)
            else:
                self._pinned.setdefault(message.session, deque()).append(message)
        self._broadcasts.extendleft(reversed(broadcasts))
        for session, messages in self._pinned.items():
            self._outgoing.append([FIND, messages[0].to, session])
        for queue in list(self._waiting.values()):
            queue.confirming = queue.session in self._pinned
            self._flush(queue, now)
        self._flush_broadcasts(now)

    def down(self) -> None:
        """The link is lost: the next proxy must confirm the sessions."""
        self._up = False
        self._pinned.clear()
        for queue in self._queues.values():
            queue.confirmed, queue.confirming, queue.finds = False, False, 0
            queue.assigned.clear()

    def found(self, name: bytes, asked: bytes, session: bytes, shared: bool, now: float) -> None:
        """FOUND: send to `session`. `asked`: the session in the FIND."""
        for message in self._pinned.pop(asked, ()):
            if not message.done:
                self._transmit(message, session, now)
        queue = self._queues.get(name)
        if queue is None:
            return
        if not asked:
            queue.finds = max(0, queue.finds - 1)
            if shared:
                queue.assigned.append(session)
        if not asked or queue.session == asked:
            queue.session, queue.shared, queue.confirmed, queue.confirming = session, shared, True, False
            if not shared:
                queue.assigned.clear()
        self._flush(queue, now)
        self._flush_broadcasts(now)

    def not_found(self, name: bytes, now: float) -> list[OutboundMessage]:
        """ERROR about FIND: no node holds the name. Returns the messages that waited for that answer."""
        queue = self._queues.get(name)
        if queue is None:
            return []
        queue.finds = max(0, queue.finds - 1)
        count = 1 if queue.shared and queue.finds else len(queue.messages)
        failed = [queue.messages.popleft() for _ in range(min(count, len(queue.messages)))]
        self._drop_if_empty(queue)
        self._flush_broadcasts(now)
        return [message for message in failed if not message.done]

    def gone(self, name: bytes, session: bytes, now: float) -> list[OutboundMessage]:
        """GONE: the session has ended. Returns the messages that were pinned to it."""
        pinned = self._pinned.pop(session, ())
        queue = self._queues.get(name)
        if queue is not None:
            queue.forget(session)
            self._flush(queue, now)
        return [message for message in pinned if not message.done]

    def drop_done(self, now: float) -> None:
        """Messages are done that may not have left: send the broadcasts that waited for them."""
        for queue in list(self._waiting.values()):
            self._drop_if_empty(queue)
        self._flush_broadcasts(now)

    def leftovers(self) -> dict[str, int]:
        """See `Session.leftovers`."""
        # Not `assigned`: a group's member that was found for a message which expired meanwhile is the next message's.
        return {
            "waiting queues": len(self._waiting),
            "queues with messages or finds": sum(bool(each.messages or each.finds) for each in self._queues.values()),
            "pinned sessions": len(self._pinned),
            "broadcasts": len(self._broadcasts),
        }

    def _new_queue(self, name: bytes) -> SendQueue:
        if len(self._queues) >= self._forget_idle_at:
            self._queues = {key: queue for key, queue in self._queues.items() if queue.messages or queue.finds}
            self._forget_idle_at = max(self._max_queues, 2 * len(self._queues))
        queue = self._queues[name] = SendQueue(name)
        return queue

    def _flush(self, queue: SendQueue, now: float) -> None:
        """Send the messages that may leave, and FIND for the rest."""
        while self._up and (first := queue.first()) is not None:
            if self._broadcasts and self._broadcasts[0].serial < first.serial:
                break
            if not (session := queue.next_session()):
                break
            self._transmit(queue.messages.popleft(), session, now)
        self._drop_if_empty(queue)
        self._find(queue)

    def _find(self, queue: SendQueue) -> None:
        if not self._up or not queue.messages or (queue.confirmed and not queue.shared):
            return
        if queue.session and not queue.confirmed:
            if not queue.confirming:
                queue.confirming = True
                self._outgoing.append([FIND, queue.name, queue.session])
            return
        wanted = len(queue.messages) - len(queue.assigned) if queue.shared else 1
        while queue.finds < wanted:
            self._outgoing.append([FIND, queue.name, b""])
            queue.finds += 1

    def _flush_broadcasts(self, now: float) -> None:
        """Send the broadcasts that no message blocks, and the messages that they blocked."""
        broadcasts = self._broadcasts
        while self._up and broadcasts:
            if broadcasts[0].done:
                broadcasts.popleft()
            elif self._is_blocked(broadcasts[0]):
                return
            else:
                self._transmit(broadcasts.popleft(), _EVERYBODY, now)
            for queue in list(self._waiting.values()):
                self._flush(queue, now)

    def _is_blocked(self, broadcast: OutboundMessage) -> bool:
        for queue in self._waiting.values():
            first = queue.first()
            if queue.finds and first is not None and first.serial < broadcast.serial:
                return True
        return False

    def _drop_if_empty(self, queue: SendQueue) -> None:
        if queue.first() is None:
            self._waiting.pop(queue.name, None)

    def _transmit(self, message: OutboundMessage, session: bytes, now: float) -> None:
        message.session = session
        message.sends += 1
        meta: dict[str, object] = {"ts": message.ts, "ttl": round(max(0.0, message.deadline - now), 3)}
        if message.request:
            meta["request"] = True
        if message.in_doubt:
            meta["redelivered"] = True
        frames = [SEND, message.id, message.to, session, message.sender, orjson.dumps(meta), message.body]
        self._outgoing.append(frames)
