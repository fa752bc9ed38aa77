"""Leaving: what a node finishes before it goes, and what it says of that.

    names given back ──▸ handlers finish ──▸ messages settle, events leave ──▸ a probe has been round ──▸ closed
      nothing new          what is in           receipts, replies                 all of it has passed
      comes in             their inboxes                                          the proxy

All of it within one deadline. What is not done by then is given up, and told.
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

#: Seconds between looks whether something is done.
LOOK = 0.001


class Drained(NamedTuple):
    """What `close` has done. False in a boolean context if something was given up."""

    #: Messages that handlers finished with, and events that left, while it closed.
    handled: int = 0
    flushed: int = 0
    #: Given up: events that did not leave, messages that no handler finished with, and our own that nobody acknowledged.
    events: int = 0
    unhandled: int = 0
    unsettled: int = 0

    @property
    def abandoned(self) -> int:
        """Everything that was given up."""
        return self.events + self.unhandled + self.unsettled

    def __bool__(self) -> bool:
        return not self.abandoned

    def __str__(self) -> str:
        done = f"{self.handled} messages handled, {self.flushed} events sent"
        if self:
            return done
        return f"{done}; given up: {self.events} events, {self.unhandled} unhandled and {self.unsettled} unsettled messages"


class Drain:
    """One node's leaving. The thread that closes it."""

    def __init__(self, link: Link, messaging: Messaging) -> None:
        self._link = link
        self._messaging = messaging
        self._sent = link.sender.outbox.sent
        self._endpoints: list[Endpoint] = []
        self._handled = 0

    def run(self, timeout: float) -> None:
        """Finish what can be finished within `timeout` seconds."""
        deadline = monotonic() + timeout
        self._endpoints = [endpoint for endpoint in self._messaging.retire() if endpoint.may_wait]
        self._handled = -sum(endpoint.handled for endpoint in self._endpoints)
        session, outbox = self._link.dealer.session, self._link.sender.outbox
        while (self._unhandled() or session.pending or outbox) and monotonic() < deadline:
            sleep(LOOK)
        self._names_are_free(deadline)
        if outbox or not outbox.sent or self._link.receiver.on_delivery_thread:
            return
        # A probe is sent after the last event: when it is back, all of them have passed the proxy.
        with self._link.barriers.round_trip() as done:
            try:
                done.result(max(deadline - monotonic(), 0.0))
            except (TimeoutError, FutureTimeout):
                logger.warning("closed before the proxy confirmed the last events")

    def _names_are_free(self, deadline: float) -> None:
        """Whoever wants one of our names next gets it: the proxy has heard that we gave them back."""
        name = self._messaging.first_name
        if not name or self._link.state != "up" or not self._may_wait():
            return
        timeout = max(deadline - monotonic(), 0.0)
        try:
            # Answers come in the order of what was asked, so this one is behind all that we gave back.
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
        """What was done, when `events` did not leave and `unsettled` messages were not acknowledged."""
        return Drained(
            handled=self._handled + sum(endpoint.handled for endpoint in self._endpoints),
            flushed=self._link.sender.outbox.sent - self._sent,
            events=events,
            unhandled=self._unhandled(),
            unsettled=unsettled,
        )

    def _unhandled(self) -> int:
        return sum(endpoint.unhandled for endpoint in self._endpoints)
