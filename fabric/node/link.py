"""The node's sockets and threads towards the proxy.

    publishers ─▸ Sender   ─ XPUB ─▸ events-in        tail thread: what publishers left
                  Receiver ◂─ SUB ── events-out       delivery thread: reads and runs callbacks
    endpoints  ◂─▸ Dealer ── DEALER ─ messages        control thread: subscriptions, messages, timers, state, barriers

The state is **up** when a probe of our own has gone round: through our XPUB, the proxy, and our SUB. Nothing less proves
that both directions work; a socket monitor says only that somebody accepted a connection.

    connecting ──probe returned──▸ up ──`␀up` withdrawn──▸ down ──probe returned──▸ up        any ──close──▸ closed

A **barrier** is the same round trip: subscribe a fresh prefix last, send it once it shows in our own interest, wait for
it. Everything subscribed before is live then, and everything sent before has passed the proxy.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
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
from fabric.node.backlogs import backlogs
from fabric.node.slow_consumers import SlowConsumers
from fabric.protocol.envelope import Envelope
from fabric.protocol.events import PROBE
from fabric.protocol.node_report import Report, encode_report
from fabric.system.inherited_sockets import close_inherited
from fabric.system.wakeup import Wakeup

logger = logging.getLogger("fabric.link")

#: Milliseconds between attempts to reach the proxy, flat: with back-off subscribers come back too late (see `proxy`).
RECONNECT_MS = 100
#: Seconds between looks at timers while nothing happens, and while something is held up.
TICK = 0.25
BUSY_TICK = 0.02
#: Messages of at most about 8 KB that may wait in our socket before the delivery thread takes them.
PIPE_MESSAGES = 16_384
#: Seconds that a goodbye may take to leave.
GOODBYE = 0.2
#: Links whose sockets must not be closed any more.
_unended: list[Link] = []


class Link:
    """One node's connection to one proxy. `changed(state)` is called on the control thread."""

    # What it is made of; a link in memory (`fabric.testing.memory_link`) is the same, made of other parts.
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
        #: The proxy's boot id, once it has greeted us.
        self.boot = b""
        self._changed = changed
        self._bus = bus
        self._address = address
        self._lock = threading.RLock()  # around `_barriers`
        self._barriers: dict[bytes, Future[None]] = {}
        self._returned: deque[bytes] = deque()
        self._up_barrier = b""  # the control thread's own
        self._losses = 0
        self._resend_at = 0.0
        self._slow_consumers = SlowConsumers()
        self._slowness_at = 0.0
        self._closing = False
        self._forked = False
        self._wakeup = Wakeup()
        self._context = self._make_context()
        xpub, sub, dealer = (self._socket(kind, address) for kind in (zmq.XPUB, zmq.SUB, zmq.DEALER))
        xpub.setsockopt(zmq.XPUB_NODROP, 1)  # say EAGAIN instead of dropping: it has one peer, the proxy
        xpub.immediate = True  # tell us that the peer is gone, instead of keeping its pipe
        xpub.sndhwm = 4_096
        xpub.rcvhwm = 0  # subscriptions only: a limit here loses them silently
        xpub.maxmsgsize = 512
        xpub.setsockopt(zmq.ONLY_FIRST_SUBSCRIBE, 1)  # frames after a first one are no subscriptions
        sub.sndhwm = 0
        sub.rcvhwm = PIPE_MESSAGES
        # No limit here: the proxy has one, and a socket that connects and meets a larger frame hangs up for good.
        sub.maxmsgsize = dealer.maxmsgsize = -1
        dealer.sndhwm = dealer.rcvhwm = 1_000
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
            probed=self._probed,
            greeted=self._greeted,
            limit=settings.inbox_bytes,
            drop_oldest=settings.inbox_policy == "drop_oldest",
        )
        self.dealer = self._dealer_type(dealer, session, outcome=outcome, wake=self._wakeup.set)
        # Connected last: the first thing a socket reads must find its reader.
        sub.connect(address.events_out)
        xpub.connect(address.events_in)
        dealer.connect(address.messages)
        self._thread = threading.Thread(target=self._run, name="fabric-control", daemon=True)

    def start(self) -> None:
        """Begin: outcomes and changes of state are told from here on."""
        self.dealer.call(self.dealer.session.start, monotonic())
        self._thread.start()

    def _make_context(self) -> zmq.Context[zmq.Socket[bytes]]:
        return zmq.Context()

    def _socket(self, kind: int, address: Address) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.linger = 0
        made.handshake_ivl = 3_000
        made.reconnect_ivl = RECONNECT_MS
        made.ipv6 = ":" in address.host
        if address.directory is None:
            made.connect_timeout = 2_000
            made.tcp_keepalive = 1
            made.tcp_keepalive_idle = 5
            made.tcp_keepalive_intvl = 2
            made.tcp_keepalive_cnt = 3
            made.setsockopt(zmq.TCP_MAXRT, 10_000)
        return made

    # The bus's Outside, as far as it is sockets

    def forward(self, topic: str, envelope: Envelope) -> None:
        """See `Sender.forward`."""
        self.sender.forward(topic, envelope)

    def subscribe(self, subscription: Subscription) -> None:
        """See `Receiver.subscribe`."""
        self.receiver.subscribe(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `Receiver.unsubscribe`."""
        self.receiver.unsubscribe(subscription)

    # Barriers

    @contextmanager
    def barrier(self) -> Iterator[Future[None]]:
        """A round trip; the future is done when it is over. While the link is not up it waits."""
        prefix, done = self._begin_barrier()
        try:
            yield done
        finally:
            self._end_barrier(prefix)

    def _begin_barrier(self) -> tuple[bytes, Future[None]]:
        prefix = PROBE + os.urandom(8)
        done: Future[None] = Future()
        with self._lock:
            self._barriers[prefix] = done
        self.receiver.subscribe_probe(prefix)
        self.sender.begin_probe(prefix)
        self._wakeup.set()
        return prefix, done

    def _end_barrier(self, prefix: bytes) -> None:
        with self._lock:
            self._barriers.pop(prefix, None)
        self.sender.end_probe(prefix)
        self.receiver.unsubscribe_probe(prefix)

    def _probed(self, prefix: bytes) -> None:
        # On the delivery thread, under its lock: only note it. The control thread settles the state before it tells
        # those who wait, so that a node that is ready is up.
        self._returned.append(prefix)
        self._wakeup.set()

    def _greeted(self, boot: bytes) -> None:
        self.boot = boot

    def may_block(self) -> None:
        """RuntimeError on threads that must not wait for news of this link; Closed if it is the parent's of a fork."""
        if self._forked:
            raise Closed("it is the parent's, whose fork this process is: make one of its own")
        if running_loop() is not None:
            raise RuntimeError("this would block the running event loop: await it instead")
        if threading.current_thread() is self._thread:
            raise RuntimeError("this would wait inside a callback for the thread that the callback blocks")

    def stats(self) -> dict[str, Any]:
        """See `Node.stats`."""
        outbox, sender, receiver, delivery = self.sender.outbox, self.sender, self.receiver, self.receiver.delivery
        return {
            "boot": self.boot.hex(),
            "prefixes": len(sender.interest),
            "sent": outbox.sent,
            "waiting": len(outbox),
            "dropped": outbox.dropped,
            "superseded": outbox.offline.superseded,
            "unwanted": outbox.unwanted,
            "unencodable": sender.unencodable,
            "delivered": delivery.delivered,
            "backlog": receiver.waiting,
            "echoes": receiver.echoes,
            "duplicates": delivery.duplicates,
            "gaps": delivery.gaps,
            "missed": delivery.missed,
            "inbox_dropped": delivery.dropped,
            "recovered": delivery.recovered,
            "joining": delivery.joining,
            "rejected": delivery.rejected + sender.rejected + sender.interest.rejected,
            "links_lost": sender.interest.losses,
            "messages": self.dealer.session.stats(),
        }

    def report(self) -> bytes:
        """What the next heartbeat carries; see `fabric.protocol.node_report`."""
        outbox, sender, receiver, bus = self.sender.outbox, self.sender, self.receiver, self._bus.stats()
        delivery = receiver.delivery
        waiting = len(outbox)
        unencodable = sender.unencodable
        return encode_report(
            Report(
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
        )

    # The control thread

    def _run(self) -> None:
        poller = select.poll()
        for descriptor in (self.sender.descriptor, self.dealer.descriptor, self._wakeup.descriptor):
            poller.register(descriptor, select.POLLIN)
        events_at = 0.0
        stirred = {self.sender.descriptor, self.dealer.descriptor}
        while not self._closing:
            now = monotonic()
            try:
                if now >= events_at or self.sender.descriptor in stirred or self._wakeup.descriptor in stirred:
                    self._step(now)
                    events_at = monotonic() + (BUSY_TICK if self.sender.poll_soon else TICK)
                messages_at = self.dealer.service(monotonic())
                if self.dealer.held_up:
                    messages_at = monotonic() + BUSY_TICK
            except Exception:
                logger.exception("the control thread of %s failed, and goes on", self)
                messages_at = monotonic() + TICK
            wait = max(min(events_at, messages_at) - monotonic(), 0.0)
            stirred = {descriptor for descriptor, _ in poller.poll(wait * 1_000 + 0.5)}
            if self._wakeup.descriptor in stirred:
                self._wakeup.clear()
        self._wakeup.close()

    def _step(self, now: float) -> None:
        self.sender.service(now)
        self.receiver.touch()
        self._look_for_slowness(now)
        self._follow_losses(now)
        self._settle_barriers(now)
        with self._lock:
            pending = bool(self._barriers)
        if self.state != "up" and self.sender.interest.up and not self._up_barrier:
            self._up_barrier, _ = self._begin_barrier()
            pending = True
        if pending and now >= self._resend_at:
            if self._resend_at:
                self.sender.resend_probes()
            self._resend_at = now + TICK
        elif not pending:
            self._resend_at = 0.0

    def _look_for_slowness(self, now: float) -> None:
        if now < self._slowness_at:
            return
        self._slowness_at = now + TICK
        for facts in self._slow_consumers.look(backlogs(self._bus, self.receiver), now):
            if facts["state"] == "slow":
                logger.warning("%s on %r is slow: %s", facts["handler"], facts["pattern"], facts)
            self._bus.announce("fabric.slow_consumer", facts)

    def _follow_losses(self, now: float) -> None:
        losses = self.sender.interest.losses
        if losses == self._losses:
            return
        self._losses = losses
        self._returned.clear()  # they went round on the link that was lost
        self.dealer.call(self.dealer.session.link_lost, now)
        if self.state == "up":
            self._enter("down")

    def _settle_barriers(self, now: float) -> None:
        while self._returned:
            prefix = self._returned.popleft()
            if self.state != "up" and self.sender.interest.up:
                self.dealer.call(self.dealer.session.link_back, now, self.boot.hex())
                self._enter("up")
            if prefix == self._up_barrier:
                self._end_barrier(prefix)
                self._up_barrier = b""
            else:
                with self._lock:
                    done = self._barriers.get(prefix)
                if done is not None and not done.done():
                    done.set_result(None)

    def _enter(self, state: str) -> None:
        if state == "up":
            self.receiver.delivery.link_up()
        self.state = state
        self._changed(state)

    def forked(self) -> None:
        """We are a fork's child, and this is the parent's: touch nothing of it, and let nothing here do so."""
        _unended.append(self)  # what collects a socket closes it
        self.state = "closed"
        self._closing = self._forked = True
        self._lock = threading.RLock()
        self._wakeup.forked()
        self.receiver.forked()
        self.dealer.forked()
        close_inherited(self._address)

    def close(self, patience: float = 1.0) -> int:
        """End threads and sockets; how many events were abandoned. Never hangs.

        A thread that sits in a callback has `patience` seconds; then it is left behind, and ends after the callback.
        """
        self.dealer.call(self.dealer.session.close, monotonic())
        self._closing = True
        self._wakeup.set()
        deadline = monotonic() + patience
        if threading.current_thread() is not self._thread:
            self._thread.join(patience)
        idle = self.dealer.close(GOODBYE)
        abandoned = self.sender.close()
        ended = self.receiver.close(max(deadline - monotonic(), 0.0))
        if not (idle and self.sender.ended):
            _unended.append(self)  # a signal handler closes what its own thread sends on, and goes on to send on
        elif ended:
            self._context.term()
        else:  # the last socket is closed by the thread that owns it, when the callback it runs is over
            try:
                threading.Thread(target=self._context.term, name="fabric-term", daemon=True).start()
            except RuntimeError:  # no thread begins any more: the process ends, and takes it all along
                _unended.append(self)
        self.state = "closed"
        return abandoned
