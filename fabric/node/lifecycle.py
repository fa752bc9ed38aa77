"""The life of a node: opened, closed by its last holder, opened again in a fork's child.

    join ──▸ link open ──▸ … ──▸ close: drained, closed          meanwhile it is the bus's `Outside`
                ▴
                └── first use in a fork's child: a new origin, a new link

The parts of an open link are one immutable value, `Connected`: one assignment publishes it to other threads, another one
withdraws it. Two locks: `_lock` is around the reference count, and held while the bus is detached; `_open_lock` is around
opening, and taken with the bus's own lock held. Taken in that order only: `_lock`, the bus's lock, `_open_lock`.

The methods for applications are in `fabric.node.node`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from fabric.bus.bus import Bus
from fabric.bus.closing import AsyncClosing
from fabric.bus.subscription import Subscription
from fabric.config.endpoint_name import program_name
from fabric.config.settings import Settings
from fabric.errors import AlreadyConnected, Closed, NotConnected, ProxyError
from fabric.messages.messaging import Messaging
from fabric.messages.session.session import Session
from fabric.node.drain import Drain, Drained
from fabric.node.link import Link
from fabric.node.ready import Readiness
from fabric.protocol.envelope import Envelope
from fabric.protocol.events import ORIGIN_BYTES

logger = logging.getLogger("fabric.node")

#: Seconds in which a callback may still return when the timeout of `close` is over.
MIN_LINK_TIMEOUT = 0.1
#: Events that a fork's child may publish while its first event opens the link. More drop the oldest.
MAX_PENDING_EVENTS = 10_000


class Connected(NamedTuple):
    """An open link, and the parts that were made with it."""

    link: Link
    messaging: Messaging
    readiness: Readiness


class NodeLifecycle(AsyncClosing):
    """The connection of one bus to one fabric. Every method may be called on any thread."""

    def __init__(self, bus: Bus, settings: Settings, *, link: Callable[..., Link] = Link) -> None:
        self.bus = bus
        self._make_link = link
        self.settings = settings
        self.name = settings.node or f"{program_name()}-{os.getpid()}"
        self.address = settings.address()
        #: Identifies this life of this process: 8 random bytes.
        self.origin = os.urandom(ORIGIN_BYTES)
        # Re-entrant: a signal handler may close the node, and a finaliser publish, while this thread holds them.
        self._lock = threading.RLock()
        self._open_lock = threading.RLock()
        self._references = 1
        self._closed = False
        self._connected: Connected | None = None
        self._is_opening = False
        self._pending_events: deque[tuple[str, Envelope]] = deque(maxlen=MAX_PENDING_EVENTS)
        self._final_stats: dict[str, Any] = {}

    # Joining

    def join(self) -> None:
        """Open the link, and attach to the bus. Called by `connect`."""
        self._open()
        self.bus.attach(self)

    def _open(self) -> Connected:
        with self._open_lock:
            # Read before `_closed`: a signal handler may close at any line, which sets that before it takes this.
            connected = self._connected
            if self._closed:
                raise Closed(f"the node {self.name!r} was closed")
            return self._open_new() if connected is None else connected

    def _open_new(self) -> Connected:
        if self._is_opening:  # called by a signal handler or a finaliser, which interrupted the opening
            raise NotConnected(f"the node {self.name!r} is being opened by this very thread")
        self._is_opening = True
        try:
            connected = self._connect()
            # Published before the start: a callback of the link may use the node.
            self._connected = connected
            connected.link.start()
            self._start_proxy()
            return connected
        finally:
            self._is_opening = False

    def _connect(self) -> Connected:
        link: Link  # the three functions below are called after `link.start` only
        messaging: Messaging
        session = Session(
            self.name,
            self.origin,
            pid=os.getpid(),
            host=os.uname().nodename,
            program=program_name(),
            report=lambda: link.report(),
        )
        link = self._make_link(
            self.address,
            self.settings,
            self.bus,
            session,
            changed=self._link_changed,
            outcome=lambda outcome: messaging.outcome(outcome),
        )
        messaging = Messaging(self.url, link.dealer.call, session, may_block=link.may_block)
        return Connected(link, messaging, Readiness(self.url, self.bus, link, messaging))

    def _start_proxy(self) -> None:
        if self.settings.autostart and self.settings.is_default_address:
            # On a thread of its own: `connect` returns at once, and the control thread must not miss its timers.
            threading.Thread(target=self._ensure_proxy, name="fabric-autostart", daemon=True).start()

    def _ensure_proxy(self) -> None:
        # Imported here: subprocess and socket cost as much to import as the rest of the package.
        from fabric.system.autostart import ensure_proxy

        try:
            ensure_proxy(self.address)
        except ProxyError as error:
            logger.warning("%s", error)

    def add_reference(self, wanted: Settings, given: list[str]) -> bool:
        """Count one more holder. False if the last holder has just closed the node.

        `given` are the settings of `wanted` that the caller gave. AlreadyConnected if one differs from the node's.
        """
        with self._lock:
            if self._closed:
                return False
            if wanted.address() != self.address:
                raise AlreadyConnected(self.url, f"it cannot join {wanted.address().url} as well")
            for option in given:
                ours, theirs = getattr(self.settings, option), getattr(wanted, option)
                if option == "node" and ours != theirs:
                    raise AlreadyConnected(self.url, f"as {self.name!r}, not as {theirs!r}")
                if option != "url" and ours != theirs:
                    raise AlreadyConnected(self.url, f"with {option}={ours!r}, not {theirs!r}")
            self._references += 1
        return True

    def _link_changed(self, state: str) -> None:
        self.bus.announce(f"fabric.link.{state}", {"node": self.name, "url": self.url})
        logger.info("link of %s to %s is %s", self.name, self.url, state)
        if state == "down" and not self._closed:
            self._start_proxy()

    def forked(self) -> None:
        """In a fork's child: drop the parent's link, names and messages. The first use opens a link of our own."""
        connected, self._connected = self._connected, None
        self._lock, self._open_lock, self._is_opening = threading.RLock(), threading.RLock(), False
        self._pending_events.clear()
        self.name = self.settings.node or f"{program_name()}-{os.getpid()}"
        self.origin = os.urandom(ORIGIN_BYTES)
        self.bus.forked()
        if connected is not None:
            connected.messaging.forked()
            connected.link.forked()

    # The bus's `Outside`

    @property
    def forward(self) -> Callable[[str, Envelope], None]:
        """See `Outside`."""
        connected = self._connected
        return self._forward_first if connected is None else connected.link.sender.forward

    def _forward_first(self, topic: str, envelope: Envelope) -> None:
        """Forward an event of a fork's child that has no link yet: open it."""
        self._pending_events.append((topic, envelope))
        try:
            link = self._opened().link
        except NotConnected:
            return  # the opening that this call interrupts forwards the event
        except Closed:
            return
        except Exception:  # no descriptor or no thread is left, which is no fault of the publisher
            logger.exception("%d events stay in this process: its link could not be opened", len(self._pending_events))
            self._pending_events.clear()
            return
        with self._open_lock:  # one thread at a time, so that they stay in order
            while self._pending_events:
                link.forward(*self._pending_events.popleft())

    def _opened(self) -> Connected:
        """The open link. The first use in a fork's child opens it."""
        if self._connected is None and self.bus.outside is self:
            self.bus.reattach(self._reopen)
        return self._open()

    def _reopen(self) -> bool:
        """Whether this call opened the link."""
        if self._connected is not None:
            return False
        self._open()
        return True

    def subscribed(self, subscription: Subscription) -> None:
        """See `Outside`."""
        if (connected := self._connected) is not None:
            connected.link.subscribe(subscription)
            return
        try:
            self._opened()  # which subscribes all subscriptions of the bus
        except NotConnected:
            pass  # the opening that this call interrupts subscribes it

    def unsubscribed(self, subscription: Subscription) -> None:
        """See `Outside`."""
        if (connected := self._connected) is not None:
            connected.link.unsubscribe(subscription)

    def wait_live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """See `Outside`; applications call `subscription.wait_ready`."""
        what = f"the subscription to {subscription.pattern!r}"
        self._opened().readiness.wait(what, timeout, subscription, everyone=everyone)

    async def live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """See `Outside`; applications call `subscription.ready`."""
        what = f"the subscription to {subscription.pattern!r}"
        await self._opened().readiness.wait_async(what, timeout, subscription, everyone=everyone)

    # State

    @property
    def url(self) -> str:
        """The proxy's address."""
        return self.address.url

    @property
    def state(self) -> str:
        """`connecting`, `up`, `down` or `closed`. Up: a probe has gone round through the proxy, so both directions work."""
        if self._closed:
            return "closed"
        connected = self._connected
        return "connecting" if connected is None else connected.link.state

    def stats(self) -> dict[str, Any]:
        """Counters of this node since it was opened; all are 0 or more, and none is ever reset.

        `sent`, `delivered`: events. `waiting`: events in the outbox, `backlog`: packs that were read and not delivered.
        Losses: `dropped` (outbox), `unwanted` (nobody outside wanted them any more when they left the outbox),
        `unencodable`, `missed` (events in the `gaps`), `joining` (before a subscription was ready), `duplicates`,
        `rejected` (bytes that are not our protocol), `handlers_dropped` (no loop, or one that is stuck).
        """
        facts: dict[str, Any] = {"node": self.name, "url": self.url, "state": self.state, "origin": self.origin.hex()}
        bus = self.bus.stats()
        facts |= {"subscriptions": bus["subscriptions"], "handlers_dropped": bus["dropped"]}
        connected = self._connected
        return facts | (self._final_stats if connected is None else connected.link.stats())

    # Closing

    def close(self, timeout: float | None = None) -> Drained:
        """Release names, let handlers finish, send the waiting events, wait until they have passed the proxy, close.

        Takes at most `timeout` seconds (the setting `close_timeout` if None), and never hangs. Returns what was done, and
        what was abandoned. A node that `connect` returned several times is closed by its last holder.
        """
        with self._lock:
            if self._closed:
                return Drained()
            self._references -= 1
            if self._references > 0:  # it may be below 0: a signal handler closed in between
                return Drained()
            self._closed = True
            self.bus.detach()
        with self._open_lock:
            connected, self._connected = self._connected, None
        if connected is None:
            return Drained()
        link, messaging = connected.link, connected.messaging
        timeout = self.settings.close_timeout if timeout is None else timeout
        deadline = monotonic() + timeout
        drain = Drain(link, messaging)
        drain.run(timeout)
        unsettled = link.dealer.session.pending
        report = drain.report(link.close(max(deadline - monotonic(), MIN_LINK_TIMEOUT)), unsettled)
        messaging.close()
        self._final_stats = link.stats()
        if not report:
            logger.warning("%s closed: %s", self.name, report)
        return report

    def close_for_all(self, timeout: float | None = None) -> None:
        """Close the node for all of its holders: at the end of the process, or of a test."""
        self._references = 1
        self.close(timeout)

    async def aclose(self, timeout: float | None = None) -> Drained:
        """The awaitable twin of `close`."""
        import asyncio

        return await asyncio.to_thread(self.close, timeout)

    def __repr__(self) -> str:
        return f"<Node {self.name!r} {self.state} at {self.url}>"
