"""What an XPUB reads, for the tests of `fabric.events.interest`."""

from fabric.events.interest import NOBODY, Interest
from fabric.protocol.events import END, UP


def plus(*wanted):
    """Subscriptions as they are read."""
    return [b"\x01" + prefix for prefix in wanted]


def minus(*gone):
    """Their ends."""
    return [b"\x00" + prefix for prefix in gone]


def replay(*wanted):
    """What a new connection reads: byte order, the proxy's own among them."""
    return plus(*sorted({*wanted, UP, END}))


def loss(*wanted):
    """What a lost connection reads."""
    return minus(*sorted({*wanted, UP, END}))


def connected(*wanted, now=0.0):
    interest = Interest()
    interest.read(replay(*wanted), now)
    return interest


def wants(interest, topic):
    return interest.routes.of(topic) != NOBODY
