"""Sessions at the points of their life where most tests begin."""

from __future__ import annotations

import pytest

from fabric.protocol import verbs
from tests.fabric.messages.session.harness import registered, welcomed


@pytest.fixture
def node():
    """A session that is welcomed, with nothing sent or reported yet."""
    return welcomed()


@pytest.fixture
def found(node):
    """A session that is welcomed and knows that `worker` is at session w-1."""
    node.send("first")
    node.receive(verbs.Found("worker", "", "w-1", False), verbs.Ack("first", 1))
    return node.forget()


@pytest.fixture
def inbox():
    """A session that is welcomed and holds the name `inbox`: key 1, session i-1."""
    return registered()
