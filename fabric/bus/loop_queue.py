"""Handing things over to an asyncio event loop from any thread, in bursts.

`call_soon_threadsafe` writes to a pipe and gives up the GIL: once an event it halves the throughput of a delivery
thread. So a `LoopQueue` wakes its loop once a burst, and gives it back after `BUDGET` items so that a flood of events
does not starve the loop's own timers and sockets.

asyncio itself is imported only by programs that use it: importing it costs as much as importing zmq.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

#: Items handled in one turn of the loop; at 1 to 3 µs each some milliseconds.
BUDGET = 2_000
#: Items that may wait for a loop that is stuck; the oldest are dropped and counted past that.
LIMIT = 100_000

_Item = TypeVar("_Item")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, without importing asyncio into programs that have none."""
    module = sys.modules.get("asyncio")
    if module is None:
        return None
    try:
        loop: asyncio.AbstractEventLoop = module.get_running_loop()
    except RuntimeError:
        return None
    return loop


class LoopQueue(Generic[_Item]):
    """Items on their way to one loop. `put` may be called on any thread; `handle` runs on the loop, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Callable[[_Item], None], *, limit: int = LIMIT) -> None:
        self.loop = loop
        #: Items that were dropped because the loop was stuck or closed, and those that were handled.
        self.dropped = 0
        self.handled = 0
        self._handle = handle
        self._items: deque[_Item] = deque()
        self._limit = limit
        self._awake = False

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    @property
    def first(self) -> _Item | None:
        """The one whose turn it is."""
        try:
            return self._items[0]
        except IndexError:
            return None

    def put(self, item: _Item) -> bool:
        """Queue `item`. False if it, or the oldest one in its place, had to be dropped."""
        items = self._items
        items.append(item)
        # No lock: the flag is cleared before the queue is read, so an item that finds it set will be seen. Two
        # threads that both find it clear wake the loop twice, which costs a turn and loses nothing.
        if not self._awake:
            self._awake = True
            try:
                self.loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop is closed: nobody will ever run these
                self._awake = False
                self.dropped += len(items)
                items.clear()
                return False
        if len(items) > self._limit:
            try:
                items.popleft()
            except IndexError:  # the loop caught up in between
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
