"""The state of a process: the default bus, the nodes of its buses, and their treatment at exit and after a fork.

fabric.connect()     a node for the default bus, or for another one; for a bus that has joined, the same node again
at exit              open nodes are closed, which sends the waiting events within their timeout; also at the end of a worker
                     of `multiprocessing`
after a fork         the child's nodes start clean: a new origin, a new link on first use, no endpoints. They use no
                     socket of the parent's link, and close its connections
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from fabric.bus import waiter
from fabric.bus.bus import Bus
from fabric.config.settings import Settings, load
from fabric.messages.receipt import Receipt
from fabric.node.node import Node

#: The bus that the module-level functions act on.
default_bus = Bus()

#: The priority of our finaliser in a worker of `multiprocessing`, which runs the highest first.
FINALIZE_PRIORITY = -1_000

_nodes: weakref.WeakSet[Node] = weakref.WeakSet()
#: Around `connect`: one bus gets one node.
_lock = threading.Lock()


def connect(
    name: str | None = None,
    *,
    url: str | None = None,
    bus: Bus | None = None,
    autostart: bool | None = None,
    **settings: Any,
) -> Node:
    """Connect `bus`, by default the default bus, to the fabric. Returns at once, also if no proxy answers.

    `name` becomes the node's name and, if the bus has no source of its own, the `src` of its events. `url` is the proxy's
    address. Without it, and without FABRIC_URL or a settings file, that is the embedded default, where a proxy is started
    in the background if none answers (not with `autostart=False`). Further keywords are the fields of `fabric.Settings`.

    A bus that is connected to that address gets the same node again, which its last holder closes. AlreadyConnected if it
    is connected to another address, or with other settings; SettingsError for a wrong setting.
    """
    bus = default_bus if bus is None else bus
    unknown = settings.keys() - Settings.__dataclass_fields__.keys()
    if unknown:
        raise TypeError(f"connect() has no setting {sorted(unknown)[0]!r}")
    given = {"node": name, "url": url, "autostart": autostart, **settings}
    wanted = load(Settings, "fabric", given)
    with _lock:
        if isinstance(bus.outside, Node) and bus.outside.add_reference(
            wanted, [option for option, value in given.items() if value is not None]
        ):
            return bus.outside
        node = Node(bus, wanted)
        if name and bus.source is None:
            bus.source = name
        node.join()
        _nodes.add(node)
        _close_with_worker()
        return node


def send_once(
    to: str,
    body: Mapping[str, Any],
    *,
    type: str | None = None,
    channel: str | None = None,
    sender: str = "",
    url: str | None = None,
    autostart: bool | None = None,
    timeout: float = 5.0,
) -> Receipt:
    """Send one message from a program without a node, block until it is delivered, and return its receipt.

    Raises the error of the receipt if it fails. `sender` is a claim: the receiver gets `anonymous:<sender>`.
    """
    with connect(sender or None, url=url, bus=Bus(), autostart=autostart) as node:
        receipt = node.send(to, body, type=type, channel=channel, timeout=timeout)
        receipt.wait()
        return receipt


def _close_all() -> None:
    for node in list(_nodes):
        node.close_for_all()


def _after_fork() -> None:
    global _lock  # a thread of the parent may have held it
    _lock = threading.Lock()
    waiter.forked()
    default_bus.forked()
    for node in list(_nodes):
        node.forked()
    if (util := sys.modules.get("multiprocessing.util")) is not None:
        # A worker clears its finalisers when it begins, which is after this, and then calls these functions.
        util.register_after_fork(default_bus, _close_with_worker)


def _close_with_worker(_: object = None) -> None:
    """Close the nodes at the end of a worker of `multiprocessing`, which does not run `atexit`, but its own finalisers."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    from multiprocessing.util import Finalize

    # After all others, because a finaliser may publish.
    Finalize(None, _close_all, exitpriority=FINALIZE_PRIORITY)


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
