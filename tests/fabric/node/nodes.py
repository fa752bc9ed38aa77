"""What the tests of nodes do again and again."""

from fabric.testing import wait_until


def collect(node, pattern):
    """A list that fills with what a subscription gets; everyone who publishes knows of it."""
    events = []
    node.subscribe(pattern, events.append).wait_ready(everyone=True)
    return events


def arrive(events, count):
    wait_until(lambda: len(events) >= count, what=f"{count} events arrive")
    return events
