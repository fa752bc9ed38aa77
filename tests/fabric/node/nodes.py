"""Helpers of the tests of nodes."""

from fabric.testing import wait_until


def collect(node, pattern):
    """A list that fills with the events of a subscription that all publishers know."""
    events = []
    node.subscribe(pattern, events.append).wait_ready(everyone=True)
    return events


def arrive(events, count):
    wait_until(lambda: len(events) >= count, what=f"{count} events arrive")
    return events
