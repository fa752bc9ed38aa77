"""The local bus: delivery inside one process.

    bus = Bus()
    with bus.subscribe("tui.**", print):
        bus.publish("tui.tool.start", {"name": "grep"})

`publish` is a look-up and a loop of calls. The subscribers of a topic are cached in an immutable table that `subscribe`
replaces as a whole (`fabric.bus.table`), so publishers take no lock.

The bus knows nothing of other processes. The object that connects it to them attaches itself as its `Outside`: it gets
every event before the subscribers do, and hands over remote events.

    publish ──▸ outside.forward     remote event ──▸ hand_over ──▸ callback, in this call
       └──▸ callback, in this call, or a task on the loop of an async callback         └──▸ queue of the subscriber's loop

This module is pure but for two things that its callers cannot pass in: the wall clock for `ts`, and a lock around the
replacement of the table.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from fabric.bus.callbacks import call, finish, log_failure, refuse_coroutine, runs_callback
from fabric.bus.loop_queue import LoopQueues, running_loop
from fabric.bus.subscription import Callback, Outside, Queue, Stream, Subscription
from fabric.bus.table import Subscribers, SubscriptionTable, serial_of
from fabric.protocol.envelope import Envelope, stamp
from fabric.protocol.topics import RESERVED, PatternTable, check_pattern

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("fabric.bus")

_Function = TypeVar("_Function", bound=Callback)

#: A publish inside a publish inside a … this deep is an endless loop of subscribers that answer each other.
MAX_DEPTH = 32


class _Publishing:
    """The nested calls of `publish` on one thread."""

    __slots__ = ("depth", "warned")

    def __init__(self) -> None:
        self.depth = 0
        #: Whether the outermost of them has logged a warning.
        self.warned = False


class Bus:
    """Delivery inside one process. Every method may be called on any thread, and inside callbacks.

    `source` becomes the `src` of an envelope; without a source that is the topic's first segment.
    """

    def __init__(self, source: str | None = None) -> None:
        self._table = SubscriptionTable(source=source)
        # Re-entrant: a finaliser or a signal handler may subscribe while this thread replaces the table.
        self._lock = threading.RLock()
        self._serial = 0
        self._local = threading.local()
        self._queues: LoopQueues[tuple[Subscription, str, Envelope]] = LoopQueues(self._from_queue, self._used_queues)
        #: Of the loop in which the bus was attached. Async callbacks without a loop of their own run there.
        self._default_queue: Queue | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._outside: Outside | None = None
        self._forward: Callable[[str, Envelope], None] | None = None
        self._dropped = 0
        self._streams: WeakSet[Stream] = WeakSet()

    # Publishing

    def publish(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Deliver an event to every subscriber whose pattern matches `topic`, here and, if connected, elsewhere.

        Sync callbacks run in this call, in registration order. Async ones are scheduled on the loop in which they were
        subscribed, else on the running one. It never blocks, and exceptions of callbacks are logged, not raised. Each
        subscriber gets its own copy of the envelope. ValueError for a bad topic, TypeError for a payload that is no
        mapping.
        """
        try:
            source, subscribers = self._table.published[topic]
        except (KeyError, TypeError):
            source, subscribers = self._table.admit(topic)
        envelope = stamp(topic, payload, source, time())
        if (forward := self._forward) is not None:
            # Before the callbacks: an event that a callback publishes in answer must leave after this one.
            forward(topic, envelope)
        if subscribers:
            self._deliver(topic, envelope, subscribers)

    def announce(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Publish one of the system's own events (`fabric.…`) to this process only."""
        self.deliver(topic, stamp(topic, payload, self.source or RESERVED, time()))

    def deliver(self, topic: str, envelope: Envelope) -> None:
        """Hand over an event from outside to all of its subscribers; see `hand_over`."""
        for subscription in self._table.subscribers_of(topic):
            # A copy each, so that a subscriber may change its envelope.
            self.hand_over(subscription, topic, envelope.copy())

    def subscribers_of(self, topic: str) -> Subscribers:
        """The subscriptions that match `topic`, in registration order."""
        return self._table.subscribers_of(topic)

    @property
    def known_topics(self) -> Mapping[str, Subscribers]:
        """The cache of `subscribers_of` as it is now. A reader of many events looks here before it calls that."""
        return self._table.subscribers

    @runs_callback
    def hand_over(self, subscription: Subscription, topic: str, envelope: Envelope) -> None:
        """Give an event from outside to one subscription: on its loop if it has one, else in this call."""
        if not subscription.active:
            return  # ended by a callback of an earlier event of the same message
        if subscription.runs_in_call:
            try:
                callback = subscription.callback
                result = callback(topic, envelope) if subscription.with_topic else callback(envelope)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # sys.exit() and pytest.fail(), too: on the delivery thread they would end nothing but the delivery.
                log_failure(subscription, topic, error)
                return
            if result is not None:
                refuse_coroutine(subscription, result)
            return
        queue = subscription.queue
        if queue is None:
            queue = self._default_queue
        if queue is None:
            self._drop_async(1, topic)
        elif not queue.put((subscription, topic, envelope)) and queue.dropped % 1_000 == 1:
            logger.warning("%d events dropped for %r: its event loop is stuck or closed", queue.dropped, subscription)

    def _deliver(self, topic: str, envelope: Envelope, subscribers: Subscribers) -> None:
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
            elif self._default_queue is not None:
                self._default_queue.put((subscription, topic, own))
            else:
                without_loop += 1
        if without_loop:
            self._drop_async(without_loop, topic)

    def _drop_async(self, count: int, topic: str) -> None:
        self._dropped += count
        logger.warning("dropped %d async subscriber(s) on topic %r: no event loop is running", count, topic)

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

    # Subscribing

    def subscribe(self, pattern: str, callback: Callback, *, recover: bool = False) -> Subscription:
        """Call `callback(envelope)` for every event whose topic matches `pattern`.

        With `recover`, lost events of other processes are requested from their origin, which keeps its most recent ones.
        Later events of the same origin and topic wait for the answer, so that their order is kept. Events that the origin
        no longer has are reported as a gap. A topic that one subscription of this bus recovers is recovered for all.

        Each call makes a distinct subscription, also for the same callback. If an event loop runs in this thread, the
        callback receives events of other threads and processes on that loop; else local events in the publisher's thread,
        and remote ones on the delivery thread. ValueError for a bad pattern, TypeError for a callback that is not callable.
        """
        return self._subscribe(pattern, callback, recover=recover)

    def _subscribe(
        self, pattern: str, callback: Callable[..., object], *, recover: bool = False, with_topic: bool = False
    ) -> Subscription:
        """As `subscribe`; for the fabric's own subscribers. With `with_topic` it is `callback(topic, envelope)`.

        The topic is not in the envelope: `type` may be the publisher's own.
        """
        check_pattern(pattern)
        if not callable(callback):
            raise TypeError(f"the callback for {pattern!r} cannot be called: {callback!r}")
        with self._lock:
            self._serial += 1
            subscription = Subscription(
                self, pattern, callback, self._serial, self.loop_queue(), recover, with_topic=with_topic
            )
            self._replace(lambda patterns: patterns.adding(pattern, subscription))
            # Under the lock, so that the outside gets the changes of several threads in the order in which they happened.
            if self._outside is not None:
                self._outside.subscribed(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> bool:
        """End a subscription. False if it had ended before, or belongs to another bus."""
        with self._lock:
            if not subscription.active or subscription._bus is not self:
                return False
            subscription.active = False
            subscription.ended_at = self._serial
            self._replace(lambda patterns: patterns.removing(subscription.pattern, subscription))
            if self._outside is not None:
                self._outside.unsubscribed(subscription)
        return True

    def _replace(self, changed: Callable[[PatternTable[Subscription]], PatternTable[Subscription]]) -> None:
        """Replace the table by one with changed patterns. With the lock held.

        A finaliser may run meanwhile on this very thread, and replace the table, too: then start again from its table.
        """
        while True:
            before = self._table
            after = SubscriptionTable(changed(before.patterns), before.source)
            if self._table is before:
                self._table = after
                return

    def on(self, pattern: str) -> Callable[[_Function], _Function]:
        """Decorator: `@bus.on("tui.**")`. Returns the function itself."""

        def register(function: _Function) -> _Function:
            self.subscribe(pattern, function)
            return function

        return register

    def clear(self) -> None:
        """End all subscriptions (for tests)."""
        for subscription in self:
            self.unsubscribe(subscription)

    def __len__(self) -> int:
        return self._table.patterns.size

    def __bool__(self) -> bool:
        return True  # also without subscribers

    def __iter__(self) -> Any:
        return iter(sorted(self._table.patterns, key=serial_of))

    def stats(self) -> dict[str, int]:
        """`subscriptions`, and `dropped`: async deliveries without a loop, or to one that was stuck or closed."""
        # Without the lock: a heartbeat calls this, and must not wait for a thread that subscribes.
        return {"subscriptions": len(self), "dropped": self._dropped + self._queues.dropped}

    def watch(self, stream: Stream) -> None:
        """Include `stream` in `streams` while it is referenced elsewhere."""
        self._streams.add(stream)

    def streams(self) -> list[Stream]:
        """The iterations over events of this bus. Any thread."""
        while True:
            try:
                return list(self._streams)
            except RuntimeError:  # another thread began or ended one during the iteration
                continue

    def queues(self) -> list[Queue]:
        """The queues of event loops that have callbacks here. Any thread."""
        return self._queues.all()

    def loop_queue(self) -> Queue | None:
        """The queue of the loop that runs in this thread; None if none does."""
        return self._queues.here()

    def _used_queues(self) -> set[Queue | None]:
        return {subscription.queue for subscription in self._table.patterns} | {self._default_queue}

    # Connecting

    @property
    def source(self) -> str | None:
        """The `src` of published events; None: the topic's first segment."""
        return self._table.source

    @source.setter
    def source(self, source: str | None) -> None:
        """Set the `src` of later events."""
        with self._lock:
            self._table = SubscriptionTable(self._table.patterns, source)

    @property
    def outside(self) -> Outside | None:
        """The object that connects this bus to other processes."""
        return self._outside

    def attach(self, outside: Outside) -> None:
        """Connect: `outside` gets all subscriptions, then every change and every event. RuntimeError if connected."""
        with self._lock:
            if self._outside is not None:
                raise RuntimeError("this bus is connected already")
            self._default_queue = self.loop_queue()
            self._outside = outside
            for subscription in self:
                outside.subscribed(subscription)
            self._forward = outside.forward

    def reattach(self, reopen: Callable[[], bool]) -> None:
        """Call `reopen`; if it returns True, give the outside all subscriptions again, and take its new `forward`.

        With the lock held, so that the outside gets a subscription that is made meanwhile once.
        """
        with self._lock:
            if self._outside is None or not reopen():
                return
            for subscription in self:
                self._outside.subscribed(subscription)
            self._forward = self._outside.forward

    def forked(self) -> None:
        """In a fork's child: replace the lock, whose holder may be a thread of the parent, and take the new `forward`."""
        self._lock = threading.RLock()
        self._forward = None if self._outside is None else self._outside.forward

    def detach(self) -> None:
        """Disconnect: no event is forwarded from now on."""
        with self._lock:
            self._outside = self._forward = self._default_queue = None
