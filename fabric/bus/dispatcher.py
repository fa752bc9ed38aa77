"""Runs the callbacks of an event where they belong: in the call that delivers it, or on an event loop.

    event            callback           runs
    local            sync               in `publish`, on the publisher's thread
    local            async              as a task on the loop in which it was subscribed, else on the running one, else on
                                        the loop in which the bus was attached, else nowhere: dropped
    from outside     sync               in `Bus.hand_over`; on its loop, if it was subscribed in one
    from outside     async              as a task on the loop in which it was subscribed, else on the one in which the bus
                                        was attached, else nowhere: dropped

An event for the loop of another thread goes through a queue (`fabric.bus.loop_queue`). A loop that is closed, or stuck
until its queue is full, loses events, which are counted.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fabric.bus.callbacks import call, finish, log_failure
from fabric.bus.loop_queue import LoopQueues, running_loop
from fabric.bus.subscription import Queue, Subscription
from fabric.bus.table import Subscribers
from fabric.protocol.envelope import Envelope

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

logger = logging.getLogger("fabric.bus")

#: A publish inside a publish inside a … this deep is an endless loop of subscribers that answer each other.
MAX_DEPTH = 32


class _Publishing:
    """The nested calls of `publish` on one thread."""

    __slots__ = ("depth", "warned")

    def __init__(self) -> None:
        self.depth = 0
        #: Whether the outermost of them has logged a warning.
        self.warned = False


class Dispatcher:
    """The callbacks of one bus. Every method may be called on any thread, and inside callbacks.

    `used_queues()` are the queues of the present subscriptions.
    """

    def __init__(self, used_queues: Callable[[], set[Queue | None]]) -> None:
        self._used_queues = used_queues
        self._local = threading.local()
        self.queues: LoopQueues[tuple[Subscription, str, Envelope]] = LoopQueues(self._from_queue, self._used)
        #: The queue of the loop in which the bus was attached. Async callbacks without a loop of their own run there.
        self.default_queue: Queue | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Async deliveries without a loop, and deliveries to a loop that was stuck or closed."""
        return self._dropped + self.queues.dropped

    def _used(self) -> set[Queue | None]:
        return self._used_queues() | {self.default_queue}

    # In this call

    def deliver(self, topic: str, envelope: Envelope, subscribers: Subscribers) -> None:
        """Run the callbacks of a local event for `subscribers`, of which there is at least one."""
        try:
            publishing = self._local.publishing
        except AttributeError:
            publishing = self._local.publishing = _Publishing()
        depth = publishing.depth
        if depth >= MAX_DEPTH:
            if not publishing.warned:
                publishing.warned = True
                logger.warning("publishing %r %d deep: subscribers answer each other in a loop, cut here", topic, depth)
            return
        if not depth:
            publishing.warned = False
        publishing.depth = depth + 1
        try:
            if len(subscribers) == 1 and not subscribers[0].is_async:
                call(subscribers[0], topic, envelope)
            else:
                self._deliver_each(topic, envelope, subscribers)
        finally:
            publishing.depth = depth

    def _deliver_each(self, topic: str, envelope: Envelope, subscribers: Subscribers) -> None:
        without_loop = 0
        for subscription in subscribers:
            own = envelope.copy()
            if not subscription.is_async:
                call(subscription, topic, own)
                continue
            queue, here = subscription.queue, running_loop()
            if queue is not None and queue.loop is not here:
                queue.put((subscription, topic, own))
            elif here is not None:
                self._start(here, subscription, topic, own)
            elif self.default_queue is not None:
                self.default_queue.put((subscription, topic, own))
            else:
                without_loop += 1
        if without_loop:
            self._drop_async(without_loop, topic)

    def _drop_async(self, count: int, topic: str) -> None:
        self._dropped += count
        logger.warning("dropped %d async subscriber(s) on topic %r: no event loop is running", count, topic)

    # On a loop

    def enqueue(self, subscription: Subscription, topic: str, envelope: Envelope) -> None:
        """Run the callback of an event from outside on the loop of its subscription."""
        queue = subscription.queue
        if queue is None:
            queue = self.default_queue
        if queue is None:
            self._drop_async(1, topic)
        elif not queue.put((subscription, topic, envelope)) and queue.dropped % 1_000 == 1:
            logger.warning("%d events dropped for %r: its event loop is stuck or closed", queue.dropped, subscription)

    def _from_queue(self, item: tuple[Subscription, str, Envelope]) -> None:
        subscription, topic, envelope = item
        if not subscription.active:
            return
        if subscription.is_async:
            loop = running_loop()
            assert loop is not None  # a queue's items are handled on its loop
            self._start(loop, subscription, topic, envelope)
        else:
            call(subscription, topic, envelope)

    def _start(
        self, loop: asyncio.AbstractEventLoop, subscription: Subscription, topic: str, envelope: Envelope
    ) -> None:
        try:
            callback = subscription.callback
            coroutine = callback(topic, envelope) if subscription.with_topic else callback(envelope)
        except Exception as error:
            log_failure(subscription, topic, error)
            return
        task = loop.create_task(finish(subscription, topic, coroutine))
        # A loop has weak references only to its tasks: a callback that waits could be collected.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
