"""Queues from any thread to asyncio event loops, with one wake-up a burst.

`call_soon_threadsafe` writes to a pipe and releases the GIL: one call per event halves the throughput of a delivery thread.
So a `LoopQueue` wakes its loop once a burst, and handles at most `BUDGET` items a turn, so that a flood of events does not
starve the loop's own timers and sockets.

asyncio is imported only by programs that use it: importing it costs as much as importing zmq.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

#: Items handled in one turn of the loop: at 1 to 3 µs each, some milliseconds.
BUDGET = 2_000
#: Items that may wait for a loop that is stuck. A full queue drops the oldest, and counts them.
LIMIT = 100_000

_Item = TypeVar("_Item")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread. Does not import asyncio."""
    module = sys.modules.get("asyncio")
    if module is None:
        return None
    try:
        loop: asyncio.AbstractEventLoop = module.get_running_loop()
    except RuntimeError:
        return None
    return loop


class LoopQueue(Generic[_Item]):
    """A queue to one loop. `put` may be called on any thread; `handle` runs on the loop, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Callable[[_Item], None], *, limit: int = LIMIT) -> None:
        self.loop = loop
        #: Items that were dropped because the loop was stuck or closed, and items that were handled.
        self.dropped = 0
        self.handled = 0
        self._handle = handle
        self._items: deque[_Item] = deque()
        self._limit = limit
        self._awake = False

    def __len__(self) -> int:
        """Number of items that wait."""
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    @property
    def first(self) -> _Item | None:
        """The next item to be handled."""
        try:
            return self._items[0]
        except IndexError:
            return None

    def put(self, item: _Item) -> bool:
        """Append `item`. False if the loop is closed, or if the queue was full and dropped its oldest item."""
        items = self._items
        items.append(item)
        # No lock: the flag is cleared before the queue is read, so an item that was put while it was set is read. Two
        # threads that both find it clear wake the loop twice, which costs a turn and loses nothing.
        if not self._awake:
            self._awake = True
            try:
                self.loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop is closed, and will handle no item
                self._awake = False
                self.dropped += len(items)
                items.clear()
                return False
        if len(items) > self._limit:
            try:
                items.popleft()
            except IndexError:  # the loop has emptied the queue meanwhile
                return True
            self.dropped += 1
            return False
        return True

    def _run(self) -> None:
        self._awake = False
        take = self._items.popleft
        for _ in range(BUDGET):
            try:
                item = take()
            except IndexError:
                return
            self._handle(item)
            self.handled += 1
        if self._items and not self._awake:
            self._awake = True
            self.loop.call_soon(self._run)


class LoopQueues(Generic[_Item]):
    """One queue for each loop that uses it, made on first use. Any thread.

    A queue references its loop, so a weak dictionary would never lose it. Instead, closed loops whose queues are not in
    `used()` are forgotten when another loop comes: a program may run loop after loop.
    """

    def __init__(self, handle: Callable[[_Item], None], used: Callable[[], set[LoopQueue[_Item] | None]]) -> None:
        self._handle = handle
        self._used = used
        self._queues: dict[asyncio.AbstractEventLoop, LoopQueue[_Item]] = {}
        self._dropped = 0

    def here(self) -> LoopQueue[_Item] | None:
        """The queue of the loop that runs in this thread; None if none does."""
        loop = running_loop()
        if loop is None:
            return None
        queue = self._queues.get(loop)
        if queue is None:
            self._forget_closed()
            queue = self._queues[loop] = LoopQueue(loop, self._handle)
        return queue

    def all(self) -> list[LoopQueue[_Item]]:
        """Every queue."""
        return list(self._queues.values())

    @property
    def dropped(self) -> int:
        """Items that were dropped by all queues, including those of forgotten loops."""
        return self._dropped + sum(queue.dropped for queue in self.all())

    def _forget_closed(self) -> None:
        used = self._used()
        for loop, queue in list(self._queues.items()):
            if loop.is_closed() and queue not in used:
                self._dropped += self._queues.pop(loop).dropped
