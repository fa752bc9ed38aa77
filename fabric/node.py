"""A node: one process's membership in a fabric.

    with fabric.connect("gateway") as node:
        node.subscribe("tui.**", print)
        node.publish("gateway.started", {"port": 8080})

A node is a bus and the link that connects it. Without a proxy the bus works alone, and the link comes up when a proxy
does. What it does is told as events on the same bus: `fabric.link.up`, `fabric.link.down`, `fabric.gap`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from time import monotonic, sleep
from types import TracebackType
from typing import Any, TypeVar

from fabric.bus import Bus, Callback, Subscription
from fabric.capture import Capture
from fabric.draining import Drain, Drained
from fabric.endpoint import Endpoint, Handler
from fabric.envelope import Envelope
from fabric.errors import AlreadyConnected, Closed, FabricError, NotConnected, NotReady, ProxyError
from fabric.interest import NOBODY
from fabric.kept import Last, Pages
from fabric.link import Link
from fabric.messaging import Messaging, with_keys
from fabric.outcomes import Listed
from fabric.presence import Behind, Gate, present
from fabric.readiness import Readiness
from fabric.receipt import Receipt
from fabric.replay import Replay, fetch
from fabric.session import Session
from fabric.settings import Settings
from fabric.streams import EventStream
from fabric.topics import check_pattern, check_topic
from fabric.tracing import Trace
from fabric.wire import ORIGIN_BYTES

logger = logging.getLogger("fabric.node")

_Function = TypeVar("_Function", bound=Callback)

#: Seconds that a callback still has to return when the timeout of `close` is over.
LAST_PATIENCE = 0.1
#: Seconds between looks for room in the outbox.
ROOM_EVERY = 0.001
#: Seconds that a subscription with history waits to hear who is there.
HISTORY_TIMEOUT = 5.0
#: Events that a fork's child may publish while its first one opens the link.
EARLY = 10_000


class Node:
    """Made by `connect`. Every method may be called on any thread; blocking ones raise RuntimeError on the thread of a
    running event loop, where their awaitable twins are meant."""

    def __init__(self, bus: Bus, settings: Settings, *, link: Callable[..., Link] = Link) -> None:
        self.bus = bus
        self._make_link = link
        self.settings = settings
        self.name = settings.node or f"{_program()}-{os.getpid()}"
        self.address = settings.address()
        #: This life of this process: 8 random bytes.
        self.origin = os.urandom(ORIGIN_BYTES)
        self._holders = 1
        # Re-entrant: a signal handler may close, and a finaliser publish, in the middle of what this very thread does.
        self._holding = threading.RLock()
        self._link: Link | None = None
        self._messaging: Messaging | None = None
        self._readiness: Readiness | None = None
        self._final: dict[str, Any] = {}
        self._opening = threading.RLock()
        self._opens = False
        self._early: deque[tuple[str, Envelope]] = deque(maxlen=EARLY)
        self._closed = False

    # Joining

    def join(self) -> None:
        """Open the link, and attach to the bus; `connect` does."""
        self._open()
        self.bus.attach(self)

    def _open(self) -> Link:
        with self._opening:
            if self._closed:
                raise Closed(f"the node {self.name!r} was closed")
            if self._link is None:
                self._open_new()
            assert self._link is not None
            return self._link

    def _open_new(self) -> None:
        if self._opens:  # what opens it is interrupted by us: a signal handler, or a finaliser
            raise NotConnected(f"the node {self.name!r} is being opened by this very thread")
        self._opens = True
        try:
            session = Session(
                self.name,
                self.origin,
                pid=os.getpid(),
                host=os.uname().nodename,
                program=_program(),
                report=lambda: link.report(),  # asked for after the start only
            )
            link = self._make_link(
                self.address, self.settings, self.bus, session, changed=self._link_changed, outcome=self._outcome
            )
            self._messaging = Messaging(self.url, link.dealer.call, session, may_block=link.may_block)
            self._readiness = Readiness(self.url, self.bus, link, self._messaging)
            self._link = link  # last: whoever finds it, in another thread, finds the others
            link.start()
            self._start_proxy()
        finally:
            self._opens = False

    def _start_proxy(self) -> None:
        if self.settings.autostart and self.settings.is_default_address:
            # In a thread of its own: `connect` returns at once, and the control thread has timers to keep.
            threading.Thread(target=self._ensure_proxy, name="fabric-autostart", daemon=True).start()

    def _ensure_proxy(self) -> None:
        from fabric.embedded import ensure_proxy  # subprocess and socket cost as much to import as the rest of us

        try:
            ensure_proxy(self.address)
        except ProxyError as error:
            logger.warning("%s", error)

    def hold(self, wanted: Settings, given: list[str]) -> bool:
        """One more holder, whose settings must not contradict ours; False if the last one has just closed it."""
        with self._holding:
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
            self._holders += 1
        return True

    def _link_changed(self, state: str) -> None:
        self.bus.announce(f"fabric.link.{state}", {"node": self.name, "url": self.url})
        logger.info("link of %s to %s is %s", self.name, self.url, state)
        if state == "down" and not self._closed:
            self._start_proxy()

    def forked(self) -> None:
        """We are the child: the parent's sockets, threads, names and messages are not ours. Open our own on first use."""
        link, messaging = self._link, self._messaging
        self._opening, self._holding, self._opens = threading.RLock(), threading.RLock(), False
        self._link = self._messaging = self._readiness = None
        self._early.clear()
        self.name = self.settings.node or f"{_program()}-{os.getpid()}"
        self.origin = os.urandom(ORIGIN_BYTES)
        self.bus.forked()
        if messaging is not None:
            messaging.forked()
        if link is not None:
            link.forked()

    # What the bus tells us (see `bus.Outside`)

    @property
    def forward(self) -> Callable[[str, Envelope], None]:
        """What the bus calls for each event."""
        return self._forward_first if self._link is None else self._link.sender.forward

    def _forward_first(self, topic: str, envelope: Envelope) -> None:
        """A fork's child publishes for the first time."""
        self._early.append((topic, envelope))
        try:
            link = self._reopen()
        except NotConnected:
            return  # the opening that this interrupts takes it along
        except Closed:
            return
        except Exception:  # no descriptor is left, or no thread begins any more: the publisher cannot help it
            logger.exception("%d events stay in this process: its link could not be opened", len(self._early))
            self._early.clear()
            return
        with self._opening:  # by one thread, so that they stay in order
            while self._early:
                link.forward(*self._early.popleft())

    def _reopen(self) -> Link:
        """The link. The first use in a fork's child opens it."""
        if self._link is None and self.bus.outside is self:
            self.bus.reattach(self._open_again)
        return self._open()

    def _open_again(self) -> bool:
        """Whether this call opened it."""
        if self._link is not None:
            return False
        self._open()
        return True

    def subscribed(self, subscription: Subscription) -> None:
        """See `bus.Outside`."""
        if self._link is not None:
            self._link.subscribe(subscription)
            return
        try:
            self._reopen()  # and subscribe all that there are
        except NotConnected:
            pass  # the opening that this interrupts takes it along

    def unsubscribed(self, subscription: Subscription) -> None:
        """See `bus.Outside`."""
        if self._link is not None:
            self._link.unsubscribe(subscription)

    # The application's side

    @property
    def url(self) -> str:
        """The proxy's address."""
        return self.address.url

    @property
    def state(self) -> str:
        """`connecting`, `up`, `down` or `closed`. Up means that a probe went round: both directions work."""
        if self._closed:
            return "closed"
        return "connecting" if self._link is None else self._link.state

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
        inner = Behind(self.bus, pattern, callback, 0, self.bus.loop_queue())
        gate = Gate(lambda envelope: self.bus.hand_over(inner, pattern, envelope))
        inner.front = subscription = self.bus.subscribe(pattern, gate, recover=recover)
        replay = Replay(self.bus, pattern) if last else None
        threading.Thread(
            target=self._tell_before, args=(subscription, gate, history, replay), name="fabric-history", daemon=True
        ).start()
        return subscription

    def _tell_before(self, subscription: Subscription, gate: Gate, history: bool, replay: Replay | None) -> None:
        members: list[Envelope] = []
        events: list[Envelope] = []
        deadline = monotonic() + HISTORY_TIMEOUT
        try:
            subscription.wait_ready(HISTORY_TIMEOUT)
            if history:
                left = max(deadline - monotonic(), 0.001)
                members = present(subscription.pattern, self._messages().listing(left).result(left))
            if replay is not None:
                events = [each.envelope for each in replay.fetch(self._messages().last, deadline)]
        except (FabricError, TimeoutError, FutureTimeout) as error:
            # Without a proxy nobody is there, and nothing is kept; what comes later is announced, and live.
            logger.info("nothing from before the subscription to %r: %s", subscription.pattern, error)
        finally:
            if replay is not None:
                replay.close()
            gate.open(members, events)

    def last(self, pattern: str = "**", timeout: float = 5.0, *, live: bool = False) -> list[Last]:
        """The last event of each topic that matches, as far as the proxy retains them: `topic`, `envelope` each.

        With `live` it is what joins without a seam to what this node is subscribed to: without what comes live as well,
        and all that passed the proxy before has been handed to subscribers when this returns. NotReady when no proxy
        answers within `timeout` seconds, Refused by a proxy of a version that retains nothing. Blocks: RuntimeError on
        the thread of a running event loop (use `asyncio.to_thread`).
        """
        pages = Pages(check_pattern(pattern))
        self._reopen().may_block()
        deadline = monotonic() + timeout
        try:
            if not live:
                fetch(pages, self._messages().last, deadline)
                return pages.found
            with Replay(self.bus, pattern) as replay:
                self.wait_ready(timeout)
                return replay.fetch(self._messages().last, deadline)
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

    def wait_live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """See `bus.Outside`; applications call `subscription.wait_ready`."""
        what = f"the subscription to {subscription.pattern!r}"
        self._ready_to_wait().wait(what, timeout, subscription, everyone=everyone)

    async def live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """See `bus.Outside`; applications call `subscription.ready`."""
        what = f"the subscription to {subscription.pattern!r}"
        await self._ready_to_wait().wait_async(what, timeout, subscription, everyone=everyone)

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
            to, with_keys(body, type=type, channel=channel), sender=sender, timeout=timeout, redeliver=redeliver
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
            to,
            with_keys(body, type=type, channel=channel),
            request=True,
            sender=sender,
            timeout=timeout,
            redeliver=redeliver,
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

    def members(self, timeout: float = 5.0) -> Listed:
        """Endpoints and nodes; see `endpoints`. Blocks: RuntimeError on the thread of a running event loop."""
        link = self._reopen()
        link.may_block()
        try:
            return self._messages().listing(timeout).result(timeout + 1.0)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady("the list of endpoints", url=self.url, waited=timeout) from None

    async def amembers(self, timeout: float = 5.0) -> Listed:
        """The awaitable twin of `members`."""
        import asyncio

        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._messages().listing(timeout)), timeout + 1.0)
        except (TimeoutError, NotConnected):
            raise NotReady("the list of endpoints", url=self.url, waited=timeout) from None

    def _ready_to_wait(self) -> Readiness:
        self._reopen()
        assert self._readiness is not None  # made with the link
        return self._readiness

    def _messages(self) -> Messaging:
        self._reopen()
        assert self._messaging is not None  # made with the link
        return self._messaging

    def _outcome(self, outcome: Any) -> None:
        if (messaging := self._messaging) is not None:  # None only after a fork, in a thread that is not there
            messaging.outcome(outcome)

    def stats(self) -> dict[str, Any]:
        """Counters of this node since it was opened; all are 0 or more, and none is ever reset.

        `sent`, `delivered`: events. `waiting`: events in the outbox, `backlog`: messages read and not delivered.
        Losses: `dropped` (outbox), `unwanted` (left nobody who wanted them while they waited), `unencodable`, `missed`
        in so many `gaps`, `joining` (before a subscription was ready), `duplicates`, `rejected` (bytes that are not our
        protocol), `handlers_dropped` (no loop, or one that is stuck).
        """
        facts: dict[str, Any] = {"node": self.name, "url": self.url, "state": self.state, "origin": self.origin.hex()}
        bus = self.bus.stats()
        facts |= {"subscriptions": bus["subscriptions"], "handlers_dropped": bus["dropped"]}
        return facts | (self._final if self._link is None else self._link.stats())

    # Leaving

    def close(self, timeout: float | None = None) -> Drained:
        """Leave: give names back, let handlers finish, send what waits, wait until it has passed the proxy, close.

        It takes at most `timeout` seconds (the setting `close_timeout` if None), never hangs, and says what it did and
        what it had to give up. A node that `connect` returned several times is closed by its last holder.
        """
        with self._holding:
            if self._closed:
                return Drained()
            self._holders -= 1
            if self._holders:
                return Drained()
            self._closed = True
            self.bus.detach()
        with self._opening:
            link, self._link = self._link, None
        if link is None or self._messaging is None:
            return Drained()
        timeout = self.settings.close_timeout if timeout is None else timeout
        deadline = monotonic() + timeout
        drain = Drain(link, self._messaging)
        drain.run(timeout)
        unsettled = link.dealer.session.pending
        report = drain.report(link.close(max(deadline - monotonic(), LAST_PATIENCE)), unsettled)
        self._messaging.close()
        self._final = link.stats()
        if not report:
            logger.warning("%s closed: %s", self.name, report)
        return report

    def close_for_all(self, timeout: float | None = None) -> None:
        """Close it whoever holds it: the process ends, or a test."""
        self._holders = 1
        self.close(timeout)

    async def aclose(self, timeout: float | None = None) -> Drained:
        """The awaitable twin of `close`."""
        import asyncio

        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Node {self.name!r} {self.state} at {self.url}>"


def _program() -> str:
    """What the process was started as; the package's name for `python -m package`."""
    path, _ = os.path.splitext(sys.argv[0] if sys.argv else "")
    name = os.path.basename(path)
    name = os.path.basename(os.path.dirname(path)) if name == "__main__" else name
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in name) or "python"
