"""A bus that buffers events between delivery and printing.

    delivery thread ──▸ put ──▸ [ at most 10,000 events, 64 MiB ] ──▸ take ──▸ the thread that prints

A terminal takes a few thousand lines a second, and none while its user scrolls. Publishers never wait for it: the oldest
events are dropped here, and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from time import time
from typing import Any, NamedTuple

import orjson

from fabric.bus.bus import Bus
from fabric.events.retained import RetainedEvent, unseen
from fabric.protocol.envelope import Envelope
from fabric.protocol.topics import RESERVED, PatternTable, is_reserved

MAX_EVENTS = 10_000
MAX_BYTES = 64 * 1024 * 1024
#: Pairs (src, topic) of gaps that are counted separately in one report; the others are counted together.
MAX_GAPS = 1_000
#: Topics in the cache of whether they are ignored.
CACHE_SIZE = 10_000


class Event(NamedTuple):
    """An event as it arrived. It was routed by `topic`; the envelope's `type` may differ."""

    topic: str
    envelope: Envelope
    #: When it was delivered here, unix seconds.
    arrived: float
    #: Bytes of the envelope as JSON.
    size: int


class News(NamedTuple):
    """Occurrences since the last `news()` that are no events."""

    #: Events dropped because they came faster than they were taken.
    dropped: int = 0
    #: (src, topic) → number of events that were published and did not arrive.
    gaps: Mapping[tuple[str, str], int] = {}
    #: States of the link in order: `up`, `down`.
    links: tuple[str, ...] = ()


class Reader(Bus):
    """A bus that gives each event that matches one or more of `patterns` to `take`, once.

    The system's own topics (`fabric.…`) are included only where a pattern begins with `fabric`: `**` stands for the events
    of applications, without joins and leaves, as `#` leaves out `$SYS` in MQTT. The state of this node's own link, and its
    gaps, are `news` in any case. `max_events`, `max_bytes`: limits of the buffer; beyond them the oldest are dropped.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        ignored: Iterable[str] = (),
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__()
        self._max_events, self._max_bytes = max_events, max_bytes
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._dropped = 0
        self._gaps: dict[tuple[str, str], int] = {}
        self._links: list[str] = []
        self._ignored, self._system = PatternTable[bool](), PatternTable[bool]()
        for pattern in ignored:
            self._ignored = self._ignored.adding(pattern, True)
        self._is_ignored: dict[str, bool] = {}
        for pattern in dict.fromkeys(patterns):
            self._subscribe(pattern, partial(self._read, pattern), recover=True, with_topic=True)
            if is_reserved(pattern):
                self._system = self._system.adding(pattern, True)

    # On the delivery and the control thread

    def _read(self, pattern: str, topic: str, envelope: Envelope) -> None:
        """An event that matches `pattern`. Where several match, it is put once, for the first of them."""
        if self.subscribers_of(topic)[0].pattern == pattern and not self._is_left_out(topic):
            self._put(Event(topic, envelope, time(), _size(envelope)))

    def begin_with(self, last: Iterable[RetainedEvent]) -> None:
        """Put retained events before all live ones, except those that came live, too. Call it before the first `take`."""
        last = list(last)
        with self._changed:
            new = {id(each) for each in unseen([each.envelope for each in last], [e.envelope for e in self._events])}
            events = [
                Event(topic, envelope, time(), _size(envelope))
                for topic, envelope in last
                if id(envelope) in new and not self._is_left_out(topic)
            ]
            self._events.extendleft(reversed(events))
            self._bytes += sum(event.size for event in events)
            self._trim()
            self._changed.notify()

    def _is_left_out(self, topic: str) -> bool:
        ignored = self._is_ignored.get(topic)
        if ignored is None:
            if len(self._is_ignored) >= CACHE_SIZE:
                self._is_ignored.clear()
            ignored = self._is_ignored[topic] = self._ignores(topic)
        return ignored

    def announce(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """See `Bus`: events of our own node, which become news."""
        facts = payload or {}
        with self._changed:
            if topic == f"{RESERVED}.gap":
                where = (str(facts.get("src")), str(facts.get("topic")))
                if where not in self._gaps and len(self._gaps) >= MAX_GAPS:
                    where = ("others", "other topics")
                self._gaps[where] = self._gaps.get(where, 0) + int(facts.get("missed", 0))
            elif topic.startswith(f"{RESERVED}.link.") and len(self._links) < MAX_GAPS:
                self._links.append(topic.rpartition(".")[2])
            self._changed.notify()
        super().announce(topic, payload)

    def _ignores(self, topic: str) -> bool:
        return bool(self._ignored.match(topic)) or (is_reserved(topic) and not self._system.match(topic))

    def _put(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._bytes += event.size
            self._trim()
            self._changed.notify()

    def _trim(self) -> None:
        events = self._events
        while len(events) > self._max_events or (self._bytes > self._max_bytes and len(events) > 1):
            self._bytes -= events.popleft().size
            self._dropped += 1

    # On the printing thread

    def take(self, timeout: float, limit: int = 500) -> list[Event]:
        """Wait up to `timeout` seconds for events or news. Returns up to `limit` events, none if there are only news."""
        with self._changed:
            if not self._events and not self._has_news():
                self._changed.wait(timeout)
            taken = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
            for event in taken:
                self._bytes -= event.size
            return taken

    def news(self) -> News:
        """The news since the last call."""
        with self._changed:
            if not self._has_news():
                return _NO_NEWS
            news = News(self._dropped, self._gaps, tuple(self._links))
            self._dropped, self._gaps, self._links = 0, {}, []
            return news

    def _has_news(self) -> bool:
        return bool(self._dropped or self._gaps or self._links)


_NO_NEWS = News()


def _size(envelope: Envelope) -> int:
    try:
        return len(orjson.dumps(envelope))
    except TypeError:  # orjson reads deeper nesting than it writes
        return 0
