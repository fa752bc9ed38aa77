"""Frames as an XPUB reads them, for the tests of `fabric.events.interest`."""

from fabric.events.interest import NOBODY, Interest
from fabric.protocol.events import END, UP


def plus(*wanted):
    """Subscriptions."""
    return [b"\x01" + prefix for prefix in wanted]


def minus(*gone):
    """Ends of subscriptions."""
    return [b"\x00" + prefix for prefix in gone]


def replay(*wanted):
    """The subscriptions read from a new connection: in byte order, the proxy's own among them."""
    return plus(*sorted({*wanted, UP, END}))


def loss(*wanted):
    """The ends read from a lost connection."""
    return minus(*sorted({*wanted, UP, END}))


def connected(*wanted, now=0.0):
    interest = Interest()
    interest.read(replay(*wanted), now)
    return interest


def wants(interest, topic):
    return interest.routes.of(topic) != NOBODY
