"""A bounded buffer between whoever delivers and whoever takes, by blocking or by awaiting.

What `queue.Queue` and `asyncio.Queue` are each for one of the two: here one thread may put and a coroutine take. A full
buffer never makes the one who puts wait: it either drops its oldest item, or says no.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from fabric.bus.loop_queue import running_loop
from fabric.errors import Closed

if TYPE_CHECKING:
    import asyncio

_Item = TypeVar("_Item")

#: All that there are, for `forked`.
_buffers: WeakSet[Buffer[Any]] = WeakSet()


class Buffer(Generic[_Item]):
    """Every method may be called on any thread."""

    def __init__(self, what: str, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"the limit of {what} is at least 1, not {limit}")
        #: Items dropped because it was full, and those that came in all in all.
        self.dropped = 0
        self.came = 0
        #: Items that made way for a later one of the same key.
        self.superseded = 0
        self._what = what
        self._limit = limit
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._closed: Exception | None = None
        _buffers.add(self)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item, *, wake: bool = True) -> bool:
        """Put `item` in; False, and nothing is changed, if it is full or closed. Without `wake`, `wake` must follow."""
        with self._changed:
            if self._closed is not None or len(self._items) >= self._limit:
                return False
            self._items.append(item)
            if wake:
                self._wake_one()
        return True

    def wake(self) -> None:
        """Let somebody who waits look."""
        with self._changed:
            self._wake_one()

    def put_dropping(self, item: _Item) -> None:
        """Put `item` in; if it is full, in place of the oldest one."""
        with self._changed:
            if len(self._items) >= self._limit:
                self._items.popleft()
                self.dropped += 1
            self._put(item)

    def put_or_drop(self, item: _Item) -> None:
        """Put `item` in; if it is full, it goes itself."""
        with self._changed:
            if len(self._items) < self._limit:
                self._put(item)
            else:
                self.came += 1
                self.dropped += 1

    def _put(self, item: _Item) -> None:
        self.came += 1
        self._items.append(item)
        self._wake_one()

    def put_latest(self, item: _Item, key: Callable[[_Item], object]) -> None:
        """Put `item` in, in place of one with the same key if there is one; else as `put_dropping`.

        Linear in what waits, and meant for few: the topics that somebody shows.
        """
        wanted = key(item)
        with self._changed:
            for index, other in enumerate(self._items):
                if key(other) == wanted:
                    self._items[index] = item
                    self.came += 1
                    self.superseded += 1
                    return
        self.put_dropping(item)

    def take_all(self) -> list[_Item]:
        """What is there now."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
        return items

    def get(self, timeout: float | None = None) -> _Item:
        """The oldest item. TimeoutError after `timeout` seconds without one; Closed when it is closed and empty.

        RuntimeError if it would block the thread of a running event loop.
        """
        if not self._items and running_loop() is not None:
            raise RuntimeError(f"waiting for {self._what} would block the running event loop: await it instead")
        deadline = None if timeout is None else monotonic() + timeout
        with self._changed:
            while not self._items:
                if self._closed is not None:
                    raise self._closed
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"nothing came to {self._what} within {timeout:g} s")
                self._changed.wait(left)
            return self._items.popleft()

    async def aget(self, timeout: float | None = None) -> _Item:
        """The awaitable twin of `get`."""
        import asyncio

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            while True:
                with self._changed:
                    if self._items:
                        return self._items.popleft()
                    if self._closed is not None:
                        raise self._closed
                    future: asyncio.Future[None] = loop.create_future()
                    self._waiting.append((loop, future))
                try:
                    await future
                except asyncio.CancelledError:
                    with self._changed:
                        # We may have been woken and cancelled at once: then somebody else has to look.
                        if (loop, future) in self._waiting:
                            self._waiting.remove((loop, future))
                        elif self._items:
                            self._wake_one()
                    raise

    def close(self, error: Exception | None = None) -> None:
        """Nothing more comes in; what is there can still be taken, and then `error` (Closed) is raised."""
        with self._changed:
            if self._closed is None:
                self._closed = error or Closed(f"{self._what} was closed")
            self._changed.notify_all()
            for _ in range(len(self._waiting)):
                self._wake_one()

    def _wake_one(self) -> None:
        self._changed.notify()
        while self._waiting:
            loop, future = self._waiting.popleft()
            try:
                loop.call_soon_threadsafe(_set, future)
            except RuntimeError:
                continue  # its loop is closed: nobody waits there any more
            return


def forked() -> None:
    """We are a fork's child: whoever held a lock, or waited, in another thread is not here."""
    for buffer in list(_buffers):
        buffer._changed = threading.Condition()
        buffer._waiting.clear()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
