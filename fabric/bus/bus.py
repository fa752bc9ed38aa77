"""The local bus: delivery inside one process.

    bus = Bus()
    with bus.subscribe("tui.**", print):
        bus.publish("tui.tool.start", {"name": "grep"})

`publish` is a look-up and a loop of calls. The subscribers of a topic are cached in an immutable table that `subscribe`
replaces as a whole (`fabric.bus.table`), so publishers take no lock.

The bus knows nothing of other processes. The object that connects it to them attaches itself as its `Outside`: it gets
every event before the subscribers do, and hands over remote events.

    publish ──▸ table: src, subscribers ──▸ outside.forward ──▸ dispatcher ──▸ callbacks
    event from outside ──▸ hand_over ─────────────────────────────────┘

This module is pure but for two things that its callers cannot pass in: the wall clock for `ts`, and a lock around the
replacement of the table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import time
from typing import Any, TypeVar
from weakref import WeakSet

from fabric.bus.callbacks import log_failure, refuse_coroutine, runs_callback
from fabric.bus.dispatcher import Dispatcher
from fabric.bus.subscription import Callback, Outside, Queue, Stream, Subscription
from fabric.bus.table import Subscribers, SubscriptionTable, serial_of
from fabric.protocol.envelope import Envelope, stamp
from fabric.protocol.topics import RESERVED, PatternTable, check_pattern

_Function = TypeVar("_Function", bound=Callback)


class Bus:
    """Delivery inside one process. Every method may be called on any thread, and inside callbacks.

    `source` becomes the `src` of an envelope; without a source that is the topic's first segment.
    """

    def __init__(self, source: str | None = None) -> None:
        self._table = SubscriptionTable(source=source)
        # Re-entrant: a finaliser or a signal handler may subscribe while this thread replaces the table.
        self._lock = threading.RLock()
        self._serial = 0
        self._dispatcher = Dispatcher(lambda: {subscription.queue for subscription in self._table.patterns})
        self._outside: Outside | None = None
        self._forward: Callable[[str, Envelope], None] | None = None
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
            self._dispatcher.deliver(topic, envelope, subscribers)

    def announce(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Publish one of the system's own events (`fabric.…`) to this process only."""
        self.deliver(topic, stamp(topic, payload, self.source or RESERVED, time()))

    def deliver(self, topic: str, envelope: Envelope) -> None:
        """Hand over an event from outside to all of its subscribers; see `hand_over`."""
        for subscription in self._table.subscribers_of(topic):
            # A copy each, so that a subscriber may change its envelope.
            self.hand_over(subscription, topic, envelope.copy())

    @runs_callback
    def hand_over(self, subscription: Subscription, topic: str, envelope: Envelope) -> None:
        """Give an event from outside to one subscription: on its loop if it has one, else in this call."""
        if not subscription.active:
            return  # ended by a callback of an earlier event of the same message
        if not subscription.runs_in_call:
            self._dispatcher.enqueue(subscription, topic, envelope)
            return
        # The hottest path of remote events: not in a function of the dispatcher.
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

    def subscribers_of(self, topic: str) -> Subscribers:
        """The subscriptions that match `topic`, in registration order."""
        return self._table.subscribers_of(topic)

    @property
    def known_topics(self) -> Mapping[str, Subscribers]:
        """The cache of `subscribers_of` as it is now. A reader of many events looks here before it calls that."""
        return self._table.subscribers

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
        return {"subscriptions": len(self), "dropped": self._dispatcher.dropped}

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
        return self._dispatcher.queues.all()

    def loop_queue(self) -> Queue | None:
        """The queue of the loop that runs in this thread; None if none does."""
        return self._dispatcher.queues.here()

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
            self._dispatcher.default_queue = self.loop_queue()
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
            self._outside = self._forward = self._dispatcher.default_queue = None
