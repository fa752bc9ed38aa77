"""Subscribes to the events that rules are for: one subscription per pattern, each event delivered once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from fabric.bus.bus import Bus
from fabric.bus.subscription import Subscription
from fabric.protocol.envelope import Envelope


class EventWatch:
    """Every method may be called on any thread."""

    def __init__(self, bus: Bus, heard: Callable[[str, Envelope], None]) -> None:
        """`heard` is called with topic and envelope, as the bus calls callbacks, and must not block."""
        self.heard = heard
        self._bus = bus
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        self._closed = False

    def subscribe(self, patterns: Iterable[str]) -> None:
        """Subscribe to these patterns, and to no others."""
        wanted = list(patterns)
        with self._lock:
            if self._closed:
                return
            for pattern in [pattern for pattern in self._subscriptions if pattern not in wanted]:
                self._subscriptions.pop(pattern).cancel()
            for pattern in wanted:
                if pattern not in self._subscriptions:
                    self._subscriptions[pattern] = self._bus._subscribe(pattern, _Heard(self, pattern), with_topic=True)

    def hear(self, pattern: str, topic: str, envelope: Envelope) -> None:
        """The subscription of `pattern` was called. Where several match, the first of them passes it on."""
        for subscription in self._bus.subscribers_of(topic):
            callback = subscription.callback
            if isinstance(callback, _Heard) and callback.watch is self:
                if callback.pattern == pattern:
                    self.heard(topic, envelope)
                return

    @property
    def subscriptions(self) -> list[Subscription]:
        """One per pattern; for `wait_ready`."""
        with self._lock:
            return list(self._subscriptions.values())

    def close(self) -> None:
        """Cancel all subscriptions."""
        with self._lock:
            self._closed = True
            subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.cancel()


class _Heard:
    """The callback of one pattern."""

    def __init__(self, watch: EventWatch, pattern: str) -> None:
        self.watch = watch
        self.pattern = pattern

    def __call__(self, topic: str, envelope: Envelope) -> None:
        self.watch.hear(self.pattern, topic, envelope)
