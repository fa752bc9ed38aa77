"""A node: one process's membership in a fabric.

    with fabric.connect("gateway") as node:
        node.subscribe("tui.**", print)
        node.publish("gateway.started", {"port": 8080})

A node is a bus and the link that connects it. Without a proxy the bus works alone, and the link comes up when a proxy
does. What it does is told as events on the same bus: `fabric.link.up`, `fabric.link.down`, `fabric.gap`.
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

#: Seconds between looks for room in the outbox.
ROOM_EVERY = 0.001
#: Seconds that a subscription with history waits to hear who is there.
HISTORY_TIMEOUT = 5.0


class Node(NodeLifecycle):
    """Made by `connect`. Every method may be called on any thread; blocking ones raise RuntimeError on the thread of a
    running event loop, where their awaitable twins are meant."""

    # Events

    def publish(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Publish on this node's bus; see `Bus.publish`."""
        self.bus.publish(topic, payload)

    def try_publish(self, topic: str, payload: Mapping[str, Any] | None = None, *, timeout: float = 0.0) -> bool:
        """Publish if there is room for it. False, and nothing is published, if the outbox stays full for `timeout` seconds.

        `publish` would take it, and drop another (which of them is the setting `outbox_policy`). RuntimeError for a
        timeout on the thread of a running event loop, or in a callback of this node.
        """
        link = self._reopen()
        if timeout and not link.sender.has_room(topic):
            link.may_block()
        deadline = monotonic() + timeout
        while not link.sender.has_room(topic):
            if monotonic() >= deadline:
                return False
            sleep(ROOM_EVERY)
        self.bus.publish(topic, payload)
        return True

    def has_interest(self, topic: str) -> bool:
        """Whether somebody outside subscribes to what may match `topic`, as far as the proxy has told us.

        Before the link has been up nobody can say, and the answer is yes. It never misses a subscriber that is ready,
        but may say yes for a pattern with wildcards that in the end does not match.
        """
        check_topic(topic)
        return self._reopen().sender.interest.routes.of(topic) != NOBODY

    def subscribe(
        self, pattern: str, callback: Callback, *, recover: bool = False, history: bool = False, last: bool = False
    ) -> Subscription:
        """Subscribe to local and remote events; see `Bus.subscribe`.

        With `history`, a pattern that matches `fabric.node.joined` or `fabric.endpoint.joined` gets an event for each
        present member first, marked `history`. With `last`, the last event of each matching topic comes first, as far as
        the proxy retains them (its setting `retain`), marked `replayed`; events that come meanwhile wait. If no proxy
        answers within `HISTORY_TIMEOUT` seconds there is nothing before the live events.
        """
        if not (history or last) or not callable(callback):
            return self.bus.subscribe(pattern, callback, recover=recover)
        inner = GatedSubscription(self.bus, pattern, callback, 0, self.bus.loop_queue())
        gate = SnapshotGate(lambda envelope: self.bus.hand_over(inner, pattern, envelope))
        inner.front = subscription = self.bus.subscribe(pattern, gate, recover=recover)
        replay = RetainedFetch(self.bus, pattern) if last else None
        threading.Thread(
            target=self._tell_before, args=(subscription, gate, history, replay), name="fabric-history", daemon=True
        ).start()
        return subscription

    def _tell_before(
        self, subscription: Subscription, gate: SnapshotGate, history: bool, replay: RetainedFetch | None
    ) -> None:
        members: list[Envelope] = []
        events: list[Envelope] = []
        deadline = monotonic() + HISTORY_TIMEOUT
        try:
            subscription.wait_ready(HISTORY_TIMEOUT)
            if history:
                left = max(deadline - monotonic(), 0.001)
                members = present(subscription.pattern, self._messages().queries.listing(left).result(left))
            if replay is not None:
                events = [each.envelope for each in replay.fetch(self._messages().queries.last, deadline)]
        except (FabricError, TimeoutError, FutureTimeout) as error:
            # Without a proxy nobody is there, and nothing is kept; what comes later is announced, and live.
            logger.info("nothing from before the subscription to %r: %s", subscription.pattern, error)
        finally:
            if replay is not None:
                replay.close()
            gate.open(members, events)

    def last(self, pattern: str = "**", timeout: float = 5.0, *, live: bool = False) -> list[RetainedEvent]:
        """The last event of each topic that matches, as far as the proxy retains them: `topic`, `envelope` each.

        With `live` it is what joins without a seam to what this node is subscribed to: without what comes live as well,
        and all that passed the proxy before has been handed to subscribers when this returns. NotReady when no proxy
        answers within `timeout` seconds, Refused by a proxy of a version that retains nothing. Blocks: RuntimeError on
        the thread of a running event loop (use `asyncio.to_thread`).
        """
        pages = RetainedPages(check_pattern(pattern))
        self._reopen().may_block()
        deadline = monotonic() + timeout
        try:
            if not live:
                fetch(pages, self._messages().queries.last, deadline)
                return pages.found
            with RetainedFetch(self.bus, pattern) as replay:
                self.wait_ready(timeout)
                return replay.fetch(self._messages().queries.last, deadline)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady(f"what came last on {pattern!r}", url=self.url, waited=timeout) from None

    def on(self, pattern: str) -> Callable[[_Function], _Function]:
        """Decorator; see `Bus.on`."""
        return self.bus.on(pattern)

    def events(
        self, pattern: str = "**", *, limit: int = 1_000, timeout: float | None = None, last: bool = False
    ) -> EventStream:
        """Iterate over events with `for` or `async for`; see `streams`. `last`: see `subscribe`."""
        subscribe = partial(self.subscribe, last=True) if last else None
        return EventStream(self.bus, pattern, limit=limit, timeout=timeout, subscribe=subscribe)

    def capture(self, pattern: str = "**", *, limit: int = 10_000) -> Capture:
        """Record the events that match, to look at them and wait for them; see `capture`."""
        return Capture(self.bus, pattern, limit=limit)

    def wait_ready(self, timeout: float = 5.0) -> None:
        """Block until the proxy knows us, and a probe of ours has gone round through it: what is published now arrives.

        NotReady when `timeout` seconds are over. RuntimeError inside a callback (the delivery thread would wait for
        itself), and on the thread of a running event loop (use `await node.ready()`).
        """
        self._ready_to_wait().wait(f"the node {self.name!r}", timeout)

    async def ready(self, timeout: float = 5.0) -> None:
        """The awaitable twin of `wait_ready`."""
        await self._ready_to_wait().wait_async(f"the node {self.name!r}", timeout)

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
        """Receive messages addressed to `name`, in an inbox or by `handler(message)`; see `endpoint`.

        If the name is taken, `policy` decides: `reject` (NameTaken), `replace` (its holder loses it), `suffix` (we get
        `name-2`, …), `share` (each message goes to one of its holders in turn). With a link this waits for the answer;
        without one, and on a running event loop, it returns at once and `wait_ready`, or `await …ready()`, tells.
        ValueError for a name that cannot be one.
        """
        return self._messages().endpoint(name, handler, policy=policy, max_inbox=max_inbox, max_workers=max_workers)

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
        """Send `body` to the endpoint `to`, or to all of them but ours (`*`). The receipt tells what became of it.

        `type` and `channel` go into the body. `sender` is an endpoint of ours; without one the message is from
        `anonymous:` and this node's name. Until `timeout` seconds are over it is sent again after every reconnect, to
        the session first chosen; with `redeliver` also to a successor of it. Raises BadMessage or MessageTooLarge for
        a body that cannot be carried, SenderNotOwned, EndpointBusy when too many wait.
        """
        return self._messages().send(
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
        return self._messages().send(
            to, body, request=True, type=type, channel=channel, sender=sender, timeout=timeout, redeliver=redeliver
        )

    def trace(self, topic: str, timeout: float = 5.0) -> Trace:
        """Who would get an event on `topic`, here and at every other node, and who nearly would; nothing is published.

        NotReady when no proxy answers within `timeout` seconds, ValueError for a bad topic. Blocks: RuntimeError on the
        thread of a running event loop (use `asyncio.to_thread`).
        """
        return self._ready_to_wait().trace(check_topic(topic), timeout)

    def endpoints(self, timeout: float = 5.0) -> list[dict[str, Any]]:
        """Who has which name now: `endpoint`, `session`, `node`, `origin`, `pid`, `host`, `since`, `seen` (unix seconds).

        NotReady when no proxy answers within `timeout` seconds.
        """
        return self.members(timeout).endpoints

    def members(self, timeout: float = 5.0) -> Listing:
        """Endpoints and nodes; see `endpoints`. Blocks: RuntimeError on the thread of a running event loop."""
        link = self._reopen()
        link.may_block()
        try:
            return self._messages().queries.listing(timeout).result(timeout + 1.0)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady("the list of endpoints", url=self.url, waited=timeout) from None

    async def amembers(self, timeout: float = 5.0) -> Listing:
        """The awaitable twin of `members`."""
        import asyncio

        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._messages().queries.listing(timeout)), timeout + 1.0)
        except (TimeoutError, NotConnected):
            raise NotReady("the list of endpoints", url=self.url, waited=timeout) from None
