"""Counts of events by topic: exact if all messages were observed, estimated if only a sample was.

    observe(first, second)          one message of the sample, its two frames
    end_sample(messages, …, now)    the sample is complete; `messages` have passed since the start, as libzmq has counted

A message is a pack of up to a hundred events, so its topics are known only after parsing JSON. Parsing all messages would
cost a busy plane a fifth of a core. So the observer parses a bounded number in each turn, and each message of the sample
counts for `passed / sampled` messages. A sample from which no message was left out counts exactly, whatever the totals
say: a message may pass between reading the sample and reading the totals.

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import NamedTuple

from fabric.errors import WireError
from fabric.protocol.events import RESERVED, decode_events

#: Seconds over which a rate is measured.
WINDOW = 1.0


class TopicCount(NamedTuple):
    """One topic: events and bytes since the start, rates per second over the last window; `last` is monotonic."""

    topic: str
    events: float
    bytes: float
    rate: float
    byte_rate: float
    last: float


class _Topic:
    __slots__ = ("byte_rate", "bytes", "bytes_before", "events", "events_before", "last", "rate")

    def __init__(self) -> None:
        self.events = self.bytes = self.events_before = self.bytes_before = 0.0
        self.rate = self.byte_rate = self.last = 0.0


class TopicCounts:
    """A table of at most `limit` topics; the longest idle are evicted first. One thread writes, any may read."""

    def __init__(self, limit: int, now: float) -> None:
        self._limit = max(limit, 1)
        self._topics: dict[str, _Topic] = {}
        self._active: set[str] = set()  # with events in this window, or with a rate from the last one
        self._sample: dict[str, list[int]] = {}  # topic → events, bytes
        self._sampled = 0
        self._counted_messages = 0
        self._passed_messages = self._observed_messages = 0
        self._window = now
        #: All events, those of evicted topics included, and their rate.
        self.events = 0.0
        self.rate = self.byte_rate = 0.0
        self._events_before = self._bytes = self._bytes_before = 0.0

    @property
    def observed(self) -> float:
        """The share of all messages that was observed; 1: the counts are exact."""
        return self._observed_messages / self._passed_messages if self._passed_messages else 1.0

    def __len__(self) -> int:
        return len(self._topics)

    def observe(self, first: bytes, second: bytes) -> None:
        """Add one message to the sample. Frames that are not our protocol add no event."""
        self._sampled += 1
        if first[:1] == RESERVED:
            return
        try:
            events = decode_events(second)
        except WireError:
            return
        sample = self._sample
        size = (len(first) + len(second)) // (len(events) or 1)
        for topic, _, envelope in events:
            if envelope is None:
                continue  # a mark, which is no event
            if (found := sample.get(topic)) is None:
                sample[topic] = [1, size]
            else:
                found[0] += 1
                found[1] += size

    def end_sample(self, messages: int, incomplete: bool, now: float) -> None:
        """Count a sample; `incomplete`: messages were left out of it. `now` is monotonic."""
        if sampled := self._sampled:
            # Messages of turns without a sample are counted with the next sample.
            passed = max(messages - self._counted_messages, sampled) if incomplete else sampled
            self._counted_messages += passed
            self._passed_messages += passed
            self._observed_messages += sampled
            self._sampled = 0
            self._count(passed / sampled, now)
        if now - self._window >= WINDOW:
            self._end_window(now)

    def rows(self, limit: int) -> list[TopicCount]:
        """The busiest `limit` topics, busiest first: by rate, then by count. Any thread."""
        found = [
            TopicCount(topic, each.events, each.bytes, each.rate, each.byte_rate, each.last)
            for topic, each in list(self._topics.items())
        ]
        found.sort(key=lambda row: (-row.rate, -row.events, row.topic))
        return found[:limit]

    def _count(self, scale: float, now: float) -> None:
        topics = self._topics
        for topic, (events, size) in self._sample.items():
            found = topics.get(topic)
            if found is None:
                if len(topics) >= self._limit:
                    self._evict()
                found = topics[topic] = _Topic()
            found.events += events * scale
            found.bytes += size * scale
            found.last = now
            self.events += events * scale
            self._bytes += size * scale
        self._active.update(self._sample)
        self._sample.clear()

    def _end_window(self, now: float) -> None:
        elapsed, self._window = now - self._window, now
        self.rate, self._events_before = (self.events - self._events_before) / elapsed, self.events
        self.byte_rate, self._bytes_before = (self._bytes - self._bytes_before) / elapsed, self._bytes
        active: set[str] = set()
        for topic in self._active:
            if (found := self._topics.get(topic)) is None:
                continue
            found.rate, found.events_before = (found.events - found.events_before) / elapsed, found.events
            found.byte_rate, found.bytes_before = (found.bytes - found.bytes_before) / elapsed, found.bytes
            if found.rate:
                active.add(topic)
        self._active = active

    def _evict(self) -> None:
        # A tenth at a time: sorting for each new topic would make inventing topics an attack.
        by_age = sorted(self._topics, key=lambda topic: self._topics[topic].last)
        for topic in by_age[: self._limit // 10 or 1]:
            del self._topics[topic]
