"""A bus's attachment to a fabric: opened, held, reopened in a fork's child, closed.

    join ──▸ link open ──▸ … ──▸ close: drained, closed          the bus's `Outside` meanwhile
                ▴
                └── first use in a fork's child: an origin and a link of its own

What a program does with it is in `fabric.node.node`, which is this and the application's side.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from fabric.bus.bus import Bus
from fabric.bus.closing import AsyncClosing
from fabric.bus.subscription import Subscription
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

#: Seconds that a callback still has to return when the timeout of `close` is over.
LAST_PATIENCE = 0.1
#: Events that a fork's child may publish while its first one opens the link.
EARLY = 10_000


class NodeLifecycle(AsyncClosing):
    """Of one bus to one fabric. Every method may be called on any thread."""

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
            link = self._link  # first: closing, which a signal handler may do at any line, says so before it takes it
            if self._closed:
                raise Closed(f"the node {self.name!r} was closed")
            return self._open_new() if link is None else link

    def _open_new(self) -> Link:
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
            return link
        finally:
            self._opens = False

    def _start_proxy(self) -> None:
        if self.settings.autostart and self.settings.is_default_address:
            # In a thread of its own: `connect` returns at once, and the control thread has timers to keep.
            threading.Thread(target=self._ensure_proxy, name="fabric-autostart", daemon=True).start()

    def _ensure_proxy(self) -> None:
        from fabric.system.autostart import (
            ensure_proxy,  # subprocess and socket cost as much to import as the rest of us
        )

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

    def wait_live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """See `bus.Outside`; applications call `subscription.wait_ready`."""
        what = f"the subscription to {subscription.pattern!r}"
        self._ready_to_wait().wait(what, timeout, subscription, everyone=everyone)

    async def live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """See `bus.Outside`; applications call `subscription.ready`."""
        what = f"the subscription to {subscription.pattern!r}"
        await self._ready_to_wait().wait_async(what, timeout, subscription, everyone=everyone)

    # What it is

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
            if self._holders > 0:  # it may be less: a signal handler closed in between
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

    def __repr__(self) -> str:
        return f"<Node {self.name!r} {self.state} at {self.url}>"


def _program() -> str:
    """What the process was started as; the package's name for `python -m package`."""
    path, _ = os.path.splitext(sys.argv[0] if sys.argv else "")
    name = os.path.basename(path)
    name = os.path.basename(os.path.dirname(path)) if name == "__main__" else name
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in name) or "python"
