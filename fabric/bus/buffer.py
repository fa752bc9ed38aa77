"""A bounded queue between a producer that never waits and consumers that block or await.

`queue.Queue` is for threads and `asyncio.Queue` for coroutines; here a thread may put what a coroutine takes. If the buffer
is full, the method of putting decides:

    put               refuses the item
    put_dropping      drops the oldest item
    put_or_drop       drops the new item
    put_latest        replaces the item of the same key; if there is none, drops the oldest
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from fabric.bus.loop_queue import running_loop
from fabric.bus.waiter import Waiter
from fabric.errors import Closed

_Item = TypeVar("_Item")


class Buffer(Generic[_Item]):
    """Every method may be called on any thread. `what` names the buffer in errors."""

    def __init__(self, what: str, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"the limit of {what} is at least 1, not {limit}")
        #: Items that were dropped because the buffer was full, and all items that were put, except by `put`.
        self.dropped = 0
        self.received = 0
        #: Items that were replaced by a later one of the same key.
        self.superseded = 0
        self._what = what
        self._limit = limit
        self._items: deque[_Item] = deque()
        self._changed = Waiter(used_after_fork=True)
        self._closed: Exception | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item, *, wake: bool = True) -> bool:
        """Append `item`; False, and no change, if the buffer is full or closed. With `wake=False`, call `wake` later."""
        with self._changed:
            if self._closed is not None or len(self._items) >= self._limit:
                return False
            self._items.append(item)
            if wake:
                self._changed.notify()
        return True

    def wake(self) -> None:
        """Wake one consumer that waits, after `put(…, wake=False)`."""
        with self._changed:
            self._changed.notify()

    def put_dropping(self, item: _Item) -> None:
        """Append `item`; a full buffer drops its oldest item."""
        with self._changed:
            if len(self._items) >= self._limit:
                self._items.popleft()
                self.dropped += 1
            self._put(item)

    def put_or_drop(self, item: _Item) -> None:
        """Append `item`; a full buffer drops `item`."""
        with self._changed:
            if len(self._items) < self._limit:
                self._put(item)
            else:
                self.received += 1
                self.dropped += 1

    def _put(self, item: _Item) -> None:
        self.received += 1
        self._items.append(item)
        self._changed.notify()

    def put_latest(self, item: _Item, key: Callable[[_Item], object]) -> None:
        """Replace the item with the same key by `item`; if there is none, as `put_dropping`.

        Takes linear time: meant for few items, such as the topics of a display.
        """
        wanted = key(item)
        with self._changed:
            for index, other in enumerate(self._items):
                if key(other) == wanted:
                    self._items[index] = item
                    self.received += 1
                    self.superseded += 1
                    return
        self.put_dropping(item)

    def take_all(self) -> list[_Item]:
        """All items that are in the buffer now, which are removed."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
        return items

    def get(self, timeout: float | None = None) -> _Item:
        """Remove and return the oldest item; block while there is none.

        TimeoutError after `timeout` seconds, Closed if the buffer is closed and empty, RuntimeError if it would block the
        thread of a running event loop.
        """
        if not self._items and running_loop() is not None:
            raise RuntimeError(f"waiting for {self._what} would block the running event loop: await it instead")
        with self._changed:
            if not self._items and not self._changed.wait_for(self._ready, timeout):
                raise TimeoutError(f"nothing came to {self._what} within {timeout:g} s")
            return self._take()

    def aget(self, timeout: float | None = None) -> Coroutine[Any, Any, _Item]:
        """The awaitable twin of `get`."""
        return self._changed.until(self._ready, self._take, timeout)

    def _ready(self) -> bool:
        return bool(self._items) or self._closed is not None

    def _take(self) -> _Item:
        if not self._items and self._closed is not None:
            raise self._closed
        return self._items.popleft()

    def close(self, error: Exception | None = None) -> None:
        """Refuse further items. Those in the buffer can still be taken; then `error`, by default Closed, is raised."""
        with self._changed:
            if self._closed is None:
                self._closed = error or Closed(f"{self._what} was closed")
            self._changed.notify_all()
