"""Outbox: encoded events that wait to be sent, in order; packs and numbers them when they are sent.

    append ─▸ fresh ─┬────────────────────────────────▸ take ─▸ one message of one route
     (any thread)    └─▸ hold ─▸ offline (bounded) ─┘
                         while nothing can be sent

`append` is one `deque.append`: publishers call it for each event, so it must cost almost nothing. Everything else belongs
to the holder of the outgoing socket. Only the `offline` queue is bounded: while messages flow it is empty.

An event gets its route and its number when it is sent, never before. So an event that is dropped here has no number, and
its loss is counted here only; an event that is lost later leaves a hole in the numbers, and receivers count it.
"""

from __future__ import annotations

from collections import deque

from fabric.events.interest import NOBODY, Routes
from fabric.events.offline_queue import Item, OfflineQueue, OutboxLimits
from fabric.events.retransmit import RetransmitBuffer
from fabric.protocol.events import EVENT, encode_event, encode_event_head, encode_pack, encode_topic
from fabric.protocol.sequence import Counter

#: Size of a full message: 30 to 40 events of 200 bytes. Twice as many gain nothing that can be measured, and would
#: halve the number of messages that a budget in bytes allows.
PACK_BYTES = 8_000
#: Topics whose encoded first frame is kept.
MAX_HEADS = 10_000


class Outbox:
    """See the module. `append` may be called by any thread, the rest only by the holder of the outgoing socket.

    `history` is how many bytes of sent packs are kept for retransmission.
    """

    def __init__(
        self,
        origin: bytes,
        limits: OutboxLimits = OutboxLimits(),  # noqa: B008 - a NamedTuple is immutable
        history: int = 0,
    ) -> None:
        self._origin = origin
        self._fresh: deque[Item] = deque()
        #: Events that wait under the bounds, and counts of those that the bounds cost.
        self.offline = OfflineQueue(limits)
        self._offline_items = self.offline.items
        #: Events left over when it was closed.
        self.abandoned = 0
        #: Topic → `head(topic)`: at most `MAX_HEADS` of them.
        self.heads: dict[str, tuple[bytes, bytes]] = {}
        self.counter = Counter()
        #: The packs sent last.
        self.retransmit = RetransmitBuffer(history)
        #: Add an event: `(topic, envelope as JSON)`. Any thread.
        self.append = self._fresh.append
        #: Events sent; events dropped because the last subscription of their topic had ended.
        self.sent = 0
        self.unwanted = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._offline_items)

    def __bool__(self) -> bool:
        # The sender asks it twice per event: cheaper than `__len__`.
        return bool(self._fresh or self._offline_items)

    @property
    def fresh(self) -> int:
        """Events appended and not under the bounds yet."""
        return len(self._fresh)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the events under the bounds."""
        return self.offline.bytes

    @property
    def dropped(self) -> int:
        """Events lost here: over the bounds, too old, or left when it was closed."""
        return self.offline.dropped + self.abandoned

    @property
    def gone(self) -> int:
        """Events appended that will never be sent: lost, superseded or unwanted."""
        return self.dropped + self.offline.superseded + self.unwanted

    @property
    def full(self) -> bool:
        """Whether the bounds would drop an event if one more were appended."""
        limits = self.offline.limits
        return len(self) >= limits.events or self.offline.bytes >= limits.bytes

    def hold(self, now: float) -> None:
        """Move the fresh events under the bounds, because nothing can be sent."""
        self.offline.take_in(self._fresh, now)

    def next_topic(self, routes: Routes) -> str | None:
        """The topic of the next event to send, or None. Drops and counts unwanted events before it."""
        for queue in (self._offline_items, self._fresh):
            while queue:
                topic = queue[0][0]
                if routes.of(topic) != NOBODY:
                    return topic
                self._discard_first()
                self.unwanted += 1
        return None

    def head(self, topic: str) -> tuple[bytes, bytes]:
        """The bytes shared by all events of `topic`: the first frame, and the beginning of each event."""
        return self.heads.get(topic) or self._head(topic)

    def take(self, routes: Routes) -> bytes:
        """The second frame: the next events, as many as have the first one's route and fit into `PACK_BYTES`.

        Call it after the first frame was sent: it assigns the numbers.
        """
        queue = self._offline_items or self._fresh
        topic, envelope = queue[0]
        route = routes.of(topic)
        if len(queue) == 1 or (queue[1][0] is not topic and routes.of(queue[1][0]) != route):
            self._discard_first()
            return self.encode_one(topic, self.head(topic)[1], envelope)
        pack = self._take_run(routes, route)
        self.retransmit.add(pack)
        return pack

    def _take_run(self, routes: Routes, route: int) -> bytes:
        parts: list[bytes] = []
        append = parts.append
        size = 0
        held = bool(self._offline_items)
        queue = self._offline_items or self._fresh
        take = queue.popleft
        route_of, head_of, number_of = routes.cache.get, self.heads.get, self.counter.numbers.get
        topic, head, number = "", (b"", b""), 0
        while queue and size < PACK_BYTES:
            item = take()
            # By identity, which is fast: most runs are of one topic, and most of those topics are one string object.
            if item[0] is topic:
                number += 1
            else:
                if (route_of(item[0]) or routes.of(item[0])) != route:
                    queue.appendleft(item)  # publishers append at the other end
                    break
                if number > 0:
                    self.counter.numbers[topic] = number
                topic = item[0]
                head = head_of(topic) or self._head(topic)
                number = number_of(topic, 0) + 1
                if number == 1:
                    number = self.counter.next(topic)
                    if number < 0:
                        append(EVENT % (head[1], number, item[1]))
                        size += len(item[1])
                        topic, number = "", 0
                        continue
            envelope = item[1]
            append(EVENT % (head[1], number, envelope))
            size += len(envelope)
        if number > 0:
            self.counter.numbers[topic] = number
        if held:
            self.offline.note_taken(len(parts), size)
        self.sent += len(parts)
        return encode_pack(parts)

    def encode_one(self, topic: str, head: bytes, envelope: bytes) -> bytes:
        """The second frame for one event that was never in the outbox and is sent now; `head` is `head(topic)[1]`."""
        self.sent += 1
        pack = b"[%b%d,%b]]" % (head, self.counter.next(topic), envelope)
        self.retransmit.add(pack)
        return pack

    def mark(self, topic: str, number: int) -> bytes:
        """The second frame of a mark: `number` is the last one sent on `topic`."""
        return encode_pack([encode_event(self.head(topic)[1], number, b"null")])

    def abandon(self) -> int:
        """Drop all events, and return their number."""
        left = len(self)
        self._fresh.clear()
        self.offline.clear()
        self.abandoned += left
        return left

    def _discard_first(self) -> None:
        if self._offline_items:
            self.offline.discard()
        else:
            self._fresh.popleft()

    def _head(self, topic: str) -> tuple[bytes, bytes]:
        if len(self.heads) >= MAX_HEADS:
            self.heads.clear()
        head = self.heads[topic] = (encode_topic(topic, self._origin), encode_event_head(topic))
        return head
