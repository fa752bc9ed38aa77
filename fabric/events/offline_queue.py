"""What is held back while nothing can be sent: bounded in events, bytes and seconds, with a policy for what is over.

    drop_oldest   the oldest goes: who comes back sees the newest (the default)
    drop_newest   what comes last is not taken: who comes back sees how it began
    latest        one event a topic, the newest: for states and measurements, where the one before does not matter

Whatever the policy, what waited for too many seconds goes. Every event that goes is counted by its cause: `full`,
`expired`, `superseded` (by a later one of its topic). What is held leaves in the order it came.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

DROP_OLDEST, DROP_NEWEST, LATEST = "drop_oldest", "drop_newest", "latest"
POLICIES = (DROP_OLDEST, DROP_NEWEST, LATEST)
#: What an event costs beside its envelope: topic, number, brackets, and the tuple that holds it.
OVERHEAD = 100

#: Topic, envelope as JSON.
Item = tuple[str, bytes]


class OutboxLimits(NamedTuple):
    """How much may wait: events, bytes, seconds; and the policy."""

    events: int = 100_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 60.0
    policy: str = DROP_OLDEST


class OfflineQueue:
    """A queue under bounds. One thread at a time."""

    def __init__(self, limits: OutboxLimits) -> None:
        self.limits = limits
        #: The events, oldest first. Who takes one at the left calls `note_taken`.
        self.items: deque[Item] = deque()
        self._since: deque[float] = deque()  # beside `items`: when each was taken in
        self.bytes = 0
        self.full = 0
        self.expired = 0
        self.superseded = 0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def dropped(self) -> int:
        """Events lost, whatever the cause. (One that was superseded is not lost: its topic's newest is here.)"""
        return self.full + self.expired

    def take_in(self, fresh: deque[Item], now: float) -> None:
        """Everything that is in `fresh` now. Publishers may append to it meanwhile."""
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
        """Drop the oldest."""
        self.note_taken(1, len(self.items.popleft()[1]))

    def note_taken(self, count: int, size: int) -> None:
        """So many were taken at the left, with envelopes of `size` bytes together."""
        for _ in range(count):
            self._since.popleft()
        self.bytes -= size + OVERHEAD * count

    def clear(self) -> None:
        """Empty it."""
        self.items.clear()
        self._since.clear()
        self.bytes = 0

    def _keep_latest(self) -> None:
        # From the newest to the oldest: whoever comes first stays. A topic keeps the place of its newest event.
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
        # In place: the outbox and its senders hold on to these deques.
        self.items.clear()
        self.items.extend(kept)
        self._since.clear()
        self._since.extend(times)
