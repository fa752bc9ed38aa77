"""InMemoryFabric: a fabric inside one process, for unit tests, without sockets, processes and files.

    from fabric.testing import InMemoryFabric

    with InMemoryFabric() as memory:
        shop, kitchen = memory.node("shop"), memory.node("kitchen")
        orders = kitchen.capture("orders.**")
        shop.publish("orders.placed", {"fruit": "apple"})
        assert orders.wait(1)[0]["fruit"] == "apple"

Its nodes are `fabric.Node`s: same methods, errors, receipts and threads; events and messages between them are encoded and
decoded as on the wire. Session, directory, outbox and ledger are the real ones, only the sockets are replaced
(`fabric.testing.memory_link`). One contract is tested with both.

Differences that make tests simpler: a subscription is live when `subscribe` returns, and an event has reached its receivers
when `publish` returns (callbacks still run on the delivery thread, or on their loop). A test that runs with a real proxy as
well must call `wait_ready(everyone=True)` all the same.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import Any

from fabric.bus.bus import Bus
from fabric.bus.closing import AsyncClosing
from fabric.bus.loop_queue import running_loop
from fabric.config.address import Address
from fabric.config.settings import Settings
from fabric.node.connect import default_bus
from fabric.node.node import Node
from fabric.protocol.topics import check_pattern
from fabric.testing.memory_link import KINDS, MemoryContext, MemoryLink
from fabric.testing.memory_proxy import PEER_BYTES, MemoryProxy

#: Seconds for a node to become ready; on an idle machine it takes a millisecond.
DEADLINE = 10.0
#: Seconds between checks of that.
_POLL_INTERVAL = 0.000_2
#: Seconds for each node to settle its messages when the fabric is closed.
CLOSE_TIMEOUT = 0.1

_numbers = itertools.count(1)


@dataclass(frozen=True)
class MemorySettings(Settings):
    """Settings with an address in memory: `memory://` and a number."""

    def address(self) -> Address:
        """An address of which only the text is used."""
        return Address(self.url, self.url, self.url, self.url, None)


class InMemoryFabric(AsyncClosing):
    """A proxy and its nodes, in this process. Every method may be called on any thread.

    `timeout` is the proxy's setting: seconds of silence after which a node counts as lost. `max_bytes` is the largest
    message. `retain`: patterns of topics whose last event is retained for subscriptions with `last=True`. `peer_bytes`:
    bytes of events that may wait for one subscriber.
    """

    def __init__(
        self,
        *,
        timeout: float = 15.0,
        max_bytes: int = Settings.max_bytes,
        retain: Iterable[str] = (),
        peer_bytes: int = PEER_BYTES,
    ) -> None:
        #: The address of its nodes.
        self.url = f"memory://{next(_numbers)}"
        self._max_bytes = max_bytes
        patterns = [check_pattern(pattern) for pattern in ((retain,) if isinstance(retain, str) else retain)]
        self._proxy = MemoryProxy(timeout=timeout, max_bytes=max_bytes, retain=patterns, peer_bytes=peer_bytes)
        self._connecting = threading.Lock()
        self._nodes: list[Node] = []
        self._contexts: dict[Node, MemoryContext] = {}
        self._cut: set[Node] = set()
        self._closed = False

    # Nodes

    def node(self, name: str | None = None, *, bus: Bus | None = None, ready: bool = True, **settings: Any) -> Node:
        """A connected node with a bus of its own, or with `bus`; unless `ready` is False, ready when this returns.

        `settings` are fields of `fabric.Settings`. RuntimeError if this fabric was closed.
        """
        node = self.connect(name, bus=Bus() if bus is None else bus, **settings)
        if ready and node not in self._cut:
            self._wait_ready(node)
        return node

    def connect(
        self,
        name: str | None = None,
        *,
        url: str | None = None,
        bus: Bus | None = None,
        autostart: bool | None = None,
        **settings: Any,
    ) -> Node:
        """A replacement for `fabric.connect`, for code that calls it.

            monkeypatch.setattr(fabric, "connect", memory.connect)

        `bus` is the default bus if omitted; a bus that is connected gets the same node again. `url` and `autostart` are
        accepted and ignored.
        """
        bus = default_bus if bus is None else bus
        given = {"node": name, **settings}
        with self._connecting:
            if self._closed:
                raise RuntimeError(f"the fabric {self.url} was closed")
            wanted = MemorySettings(
                **{
                    "max_bytes": self._max_bytes,
                    **settings,
                    "url": self.url,
                    "node": name or f"node-{len(self._nodes) + 1}",
                    "autostart": False,
                }
            )
            held = [option for option, value in given.items() if value is not None]
            if isinstance(bus.outside, Node) and bus.outside.add_reference(wanted, held):
                return bus.outside
            context = MemoryContext(self._proxy)
            node = Node(bus, wanted, link=partial(MemoryLink, context))
            self._nodes.append(node)
            self._contexts[node] = context
            if name and bus.source is None:
                bus.source = name
            node.join()
            return node

    def _wait_ready(self, node: Node) -> None:
        if running_loop() is None:
            node.wait_ready(DEADLINE)
            return
        # This blocks the loop, but only for a millisecond, and for nothing that needs the loop.
        until = monotonic() + DEADLINE
        while node.state != "up" or not node.stats()["messages"]["connects"]:
            if monotonic() > until:
                raise TimeoutError(f"the node {node.name!r} in memory was not ready after {DEADLINE:g} s")
            sleep(_POLL_INTERVAL)

    # Faults

    def cut(self, *names: str) -> None:
        """Break the links of the nodes of these names, or of all. They go down, and their events wait in their outboxes.

        Messages wait in their queues until their deadlines. The proxy notices a lost node when it next sends to it, or
        after `timeout` seconds of silence. ValueError for a name that no node has.
        """
        for node in self._named(names):
            self._cut.add(node)
            self._contexts[node].cut()

    def heal(self, *names: str) -> None:
        """Restore the links of the nodes of these names, or of all. They reconnect by themselves."""
        for node in self._named(names):
            self._cut.discard(node)
            self._contexts[node].heal()

    def restart(self) -> None:
        """Kill and restart the proxy: every link breaks, and all state of the proxy is lost.

        Nodes reconnect with their subscriptions and names; those that are cut stay cut.
        """
        there = [self._contexts[node] for node in self._named(()) if node not in self._cut]
        with self._proxy.lock:
            for context in there:
                context.cut()
            self._proxy.restart()
            for kind in KINDS:  # the subscribers of all nodes first, or some would miss the first events
                for context in there:
                    context.join(kind)

    def _named(self, names: Iterable[str]) -> list[Node]:
        nodes = [node for node in self._nodes if node.state != "closed"]
        names = set(names)
        if unknown := sorted(names - {node.name for node in nodes}):
            known = ", ".join(repr(node.name) for node in nodes) or "none"
            raise ValueError(f"no node here is called {unknown[0]!r}; there are {known}")
        return [node for node in nodes if not names or node.name in names]

    # Leaving

    def close(self) -> None:
        """Close its nodes, the last one first, for all their holders. RuntimeError on a running event loop."""
        if running_loop() is not None:
            raise RuntimeError("this would block the running event loop: use `await memory.aclose()`")
        self._closed = True
        self.heal()
        while self._nodes:
            self._nodes.pop().close_for_all(CLOSE_TIMEOUT)
        self._contexts.clear()

    async def aclose(self) -> None:
        """The awaitable twin of `close`."""
        import asyncio

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"<InMemoryFabric {self.url}: {', '.join(node.name for node in self._named(())) or 'empty'}>"
