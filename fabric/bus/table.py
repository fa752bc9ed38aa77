"""The subscriptions of a bus at one moment, with the matches of recent topics. Pure.

A table is never changed, only replaced by another one (see `fabric.bus.bus`). Its caches are part of it, so a cached match
cannot outlive the subscriptions from which it was computed. (A cache that `subscribe` merely clears loses events: a
delivery that still has the old list writes its stale match back after the clear.)
"""

from __future__ import annotations

from typing import Any

from fabric.bus.subscription import Subscription
from fabric.protocol.topics import KEPT_TOPIC, RESERVED, PatternTable, check_topic, is_reserved

#: Topics of each cache. A full cache is cleared.
CACHE_SIZE = 4_096

Subscribers = tuple[Subscription, ...]


class SubscriptionTable:
    """Immutable but for its caches. Any thread, without a lock: a racing writer repeats a computation."""

    __slots__ = ("patterns", "published", "source", "subscribers")

    def __init__(self, patterns: PatternTable[Subscription] | None = None, source: str | None = None) -> None:
        self.patterns = PatternTable[Subscription]() if patterns is None else patterns
        self.source = source
        #: topic → (src, subscribers), for topics that passed `admit`: applications may publish them.
        self.published: dict[str, tuple[str, Subscribers]] = {}
        #: topic → subscribers, for every delivered topic.
        self.subscribers: dict[str, Subscribers] = {}

    def subscribers_of(self, topic: str) -> Subscribers:
        """The subscriptions that match `topic`, in registration order."""
        found = self.subscribers.get(topic)
        if found is None:
            found = tuple(sorted(self.patterns.match(topic), key=serial_of))
            if topic == KEPT_TOPIC:
                found = tuple(each for each in found if each.pattern == KEPT_TOPIC)
            _cache(self.subscribers, topic, found)
        return found

    def admit(self, topic: str) -> tuple[str, Subscribers]:
        """The `src` and the subscribers of a topic to publish. ValueError for a bad or a reserved topic."""
        check_topic(topic)
        if is_reserved(topic):
            raise ValueError(
                f"topic {topic!r}: {RESERVED!r} and below are the system's own, choose another first segment"
            )
        found = (self.source or topic.partition(".")[0], self.subscribers_of(topic))
        _cache(self.published, topic, found)
        return found


def serial_of(subscription: Subscription) -> int:
    """The key that sorts subscriptions in registration order."""
    return subscription.serial


def _cache(cache: dict[str, Any], topic: str, found: object) -> None:
    if len(cache) >= CACHE_SIZE:
        cache.clear()
    cache[topic] = found
