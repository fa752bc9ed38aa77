"""The sockets and threads of a node towards the proxy.

    publishers ─▸ Sender   ─ XPUB ─▸ events-in        tail thread: sends the events that publishers left in the outbox
                  Receiver ◂─ SUB ── events-out       delivery thread: reads, and runs callbacks
    endpoints  ◂─▸ Dealer ── DEALER ─ messages        control thread: subscriptions, messages, timers, state, barriers

The state is **up** when a probe of our own has gone round: through our XPUB, the proxy, and our SUB (see
`fabric.node.barriers`). Only that proves that both directions work; a socket monitor reports no more than an accepted
connection.

    connecting ──probe returned──▸ up ──`␀up` withdrawn──▸ down ──probe returned──▸ up        any ──close──▸ closed
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import zmq

from fabric.bus.bus import Bus
from fabric.bus.loop_queue import running_loop
from fabric.bus.subscription import Subscription
from fabric.config.address import Address
from fabric.config.settings import Settings
from fabric.errors import Closed
from fabric.events.offline_queue import OutboxLimits
from fabric.events.receiver import Receiver
from fabric.events.sender import Sender
from fabric.messages.dealer import Dealer
from fabric.messages.session.session import Session
from fabric.node.barriers import Barriers
from fabric.node.slow_consumers import SlowConsumers, backlogs
from fabric.node.socket_options import make_socket
from fabric.protocol.envelope import Envelope
from fabric.protocol.node_report import Report, encode_report
from fabric.system.inherited_sockets import close_inherited
from fabric.system.wakeup import Wakeup

logger = logging.getLogger("fabric.link")

#: Seconds between checks of the timers while nothing happens, and while a send was refused.
POLL_INTERVAL = 0.25
BUSY_POLL_INTERVAL = 0.02
#: Seconds in which the last message, BYE, must leave.
BYE_TIMEOUT = 0.2
#: Links that are kept for ever, because the garbage collector must not close their sockets.
_unclosed: list[Link] = []


class Link:
    """One node's connection to one proxy. `changed(state)` is called on the control thread."""

    # Overridden by a link in memory (`fabric.testing.memory_link`).
    _sender_type: type[Sender] = Sender
    _receiver_type: type[Receiver] = Receiver
    _dealer_type: type[Dealer] = Dealer

    def __init__(
        self,
        address: Address,
        settings: Settings,
        bus: Bus,
        session: Session,
        *,
        changed: Callable[[str], None],
        outcome: Callable[[Any], None],
    ) -> None:
        self.state = "connecting"
        #: The proxy's boot id; empty until the proxy's first welcome.
        self.boot = b""
        self._changed = changed
        self._bus = bus
        self._address = address
        #: The probe that will prove that the link is up again; the control thread's own.
        self._up_probe = b""
        self._losses = 0
        self._slow_consumers = SlowConsumers()
        self._slowness_at = 0.0
        self._closing = False
        self._forked = False
        self._wakeup = Wakeup()
        self._context = self._make_context()
        xpub, sub, dealer = (make_socket(self._context, kind, address) for kind in (zmq.XPUB, zmq.SUB, zmq.DEALER))
        limits = OutboxLimits(
            settings.outbox_events, settings.outbox_bytes, settings.outbox_seconds, settings.outbox_policy
        )
        self.sender = self._sender_type(
            xpub,
            session.origin,
            limits=limits,
            max_bytes=settings.max_bytes,
            history=settings.history_bytes,
            changed=self._wakeup.set,
        )
        self.receiver = self._receiver_type(
            sub,
            bus,
            session.origin,
            probed=lambda prefix: self.barriers.returned(prefix),
            greeted=self._greeted,
            limit=settings.inbox_bytes,
            drop_oldest=settings.inbox_policy == "drop_oldest",
        )
        self.dealer = self._dealer_type(dealer, session, outcome=outcome, wake=self._wakeup.set)
        self.barriers = Barriers(self.sender, self.receiver, self._wakeup.set)
        # Connected last, when the readers of all sockets exist.
        sub.connect(address.events_out)
        xpub.connect(address.events_in)
        dealer.connect(address.messages)
        self._thread = threading.Thread(target=self._run, name="fabric-control", daemon=True)

    def start(self) -> None:
        """Begin: the callbacks `outcome` and `changed` are called from now on."""
        self.dealer.call(self.dealer.session.start, monotonic())
        self._thread.start()

    def _make_context(self) -> zmq.Context[zmq.Socket[bytes]]:
        return zmq.Context()

    # Events
    def forward(self, topic: str, envelope: Envelope) -> None:
        """See `Sender.forward`."""
        self.sender.forward(topic, envelope)

    def subscribe(self, subscription: Subscription) -> None:
        """See `Receiver.subscribe`."""
        self.receiver.subscribe(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `Receiver.unsubscribe`."""
        self.receiver.unsubscribe(subscription)

    def _greeted(self, boot: bytes) -> None:
        self.boot = boot

    def may_block(self) -> None:
        """RuntimeError on threads that must not wait for this link; Closed in a fork's child, whose parent's link it is."""
        if self._forked:
            raise Closed("it is the parent's, whose fork this process is: make one of its own")
        if running_loop() is not None:
            raise RuntimeError("this would block the running event loop: await it instead")
        if threading.current_thread() is self._thread:
            raise RuntimeError("this would wait inside a callback for the thread that the callback blocks")

    def stats(self) -> dict[str, Any]:
        """See `Node.stats`."""
        delivery = self.receiver.delivery
        return self._report()._asdict() | {
            "boot": self.boot.hex(),
            "dropped": self.sender.outbox.dropped,
            "unencodable": self.sender.unencodable,
            "missed": delivery.missed,
            "inbox_dropped": delivery.dropped,
            "echoes": self.receiver.echoes,
            "links_lost": self.sender.interest.losses,
            "messages": self.dealer.session.stats(),
        }

    def report(self) -> bytes:
        """The report that the next heartbeat carries; see `fabric.protocol.node_report`."""
        return encode_report(self._report())

    def _report(self) -> Report:
        outbox, sender, receiver, bus = self.sender.outbox, self.sender, self.receiver, self._bus.stats()
        delivery = receiver.delivery
        waiting = len(outbox)
        unencodable = sender.unencodable
        return Report(
            published=outbox.sent + outbox.gone + waiting + unencodable,
            sent=outbox.sent,
            delivered=delivery.delivered,
            waiting=waiting,
            waiting_bytes=outbox.waiting_bytes,
            backlog=receiver.waiting,
            lag=delivery.lag,
            gaps=delivery.gaps,
            recovered=delivery.recovered,
            unwanted=outbox.unwanted,
            superseded=outbox.offline.superseded,
            joining=delivery.joining,
            duplicates=delivery.duplicates,
            rejected=delivery.rejected + sender.rejected + sender.interest.rejected,
            subscriptions=bus["subscriptions"],
            prefixes=len(sender.interest),
            dropped={
                "outbox": outbox.offline.full,
                "expired": outbox.offline.expired,
                "abandoned": outbox.abandoned,
                "unencodable": unencodable,
                "missed": delivery.missed,
                "inbox": delivery.dropped,
                "handlers": bus["dropped"],
            },
        )

    # The control thread

    def _run(self) -> None:
        poller = select.poll()
        for descriptor in (self.sender.descriptor, self.dealer.descriptor, self._wakeup.descriptor):
            poller.register(descriptor, select.POLLIN)
        events_at = 0.0
        readable = {self.sender.descriptor, self.dealer.descriptor}
        while not self._closing:
            now = monotonic()
            try:
                if now >= events_at or self.sender.descriptor in readable or self._wakeup.descriptor in readable:
                    self._step(now)
                    events_at = monotonic() + (BUSY_POLL_INTERVAL if self.sender.poll_soon else POLL_INTERVAL)
                messages_at = self.dealer.service(monotonic())
                if self.dealer.held_up:
                    messages_at = monotonic() + BUSY_POLL_INTERVAL
            except Exception:
                logger.exception("the control thread of %s failed, and goes on", self)
                messages_at = monotonic() + POLL_INTERVAL
            wait = max(min(events_at, messages_at) - monotonic(), 0.0)
            readable = {descriptor for descriptor, _ in poller.poll(wait * 1_000 + 0.5)}
            if self._wakeup.descriptor in readable:
                self._wakeup.clear()
        self._wakeup.close()

    def _step(self, now: float) -> None:
        self.sender.service(now)
        self.receiver.touch()
        self._report_slow_consumers(now)
        self._follow_losses(now)
        self._settle_barriers(now)
        if self.state != "up" and self.sender.interest.up and not self._up_probe:
            self._up_probe, _ = self.barriers.begin()
        self.barriers.service(now)

    def _report_slow_consumers(self, now: float) -> None:
        if now < self._slowness_at:
            return
        self._slowness_at = now + POLL_INTERVAL
        for facts in self._slow_consumers.look(backlogs(self._bus, self.receiver), now):
            if facts["state"] == "slow":
                logger.warning("%s on %r is slow: %s", facts["handler"], facts["pattern"], facts)
            self._bus.announce("fabric.slow_consumer", facts)

    def _follow_losses(self, now: float) -> None:
        losses = self.sender.interest.losses
        if losses == self._losses:
            return
        self._losses = losses
        self.barriers.link_lost()
        self.dealer.call(self.dealer.session.link_lost, now)
        if self.state == "up":
            self._enter("down")

    def _settle_barriers(self, now: float) -> None:
        for prefix in self.barriers.take_returned():
            if self.state != "up" and self.sender.interest.up:
                self.dealer.call(self.dealer.session.link_back, now, self.boot.hex())
                self._enter("up")
            if prefix == self._up_probe:
                self.barriers.end(prefix)
                self._up_probe = b""
            else:
                self.barriers.settle(prefix)

    def _enter(self, state: str) -> None:
        if state == "up":
            self.receiver.delivery.link_up()
        self.state = state
        self._changed(state)

    def forked(self) -> None:
        """In a fork's child, whose parent's link this is: use none of its sockets, and close its connections."""
        _unclosed.append(self)
        self.state = "closed"
        self._closing = self._forked = True
        self.barriers.forked()
        self._wakeup.forked()
        self.receiver.forked()
        self.dealer.forked()
        close_inherited(self._address)

    def close(self, timeout: float = 1.0) -> int:
        """End threads and sockets. The number of events that were abandoned. Never hangs.

        A thread that is in a callback has `timeout` seconds to return. After that it is abandoned, and ends by itself when
        the callback returns.
        """
        self.dealer.call(self.dealer.session.close, monotonic())
        self._closing = True
        self._wakeup.set()
        deadline = monotonic() + timeout
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        idle = self.dealer.close(BYE_TIMEOUT)
        abandoned = self.sender.close()
        ended = self.receiver.close(max(deadline - monotonic(), 0.0))
        if not (idle and self.sender.ended):
            _unclosed.append(self)  # a signal handler closes the link on which its own thread is just sending
        elif ended:
            self._context.term()
        else:  # the last socket is closed by the thread that owns it, when its callback returns
            try:
                threading.Thread(target=self._context.term, name="fabric-term", daemon=True).start()
            except RuntimeError:  # no thread can be started any more, because the interpreter ends
                _unclosed.append(self)
        self.state = "closed"
        return abandoned
