"""Draining: the work that a node completes before its link is closed, and the report of it.

    names released ──▸ handlers finish ──▸ messages settle, events are sent ──▸ a probe has gone round ──▸ closed
     no new messages     their inboxes        receipts, replies                   all events have passed
                                                                                  the proxy

All steps share one deadline. What is not done by then is abandoned, and counted in the report.
"""

from __future__ import annotations

import logging
from concurrent.futures import TimeoutError as FutureTimeout
from time import monotonic, sleep
from typing import NamedTuple

from fabric.errors import FabricError
from fabric.messages.endpoint import Endpoint
from fabric.messages.messaging import Messaging
from fabric.node.link import Link

logger = logging.getLogger("fabric.node")

#: Seconds between checks whether the work is done.
POLL_INTERVAL = 0.001


class Drained(NamedTuple):
    """The result of `close`. False in a boolean context if something was abandoned."""

    #: Messages that handlers finished, and events that were sent, during `close`.
    handled: int = 0
    flushed: int = 0
    #: Abandoned: events that were not sent, messages that no handler finished, sent messages without an acknowledgement.
    events: int = 0
    unhandled: int = 0
    unsettled: int = 0

    @property
    def abandoned(self) -> int:
        """The sum of all that was abandoned."""
        return self.events + self.unhandled + self.unsettled

    def __bool__(self) -> bool:
        return not self.abandoned

    def __str__(self) -> str:
        done = f"{self.handled} messages handled, {self.flushed} events sent"
        if self:
            return done
        return f"{done}; given up: {self.events} events, {self.unhandled} unhandled and {self.unsettled} unsettled messages"


class Drain:
    """Drains one link. For the thread that closes it."""

    def __init__(self, link: Link, messaging: Messaging) -> None:
        self._link = link
        self._messaging = messaging
        self._sent = link.sender.outbox.sent
        self._endpoints: list[Endpoint] = []
        self._handled = 0

    def run(self, timeout: float) -> None:
        """Complete the work that can be completed within `timeout` seconds."""
        deadline = monotonic() + timeout
        self._endpoints = [endpoint for endpoint in self._messaging.retire() if endpoint.may_wait]
        self._handled = -sum(endpoint.handled for endpoint in self._endpoints)
        session, outbox = self._link.dealer.session, self._link.sender.outbox
        while (self._unhandled() or session.pending or outbox) and monotonic() < deadline:
            sleep(POLL_INTERVAL)
        self._wait_for_release(deadline)
        if outbox or not outbox.sent or self._link.receiver.on_delivery_thread:
            return
        # The probe is sent after the last event: when it has returned, all events have passed the proxy.
        with self._link.barriers.round_trip() as done:
            try:
                done.result(max(deadline - monotonic(), 0.0))
            except (TimeoutError, FutureTimeout):
                logger.warning("closed before the proxy confirmed the last events")

    def _wait_for_release(self, deadline: float) -> None:
        """Wait until the proxy has released our names, so that the next program that asks for one gets it."""
        name = self._messaging.first_name
        if not name or self._link.state != "up" or not self._may_wait():
            return
        timeout = max(deadline - monotonic(), 0.0)
        try:
            # The proxy answers in the order of our requests, so its answer follows the releases.
            self._messaging.queries.listing(timeout, name=name, nodes=False).result(timeout)
        except (TimeoutError, FutureTimeout, FabricError):
            pass

    def _may_wait(self) -> bool:
        try:
            self._link.may_block()
        except RuntimeError:
            return False
        return True

    def report(self, events: int, unsettled: int) -> Drained:
        """The report, if `events` were not sent and `unsettled` messages were not acknowledged."""
        return Drained(
            handled=self._handled + sum(endpoint.handled for endpoint in self._endpoints),
            flushed=self._link.sender.outbox.sent - self._sent,
            events=events,
            unhandled=self._unhandled(),
            unsettled=unsettled,
        )

    def _unhandled(self) -> int:
        return sum(endpoint.unhandled for endpoint in self._endpoints)
