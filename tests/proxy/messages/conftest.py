"""Directories with nodes and names in them."""

import pytest

from fabric.protocol import verbs
from tests.proxy.messages.peers import Proxy, hello


@pytest.fixture
def proxy():
    """Nodes a and b; b holds `worker` as session boot-1."""
    proxy = Proxy().say(b"a", hello(b"a")).say(b"b", hello(b"b"), verbs.Register(1, "worker", "reject"))
    proxy.boxes.clear()
    proxy.announced()
    return proxy


@pytest.fixture
def crowd(proxy):
    """Beside `worker` at b: `one` and `two` at c; a has `own`."""
    proxy.say(b"c", hello(b"c"), verbs.Register(1, "one", "reject"), verbs.Register(2, "two", "reject"))
    proxy.say(b"a", verbs.Register(1, "own", "reject"))
    proxy.boxes.clear()
    return proxy
