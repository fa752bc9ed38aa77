"""The local bus: delivery inside one process.

    bus = Bus()
    with bus.subscribe("tui.**", print):
        bus.publish("tui.tool.start", {"name": "grep"})

`publish` is a look-up and a loop of calls. Which subscribers a topic has is remembered per topic inside an immutable
table that `subscribe` replaces whole: readers take no lock, and a remembered match cannot outlive the table it was made
from. (A memory that `subscribe` merely clears loses events: a delivery that still holds the old list writes its stale
answer back after the clear.)

The bus knows nothing of other processes. Whoever connects it to them attaches itself as its `Outside`, is shown every
event before the subscribers are, and hands in theirs through `deliver`.

This module is pure but for two things that its callers cannot pass in: the wall clock for `ts`, and a lock around the
replacing of the table.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from fabric.bus.loop_queue import LoopQueue, running_loop
from fabric.bus.subscription import Callback, Outside, Queue, Stream, Subscription
from fabric.protocol.envelope import Envelope, stamp
from fabric.protocol.topics import KEPT_TOPIC, RESERVED, PatternTable, check_pattern, check_topic, is_reserved

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("fabric.bus")

_Function = TypeVar("_Function", bound=Callback)

#: A publish inside a publish inside a … this deep is a loop of subscribers that answer each other.
MAX_DEPTH = 32
#: Topics whose subscribers are remembered. Past it the memory starts anew.
REMEMBERED = 4_096


_Subscribers = tuple[Subscription, ...]


class _Table:
    """All subscriptions at one moment, and the answers remembered from them. Never changed, only replaced."""

    __slots__ = ("patterns", "published", "source", "subscribers")

    def __init__(self, patterns: PatternTable[Subscription], source: str | None) -> None:
        self.patterns = patterns
        self.source = source
        #: topic → (src, subscribers), for topics that applications may publish: being in here means checked.
        self.published: dict[str, tuple[str, _Subscribers]] = {}
        #: topic → subscribers, for whatever is delivered.
        self.subscribers: dict[str, _Subscribers] = {}

    def subscribers_of(self, topic: str) -> _Subscribers:
        found = self.subscribers.get(topic)
        if found is None:
            found = tuple(sorted(self.patterns.match(topic), key=_serial))
            if topic == KEPT_TOPIC:
                found = tuple(each for each in found if each.pattern == KEPT_TOPIC)
            _remember(self.subscribers, topic, found)
        return found

    def admit(self, topic: str) -> tuple[str, _Subscribers]:
        check_topic(topic)
        if is_reserved(topic):
            raise ValueError(
                f"topic {topic!r}: {RESERVED!r} and below are the system's own, choose another first segment"
            )
        found = (self.source or topic.partition(".")[0], self.subscribers_of(topic))
        _remember(self.published, topic, found)
        return found


class Bus:
    """Delivery inside one process. Every method may be called on any thread, and inside callbacks.

    `source` is what goes into an envelope's `src`; without one it is the topic's first segment.
    """

    def __init__(self, source: str | None = None) -> None:
        self._table = _Table(PatternTable(), source)
        # Re-entrant: a finaliser or a signal handler may subscribe while this thread replaces the table.
        self._lock = threading.RLock()
        self._serial = 0
        self._running = threading.local()
        self._queues: dict[asyncio.AbstractEventLoop, Queue] = {}
        self._home: Queue | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._outside: Outside | None = None
        self._forward: Callable[[str, Envelope], None] | None = None
        self._dropped = 0
        self._streams: WeakSet[Stream] = WeakSet()

    # Publishing

    def publish(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Show an event to every subscriber whose pattern matches `topic`, here and, if connected, elsewhere.

        Sync callbacks run in this call, in registration order; async ones are scheduled on the loop they were
        registered in, else on the running one. It never blocks, and what a subscriber raises is logged, not raised.
        Each subscriber gets an envelope of its own. ValueError for a bad topic, TypeError for a payload that is no
        mapping.
        """
        try:
            source, subscribers = self._table.published[topic]
        except (KeyError, TypeError):
            source, subscribers = self._table.admit(topic)
        envelope = stamp(topic, payload, source, time())
        if (forward := self._forward) is not None:
            # First, so that what a callback publishes in answer leaves after what it answers.
            forward(topic, envelope)
        if subscribers:
            self._deliver(topic, envelope, subscribers)

    def announce(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """Publish one of the system's own events (`fabric.…`) to this process only."""
        self.deliver(topic, stamp(topic, payload, self.source or RESERVED, time()))

    def deliver(self, topic: str, envelope: Envelope) -> None:
        """Hand in an event from outside. Subscribers that belong to a loop get it there, others in this call."""
        for subscription in self._table.subscribers_of(topic):
            # One owner each: what one subscriber does to its envelope is not the next one's business.
            self.hand_over(subscription, topic, envelope.copy())

    def subscribers_of(self, topic: str) -> tuple[Subscription, ...]:
        """The subscriptions that match `topic`, in registration order."""
        return self._table.subscribers_of(topic)

    @property
    def known_topics(self) -> Mapping[str, tuple[Subscription, ...]]:
        """What `subscribers_of` remembers just now: for a look before the call, over the events of one message."""
        return self._table.subscribers

    def hand_over(self, subscription: Subscription, topic: str, envelope: Envelope) -> None:
        """Give an event from outside to one subscription: on its loop if it has one, else in this call."""
        if not subscription.active:
            return  # ended by a callback that an earlier event of the same message ran
        queue = subscription.queue
        if queue is None and not subscription.is_async:
            try:
                result = subscription.callback(envelope)
            except KeyboardInterrupt:
                raise
            except BaseException:
                # sys.exit(), too, or pytest.fail(): in a thread of ours that ends nothing but the delivery of events.
                logger.exception("subscriber %r failed on topic %r", subscription, topic)
                return
            if result is not None:
                _refuse_coroutine(result, subscription)
            return
        if queue is None:
            queue = self._home
        if queue is None:
            self._drop_async(1, topic)
        elif not queue.put((subscription, topic, envelope)) and queue.dropped % 1_000 == 1:
            logger.warning("%d events dropped for %r: its event loop is stuck or closed", queue.dropped, subscription)

    def _deliver(self, topic: str, envelope: Envelope, subscribers: _Subscribers) -> None:
        running = self._running
        depth = getattr(running, "depth", 0)
        if depth >= MAX_DEPTH:
            if not running.warned:
                running.warned = True
                logger.warning("publishing %r %d deep: subscribers answer each other in a loop, cut here", topic, depth)
            return
        if not depth:
            running.warned = False
        running.depth = depth + 1
        try:
            if len(subscribers) == 1 and not subscribers[0].is_async:
                _call(subscribers[0], topic, envelope)
            else:
                self._deliver_each(topic, envelope, subscribers)
        finally:
            running.depth = depth

    def _deliver_each(self, topic: str, envelope: Envelope, subscribers: _Subscribers) -> None:
        homeless = 0
        for subscription in subscribers:
            own = envelope.copy()
            if not subscription.is_async:
                _call(subscription, topic, own)
                continue
            queue, here = subscription.queue, running_loop()
            if queue is not None and queue.loop is not here:
                queue.put((subscription, topic, own))
            elif here is not None:
                self._start(here, subscription, topic, own)
            elif self._home is not None:
                self._home.put((subscription, topic, own))
            else:
                homeless += 1
        if homeless:
            self._drop_async(homeless, topic)

    def _drop_async(self, count: int, topic: str) -> None:
        self._dropped += count
        logger.warning("dropped %d async subscriber(s) on topic %r: no event loop is running", count, topic)

    def _from_queue(self, item: tuple[Subscription, str, Envelope]) -> None:
        subscription, topic, envelope = item
        if not subscription.active:
            return
        if subscription.is_async:
            loop = running_loop()
            assert loop is not None  # a LoopQueue runs on its loop
            self._start(loop, subscription, topic, envelope)
        else:
            _call(subscription, topic, envelope)

    def _start(
        self, loop: asyncio.AbstractEventLoop, subscription: Subscription, topic: str, envelope: Envelope
    ) -> None:
        try:
            coroutine = subscription.callback(envelope)
        except Exception:
            logger.exception("subscriber %r failed on topic %r", subscription, topic)
            return
        task = loop.create_task(_logged(coroutine, subscription, topic))  # type: ignore[arg-type]
        # A loop holds its tasks weakly only: without this a waiting callback could be collected.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Subscribing

    def subscribe(self, pattern: str, callback: Callback, *, recover: bool = False) -> Subscription:
        """Call `callback(envelope)` for every event whose topic matches `pattern`.

        With `recover`, events of other processes that did not arrive are asked for at their origin, which keeps the last
        ones that left; what came after them waits until they are here (order is kept per origin and topic). What cannot
        be had is reported as a gap. A topic that one subscription of this bus recovers is recovered for all of them.

        Each call makes a distinct subscription, also for the same callback. Registered while an event loop runs in this
        thread, it gets events from other threads and processes on that loop; else local events in the publisher's
        thread and remote ones on the delivery thread. ValueError for a bad pattern, TypeError for a callback that
        cannot be called.
        """
        check_pattern(pattern)
        if not callable(callback):
            raise TypeError(f"the callback for {pattern!r} cannot be called: {callback!r}")
        with self._lock:
            self._serial += 1
            subscription = Subscription(self, pattern, callback, self._serial, self.loop_queue(), recover)
            self._replace(lambda patterns: patterns.adding(pattern, subscription))
            # Under the lock: two threads that subscribe and unsubscribe must be told about in the order they did.
            if self._outside is not None:
                self._outside.subscribed(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> bool:
        """End a subscription. False if it had ended before, or is another bus's."""
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
        """Replace the table by one with other patterns; under the lock.

        Making one may run a finaliser of this very thread, which replaces it, too: then it is made again from that.
        """
        while True:
            before = self._table
            after = _Table(changed(before.patterns), before.source)
            if self._table is before:
                self._table = after
                return

    def on(self, pattern: str) -> Callable[[_Function], _Function]:
        """Decorator: `@bus.on("tui.**")`. The function itself is left as it is."""

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
        return True  # a bus without subscribers is still a bus

    def __iter__(self) -> Any:
        return iter(sorted(self._table.patterns, key=_serial))

    def stats(self) -> dict[str, int]:
        """`subscriptions`, and `dropped`: async deliveries without a loop, or to one that was stuck or closed."""
        # Without the lock: a heartbeat asks this, and must not wait for whoever subscribes.
        queues = list(self._queues.values())
        return {"subscriptions": len(self), "dropped": self._dropped + sum(queue.dropped for queue in queues)}

    def watch(self, stream: Stream) -> None:
        """Include `stream` in `streams` for as long as somebody holds it."""
        self._streams.add(stream)

    def streams(self) -> list[Stream]:
        """Iterations over events of this bus. Any thread."""
        while True:
            try:
                return list(self._streams)
            except RuntimeError:  # somebody began or ended one just now
                continue

    def queues(self) -> list[Queue]:
        """Of event loops that have callbacks here. Any thread."""
        return list(self._queues.values())

    # Connecting

    @property
    def source(self) -> str | None:
        """What goes into `src`; None: the topic's first segment."""
        return self._table.source

    @source.setter
    def source(self, source: str | None) -> None:
        """For what is published from now on."""
        with self._lock:
            self._table = _Table(self._table.patterns, source)

    @property
    def outside(self) -> Outside | None:
        """Who connects this bus to other processes."""
        return self._outside

    def attach(self, outside: Outside) -> None:
        """Connect: `outside` is told of every subscription there is, then of everything that happens."""
        with self._lock:
            if self._outside is not None:
                raise RuntimeError("this bus is connected already")
            self._home = self.loop_queue()
            self._outside = outside
            for subscription in self:
                outside.subscribed(subscription)
            self._forward = outside.forward

    def reattach(self, reopen: Callable[[], bool]) -> None:
        """Call `reopen`; if it did, tell the outside of every subscription, and ask it for its `forward` again.

        Under the lock, so that it is told once of what is subscribed meanwhile.
        """
        with self._lock:
            if self._outside is None or not reopen():
                return
            for subscription in self:
                self._outside.subscribed(subscription)
            self._forward = self._outside.forward

    def forked(self) -> None:
        """We are a fork's child: who had the lock may not be here, and the outside has a `forward` of its own for that."""
        self._lock = threading.RLock()
        self._forward = None if self._outside is None else self._outside.forward

    def detach(self) -> None:
        """Disconnect; nothing more is forwarded."""
        with self._lock:
            self._outside = self._forward = self._home = None

    def loop_queue(self) -> Queue | None:
        """The queue of the loop that runs in this thread, None if none does."""
        loop = running_loop()
        if loop is None:
            return None
        queue = self._queues.get(loop)
        if queue is None:
            self._let_go_of_closed_loops()
            queue = self._queues[loop] = LoopQueue(loop, self._from_queue)
        return queue

    def _let_go_of_closed_loops(self) -> None:
        """A program that runs loop after loop must not collect them. (A queue holds its loop: weak keys never go.)"""
        in_use = {subscription.queue for subscription in self._table.patterns} | {self._home}
        for loop, queue in list(self._queues.items()):
            if loop.is_closed() and queue not in in_use:
                self._dropped += self._queues.pop(loop).dropped


def _remember(memory: dict[str, Any], topic: str, found: object) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[topic] = found


def _serial(subscription: Subscription) -> int:
    return subscription.serial


def _call(subscription: Subscription, topic: str, envelope: Envelope) -> None:
    try:
        result = subscription.callback(envelope)
    except Exception:
        logger.exception("subscriber %r failed on topic %r", subscription, topic)
        return
    if result is not None:
        _refuse_coroutine(result, subscription)


def _refuse_coroutine(result: object, subscription: Subscription) -> None:
    if inspect.iscoroutine(result):
        result.close()
        logger.warning("%r returned a coroutine, which was closed: subscribe an `async def` itself", subscription)


async def _logged(coroutine: Awaitable[object], subscription: Subscription, topic: str) -> None:
    try:
        await coroutine
    except Exception:
        logger.exception("subscriber %r failed on topic %r", subscription, topic)


#: Code of what runs callbacks, each with the event's `topic` among its variables; see `fabric.log_events`.
RUNS_CALLBACKS = frozenset(function.__code__ for function in (Bus.hand_over, _call, _logged))
