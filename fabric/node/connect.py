"""What a process has one of: the default bus, the nodes that its buses have joined with, its end, and its forks.

fabric.connect()     a node for the default bus, or for another; the same one again for a bus that has joined
at exit              nodes that nobody closed are closed: what can be sent within their timeout is; also at the end of
                     a worker of `multiprocessing`
after a fork         the child's nodes start clean: an origin of their own, a link of their own on first use, no names;
                     of the parent's link they touch nothing, and keep no connection
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

#: Among the things that a worker does at its end, the highest first.
WITH_WORKER = -1_000

_nodes: weakref.WeakSet[Node] = weakref.WeakSet()
_connecting = threading.Lock()


def connect(
    name: str | None = None,
    *,
    url: str | None = None,
    bus: Bus | None = None,
    autostart: bool | None = None,
    **settings: Any,
) -> Node:
    """Join the fabric with `bus` (the default bus if none is given). Returns at once, whether or not a proxy is there.

    `name` becomes the node's name and, if the bus has no source of its own, the `src` of what it publishes. `url` is
    the proxy's address; without one, and without FABRIC_URL or a settings file, it is the embedded default, where a
    proxy is started in the background if none answers (`autostart=False` turns that off). Further keywords are the
    fields of `fabric.config.settings.Settings`.

    A bus that has joined that address already gets the same node again, which its last holder closes. AlreadyConnected
    if it joined another, or with other settings; SettingsError for a setting that is wrong.
    """
    bus = default_bus if bus is None else bus
    unknown = settings.keys() - Settings.__dataclass_fields__.keys()
    if unknown:
        raise TypeError(f"connect() has no setting {sorted(unknown)[0]!r}")
    given = {"node": name, "url": url, "autostart": autostart, **settings}
    wanted = load(Settings, "fabric", given)
    with _connecting:
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
    """Send one message from a program that is no node, and wait for its receipt. Raises what it fails with.

    `sender` is a claim, shown to the receiver as `anonymous:<sender>`.
    """
    with connect(sender or None, url=url, bus=Bus(), autostart=autostart) as node:
        receipt = node.send(to, body, type=type, channel=channel, timeout=timeout)
        receipt.wait()
        return receipt


def _close_all() -> None:
    for node in list(_nodes):
        node.close_for_all()


def _after_fork() -> None:
    global _connecting  # the parent may have held it
    _connecting = threading.Lock()
    waiter.forked()
    default_bus.forked()
    for node in list(_nodes):
        node.forked()
    if (util := sys.modules.get("multiprocessing.util")) is not None:
        # A worker forgets what is to be done at its end when it begins, which is after this; then it asks these.
        util.register_after_fork(default_bus, _close_with_worker)


def _close_with_worker(_: object = None) -> None:
    """A worker of `multiprocessing` ends without `atexit`, but not without its own list of what is to be done."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    from multiprocessing.util import Finalize

    # Last of all: what a worker does at its end may publish.
    Finalize(None, _close_all, exitpriority=WITH_WORKER)


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
