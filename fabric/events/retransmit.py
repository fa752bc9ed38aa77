"""Retransmit buffer: recently sent packs, so that a receiver with a gap can ask for them.

Packs are kept as they were sent: keeping an event costs nothing beside sending it, and searching for one is rare. A search
goes backwards, through packs that contain the topic's bytes, until it meets the first number wanted.

Bounded in packs and in bytes; the oldest are dropped first. Events that were never sent have no number and are not here:
the outbox has counted them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError
from fabric.protocol.events import decode_events, encode_event_head

#: Packs kept: 10,000 events sent one by one, or as many packs of 40 while bytes allow.
MAX_PACKS = 10_000
#: Bytes of JSON in one answer; the receiver asks again for the rest.
MAX_ANSWER_BYTES = 1024 * 1024


class FoundEvents(NamedTuple):
    """Events of one topic, `(number, envelope)` in order; `more`: further events past the last one may be here."""

    events: list[tuple[int, dict[str, Any]]]
    more: bool


class RetransmitBuffer:
    """Keeps `limit` bytes of packs, `max_packs` at most. One thread at a time may add, any thread may search."""

    def __init__(self, limit: int, max_packs: int = MAX_PACKS) -> None:
        self._limit = limit
        self._max_packs = max_packs
        self._packs: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._packs)

    def add(self, pack: bytes) -> None:
        """Keep a second frame that was sent."""
        packs = self._packs
        packs.append(pack)
        self._bytes += len(pack)
        while self._bytes > self._limit or len(packs) > self._max_packs:
            self._bytes -= len(packs.popleft())

    def find(self, topic: str, first: int, last: int, max_bytes: int = MAX_ANSWER_BYTES) -> FoundEvents:
        """The events `first` to `last` of `topic` that are still here, about `max_bytes` of them. Any thread."""
        needle = encode_event_head(topic)
        parts: list[list[tuple[int, dict[str, Any]]]] = []
        for pack in reversed(self._packs.copy()):
            if needle not in pack:
                continue
            numbered = _events_of(pack, topic)
            parts.append([(number, envelope) for number, envelope in numbered if first <= number <= last])
            if numbered and numbered[0][0] <= first:
                break
        found: list[tuple[int, dict[str, Any]]] = []
        size = 0
        for number, envelope in (event for part in reversed(parts) for event in part):
            size += len(orjson.dumps(envelope))
            if size > max_bytes and found:
                return FoundEvents(found, True)
            found.append((number, envelope))
        return FoundEvents(found, False)


def _events_of(pack: bytes, topic: str) -> list[tuple[int, dict[str, Any]]]:
    try:
        events = decode_events(pack)
    except WireError:  # cannot happen: this node encoded them
        return []
    return [(abs(number), envelope) for name, number, envelope in events if name == topic and envelope is not None]
