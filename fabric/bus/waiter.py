"""Block or await: primitives on which threads block and coroutines await.

    Waiter     a condition variable; `wait_for(predicate)` for threads, `await until(predicate, take)` for coroutines
    Promise    a value or an error that is set once; `wait()` for threads, `await` for coroutines

A coroutine waits in a future of its own loop, which `notify` sets with `call_soon_threadsafe`. A coroutine whose loop was
closed meanwhile is skipped. No notification is lost: a coroutine that is cancelled after it was notified and before it ran
passes the notification on.

The callers check whether the thread may block: on the thread of a running event loop it must not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    import asyncio

    #: A coroutine in `Waiter.until`: its condition, its loop, the future that it awaits.
    _Awaiting = tuple[Callable[[], object], asyncio.AbstractEventLoop, asyncio.Future[None]]

logger = logging.getLogger("fabric.bus")

_Value = TypeVar("_Value")

#: The waiters that are also used in a fork's child.
_shared: WeakSet[Waiter] = WeakSet()


class Waiter(threading.Condition):
    """A `threading.Condition` on which coroutines can wait, too. Any thread.

    As with a Condition, the lock is held while the state is read or changed, and in `notify`. It is re-entrant.
    `used_after_fork`: the child of a fork uses the object as well. There its lock is replaced, because the holder of the
    lock may be a thread of the parent.
    """

    def __init__(self, *, used_after_fork: bool = False) -> None:
        super().__init__()
        #: Threads in `wait`.
        self._blocked = 0
        self._awaiting: list[_Awaiting] = []
        if used_after_fork:
            _shared.add(self)

    def notify(self, n: int = 1) -> None:
        """Wake up to `n` threads, and up to `n` coroutines whose conditions are true."""
        if self._blocked:  # mostly nobody waits
            super().notify(n)
        if self._awaiting:
            self._wake(n)

    def notify_all(self) -> None:
        """Wake all threads, and all coroutines whose conditions are true."""
        self.notify(self._blocked + len(self._awaiting))

    def wait(self, timeout: float | None = None) -> bool:
        """See `threading.Condition`."""
        self._blocked += 1
        try:
            return super().wait(timeout)
        finally:
            self._blocked -= 1

    async def until(
        self, ready: Callable[[], object], take: Callable[[], _Value], timeout: float | None = None
    ) -> _Value:
        """Wait until `ready()` is true, then return `take()`. TimeoutError after `timeout` seconds.

        `take` is called with the lock held under which `ready` was true. A cancelled call has not called `take`.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            while True:
                with self:
                    if ready():
                        return take()
                    future = loop.create_future()
                    entry = (ready, loop, future)
                    self._awaiting.append(entry)
                try:
                    await future
                except asyncio.CancelledError:
                    with self:
                        if entry in self._awaiting:
                            self._awaiting.remove(entry)
                        else:  # notified and cancelled: pass the notification on
                            self.notify()
                    raise

    def _wake(self, count: int) -> None:
        # A copy, because a finaliser may run in `ready`, and call `notify`.
        for entry in self._awaiting.copy():
            ready, loop, future = entry
            if count and ready() and entry in self._awaiting:
                self._awaiting.remove(entry)
                try:
                    loop.call_soon_threadsafe(_set, future)
                except RuntimeError:  # the loop is closed, so the coroutine will never run
                    continue
                count -= 1

    def _forked(self) -> None:
        super().__init__()
        self._blocked = 0
        self._awaiting.clear()


def forked() -> None:
    """To be called in a fork's child, where the parent's other threads can neither release a lock nor be notified."""
    for waiter in list(_shared):
        waiter._forked()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Promise(Generic[_Value]):
    """A value or an error that is set once. Any thread; awaitable on any loop, by any number of coroutines.

    Cancelling a coroutine that awaits it does not change it.
    """

    def __init__(self) -> None:
        self.done = False
        self.error: BaseException | None = None
        self._value: Any = None
        self._changed = Waiter()
        self._callbacks: list[Callable[[], object]] = []

    def set(self, value: _Value) -> bool:
        """Set the value. False, and no change, if a value or an error was set before."""
        return self._settle(value, None)

    def fail(self, error: BaseException) -> bool:
        """Set an error. False, and no change, if a value or an error was set before."""
        return self._settle(None, error)

    def _settle(self, value: _Value | None, error: BaseException | None) -> bool:
        with self._changed:
            if self.done:
                return False
            self._value, self.error, self.done = value, error, True
            self._changed.notify_all()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _call(callback)
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Block until a value or an error is set. False if that takes more than `timeout` seconds."""
        if self.done:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self.done, timeout)

    def result(self) -> _Value:
        """Return the value, or raise the error. Only when `done`."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, _Value]:
        return self._changed.until(lambda: self.done, self.result).__await__()

    def when_done(self, callback: Callable[[], object]) -> None:
        """Call `callback` when a value or an error is set; at once if it is. Exceptions of the callback are logged."""
        with self._changed:
            if not self.done:
                self._callbacks.append(callback)
                return
        _call(callback)


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("a callback failed")
