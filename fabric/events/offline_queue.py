"""Offline queue: events that wait while nothing can be sent, bounded in events, bytes and seconds.

    policy        when a bound is reached
    drop_oldest   the oldest event is dropped: after the outage the newest are sent (the default)
    drop_newest   a new event is not taken: after the outage the first ones are sent
    latest        one event per topic, the newest: for states and measurements, where the one before does not matter

Whatever the policy, an event that has waited for too long is dropped. Every event dropped is counted by its cause: `full`,
`expired`, `superseded` (by a later one of its topic). The others are sent in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

DROP_OLDEST, DROP_NEWEST, LATEST = "drop_oldest", "drop_newest", "latest"
POLICIES = (DROP_OLDEST, DROP_NEWEST, LATEST)
#: Bytes that an event costs beside its envelope: topic, number, brackets, and the tuple that holds it.
OVERHEAD = 100

#: Topic, envelope as JSON.
Item = tuple[str, bytes]


class OutboxLimits(NamedTuple):
    """The bounds of a queue, and its policy."""

    events: int = 100_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 60.0
    policy: str = DROP_OLDEST


class OfflineQueue:
    """A queue under bounds. Not thread-safe."""

    def __init__(self, limits: OutboxLimits) -> None:
        self.limits = limits
        #: The events, oldest first. A caller that takes some at the left calls `note_taken`.
        self.items: deque[Item] = deque()
        self._since: deque[float] = deque()  # parallel to `items`: when each was taken in
        self.bytes = 0
        self.full = 0
        self.expired = 0
        self.superseded = 0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def dropped(self) -> int:
        """Events lost. A superseded event is not: its topic's newest is here."""
        return self.full + self.expired

    def take_in(self, fresh: deque[Item], now: float) -> None:
        """Take all events that are in `fresh` now. Publishers may append to it meanwhile."""
        items, since, limits = self.items, self._since, self.limits
        newest = limits.policy == DROP_NEWEST
        for _ in range(len(fresh)):
            item = fresh.popleft()
            size = len(item[1]) + OVERHEAD
            if newest and (len(items) >= limits.events or self.bytes + size > limits.bytes):
                self.full += 1
                continue
            items.append(item)
            since.append(now)
            self.bytes += size
        if limits.policy == LATEST:
            self._keep_latest()
        while items and (len(items) > limits.events or self.bytes > limits.bytes):
            self.discard()
            self.full += 1
        while items and since[0] < now - limits.seconds:
            self.discard()
            self.expired += 1

    def discard(self) -> None:
        """Remove the oldest event."""
        self.note_taken(1, len(self.items.popleft()[1]))

    def note_taken(self, count: int, size: int) -> None:
        """`count` events were taken at the left; their envelopes have `size` bytes together."""
        for _ in range(count):
            self._since.popleft()
        self.bytes -= size + OVERHEAD * count

    def clear(self) -> None:
        """Remove all events."""
        self.items.clear()
        self._since.clear()
        self.bytes = 0

    def _keep_latest(self) -> None:
        # From the newest to the oldest: the first one of a topic is kept, in its place.
        seen: set[str] = set()
        kept: deque[Item] = deque()
        times: deque[float] = deque()
        for item, at in zip(reversed(self.items), reversed(self._since), strict=True):
            if item[0] in seen:
                self.superseded += 1
                self.bytes -= len(item[1]) + OVERHEAD
                continue
            seen.add(item[0])
            kept.appendleft(item)
            times.appendleft(at)
        # In place: the outbox refers to these deques.
        self.items.clear()
        self.items.extend(kept)
        self._since.clear()
        self._since.extend(times)
