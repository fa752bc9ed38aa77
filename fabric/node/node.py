"""A node: the membership of one process in a fabric.

    with fabric.connect("gateway") as node:
        node.subscribe("tui.**", print)
        node.publish("gateway.started", {"port": 8080})

A node is a bus and the link that connects it. Without a proxy the bus works alone, and the link comes up when a proxy does.
Changes of the link's state and lost events are events on the same bus: `fabric.link.up`, `fabric.link.down`, `fabric.gap`.

This module has the methods for applications; opening and closing are in `fabric.node.lifecycle`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from time import monotonic, sleep
from typing import Any, TypeVar

from fabric.bus.capture import Capture
from fabric.bus.stream import EventStream
from fabric.bus.subscription import Callback, Subscription
from fabric.errors import FabricError, NotConnected, NotReady
from fabric.events.catch_up import GatedSubscription, SnapshotGate, present
from fabric.events.interest import NOBODY
from fabric.events.retained import RetainedEvent, RetainedFetch, RetainedPages, fetch
from fabric.messages.endpoint import Endpoint
from fabric.messages.message import Handler
from fabric.messages.receipt import Receipt
from fabric.messages.session.outcomes import Listing
from fabric.node.lifecycle import NodeLifecycle
from fabric.node.trace import Trace
from fabric.protocol.envelope import Envelope
from fabric.protocol.topics import check_pattern, check_topic

logger = logging.getLogger("fabric.node")

_Function = TypeVar("_Function", bound=Callback)

#: Seconds between checks for room in the outbox.
POLL_INTERVAL = 0.001
#: Seconds that a subscription with `history` or `last` waits for the answers of the proxy.
HISTORY_TIMEOUT = 5.0


class Node(NodeLifecycle):
    """Made by `connect`. Every method may be called on any thread; methods that block raise RuntimeError on the thread of a
    running event loop, where their awaitable twins are to be used."""

    # Events

    def publish(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Publish on this node's bus; see `Bus.publish`."""
        self.bus.publish(topic, payload)

    def try_publish(self, topic: str, payload: Mapping[str, Any] | None = None, *, timeout: float = 0.0) -> bool:
        """Publish unless the outbox stays full for `timeout` seconds: False then, and nothing is published.

        (`publish` drops an event if the outbox is full; the setting `outbox_policy` says which.) RuntimeError for a timeout
        on the thread of a running event loop, or in a callback of this node.
        """
        link = self._opened().link
        if timeout and not link.sender.has_room(topic):
            link.may_block()
        deadline = monotonic() + timeout
        while not link.sender.has_room(topic):
            if monotonic() >= deadline:
                return False
            sleep(POLL_INTERVAL)
        self.bus.publish(topic, payload)
        return True

    def has_interest(self, topic: str) -> bool:
        """Whether another process may have a subscription that matches `topic`, by the prefixes that the proxy reported.

        True before the link has first been up. Never False if a subscriber is ready; may be True for a pattern with
        wildcards that does not match.
        """
        check_topic(topic)
        return self._opened().link.sender.interest.routes.of(topic) != NOBODY

    def subscribe(
        self, pattern: str, callback: Callback, *, recover: bool = False, history: bool = False, last: bool = False
    ) -> Subscription:
        """Subscribe to local and remote events; see `Bus.subscribe`.

        With `history`, a pattern that matches `fabric.node.joined` or `fabric.endpoint.joined` first gets an event for each
        present member, marked `history`. With `last`, the retained event of each matching topic is delivered first (see the
        proxy's setting `retain`), marked `replayed`. Live events wait meanwhile. If no proxy answers within
        `HISTORY_TIMEOUT` seconds, there are only the live events.
        """
        if not (history or last) or not callable(callback):
            return self.bus.subscribe(pattern, callback, recover=recover)
        inner = GatedSubscription(self.bus, pattern, callback, 0, self.bus.loop_queue())
        gate = SnapshotGate(lambda envelope: self.bus.hand_over(inner, pattern, envelope))
        inner.front = subscription = self.bus.subscribe(pattern, gate, recover=recover)
        replay = RetainedFetch(self.bus, pattern) if last else None
        threading.Thread(
            target=self._deliver_snapshot,
            args=(subscription, gate, history, replay),
            name="fabric-history",
            daemon=True,
        ).start()
        return subscription

    def _deliver_snapshot(
        self, subscription: Subscription, gate: SnapshotGate, history: bool, replay: RetainedFetch | None
    ) -> None:
        members: list[Envelope] = []
        events: list[Envelope] = []
        deadline = monotonic() + HISTORY_TIMEOUT
        try:
            subscription.wait_ready(HISTORY_TIMEOUT)
            if history:
                left = max(deadline - monotonic(), 0.001)
                members = present(subscription.pattern, self._opened().messaging.queries.listing(left).result(left))
            if replay is not None:
                events = [each.envelope for each in replay.fetch(self._opened().messaging.queries.last, deadline)]
        except (FabricError, TimeoutError, FutureTimeout) as error:
            # Without a proxy there are no members and no retained events; later ones are announced, or live.
            logger.info("nothing from before the subscription to %r: %s", subscription.pattern, error)
        finally:
            if replay is not None:
                replay.close()
            gate.open(members, events)

    def last(self, pattern: str = "**", timeout: float = 5.0, *, live: bool = False) -> list[RetainedEvent]:
        """The retained event of each matching topic, with `topic` and `envelope`; see the proxy's setting `retain`.

        With `live`, the result joins the live events of this node's subscriptions without gap or duplicate: it has no event
        that is also delivered live, and all events that passed the proxy before have been handed to subscribers when this
        returns. NotReady if no proxy answers within `timeout` seconds, Refused by a proxy of a version that retains
        nothing. Blocks: RuntimeError on the thread of a running event loop (use `asyncio.to_thread`).
        """
        pages = RetainedPages(check_pattern(pattern))
        self._opened().link.may_block()
        deadline = monotonic() + timeout
        try:
            if not live:
                fetch(pages, self._opened().messaging.queries.last, deadline)
                return pages.found
            with RetainedFetch(self.bus, pattern) as replay:
                self.wait_ready(timeout)
                return replay.fetch(self._opened().messaging.queries.last, deadline)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady(f"what came last on {pattern!r}", url=self.url, waited=timeout) from None

    def on(self, pattern: str) -> Callable[[_Function], _Function]:
        """Decorator; see `Bus.on`."""
        return self.bus.on(pattern)

    def events(
        self, pattern: str = "**", *, limit: int = 1_000, timeout: float | None = None, last: bool = False
    ) -> EventStream:
        """Iterate over events with `for` or `async for`; see `fabric.EventStream`. `last`: see `subscribe`."""
        subscribe = partial(self.subscribe, last=True) if last else None
        return EventStream(self.bus, pattern, limit=limit, timeout=timeout, subscribe=subscribe)

    def capture(self, pattern: str = "**", *, limit: int = 10_000) -> Capture:
        """Record the events that match, to inspect them and to wait for them; see `fabric.Capture`."""
        return Capture(self.bus, pattern, limit=limit)

    def wait_ready(self, timeout: float = 5.0) -> None:
        """Block until the proxy has welcomed this node, and a probe has gone round: what is published from now on arrives.

        NotReady after `timeout` seconds. RuntimeError inside a callback, where the delivery thread would wait for itself,
        and on the thread of a running event loop (use `await node.ready()`).
        """
        self._opened().readiness.wait(f"the node {self.name!r}", timeout)

    async def ready(self, timeout: float = 5.0) -> None:
        """The awaitable twin of `wait_ready`."""
        await self._opened().readiness.wait_async(f"the node {self.name!r}", timeout)

    # Messages

    def endpoint(
        self,
        name: str,
        handler: Handler | None = None,
        *,
        policy: str = "reject",
        max_inbox: int = 1_000,
        max_workers: int = 1,
    ) -> Endpoint:
        """Receive messages addressed to `name`, in an inbox or by `handler(message)`; see `fabric.Endpoint`.

        If the name is taken, `policy` decides: `reject` (NameTaken), `replace` (the other holder loses it), `suffix` (we
        get `name-2`, …), `share` (each message goes to one of the holders in turn). While the link is up, this blocks until
        the proxy has answered. Otherwise, and on the thread of a running event loop, it returns at once; `wait_ready`, or
        `await …ready()`, waits for the answer. ValueError for an invalid name.
        """
        return self._opened().messaging.endpoint(
            name, handler, policy=policy, max_inbox=max_inbox, max_workers=max_workers
        )

    def send(
        self,
        to: str,
        body: Mapping[str, Any],
        *,
        type: str | None = None,
        channel: str | None = None,
        sender: str = "",
        timeout: float = 5.0,
        redeliver: bool = False,
    ) -> Receipt:
        """Send `body` to the endpoint `to`, or with `*` to all endpoints but ours. The receipt has its result.

        `type` and `channel` become keys of the body. `sender` is an endpoint of this node; without one the message is from
        `anonymous:` and this node's name. Within `timeout` seconds it is sent again after every reconnect, to the session
        that was chosen first; with `redeliver` also to a successor of that. Raises BadMessage or MessageTooLarge for a
        body that cannot be carried, SenderNotOwned, and EndpointBusy if too many messages wait.
        """
        return self._opened().messaging.send(
            to, body, type=type, channel=channel, sender=sender, timeout=timeout, redeliver=redeliver
        )

    def request(
        self,
        to: str,
        body: Mapping[str, Any],
        *,
        type: str | None = None,
        channel: str | None = None,
        sender: str = "",
        timeout: float = 5.0,
        redeliver: bool = False,
    ) -> Receipt:
        """As `send`, but the receipt is done when the handler has answered, with what it returned."""
        return self._opened().messaging.send(
            to, body, request=True, type=type, channel=channel, sender=sender, timeout=timeout, redeliver=redeliver
        )

    def trace(self, topic: str, timeout: float = 5.0) -> Trace:
        """The subscriptions of all nodes that match `topic`, and those that nearly do. Nothing is published.

        NotReady if no proxy answers within `timeout` seconds, ValueError for a bad topic. Blocks: RuntimeError on the
        thread of a running event loop (use `asyncio.to_thread`).
        """
        return self._opened().readiness.trace(check_topic(topic), timeout)

    def endpoints(self, timeout: float = 5.0) -> list[dict[str, Any]]:
        """The registered endpoints: `endpoint`, `session`, `node`, `origin`, `pid`, `host`, `since`, `seen` (unix seconds).

        NotReady if no proxy answers within `timeout` seconds.
        """
        return self.members(timeout).endpoints

    def members(self, timeout: float = 5.0) -> Listing:
        """Endpoints and nodes; see `endpoints`. Blocks: RuntimeError on the thread of a running event loop."""
        link = self._opened().link
        link.may_block()
        try:
            return self._opened().messaging.queries.listing(timeout).result(timeout + 1.0)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady("the list of endpoints", url=self.url, waited=timeout) from None

    async def amembers(self, timeout: float = 5.0) -> Listing:
        """The awaitable twin of `members`."""
        import asyncio

        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(self._opened().messaging.queries.listing(timeout)), timeout + 1.0
            )
        except (TimeoutError, NotConnected):
            raise NotReady("the list of endpoints", url=self.url, waited=timeout) from None
