"""Fixtures of the tests of the bus."""

import pytest


class RecordingOutside:
    """An `Outside` that records the calls of the bus: ("+", pattern), ("-", pattern), (topic, envelope)."""

    def __init__(self):
        self.calls = []

    def forward(self, topic, envelope):
        self.calls.append((topic, dict(envelope)))

    def subscribed(self, subscription):
        self.calls.append(("+", subscription.pattern))

    def unsubscribed(self, subscription):
        self.calls.append(("-", subscription.pattern))


@pytest.fixture
def outside():
    """An outside that records the calls of the bus in `calls`."""
    return RecordingOutside()


@pytest.fixture
def seen(fabric_bus):
    """A function that subscribes to a pattern; its list fills with the envelopes. `seen("a")`, or of another `bus`."""

    def subscribe(pattern, bus=fabric_bus):
        events = []
        bus.subscribe(pattern, events.append)
        return events

    return subscribe
