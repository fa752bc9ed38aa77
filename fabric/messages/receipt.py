"""The receipt: the sender of a message waits on it.

    receipt = node.send("worker", {"text": "hi"})
    receipt.wait()                        # or: await receipt
    answer = node.request("worker", {"n": 1}).wait()

    waiting ──GOT──▸ delivered ──the handler's answer (requests only)──▸ replied
       └──────────────┴──▸ failed       with a typed error, at the message's deadline at the latest

Delivered means that the message is in the inbox of its holder; no more and no less (see `docs/guarantees.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from fabric.errors import FabricError


class Receipt:
    """Waitable on any thread but that of a running event loop; awaitable on any loop."""

    def __init__(self, id: str, to: str, *, request: bool, may_block: Callable[[], None]) -> None:
        self.id = id
        self.to = to
        #: `waiting`, `delivered`, `replied`, or `failed`.
        self.state = "waiting"
        #: Number of endpoints that have it: one, or for a broadcast any number.
        self.holders = 0
        self._request = request
        self._future: Future[Any] = Future()
        self._may_block = may_block

    @property
    def error(self) -> FabricError | None:
        """The error that it failed with, if it did."""
        error = self._future.exception() if self._future.done() else None
        return error if isinstance(error, FabricError) else None

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._future.done()

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the message is delivered, or the request answered. Returns the number of holders, or the answer.

        Raises the error that the message failed with (see `fabric.errors`), by its deadline. TimeoutError if `timeout`
        seconds are over before: the message goes on. RuntimeError on the thread of a running event loop (`await` there).
        """
        if not self._future.done():
            self._may_block()
        try:
            return self._future.result(timeout)
        except FutureTimeout:
            if self._future.done():
                raise  # DeliveryTimeout is a TimeoutError, too
            raise TimeoutError(f"the message to {self.to!r} is still {self.state} after {timeout:g} s") from None

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio

        # Shielded: a task that stops waiting does not cancel the message.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def delivered(self, holders: int) -> None:
        """For the session's shell: it is in the inboxes of `holders`."""
        self.holders = holders
        self.state = "delivered"
        if not self._request:
            self._settle(lambda: self._future.set_result(holders))

    def replied(self, value: Any) -> None:
        """For the session's shell: the handler answered."""
        self.state = "replied"
        self._settle(lambda: self._future.set_result(value))

    def failed(self, error: FabricError) -> None:
        """For the session's shell: it has failed."""
        self.state = "failed"
        self._settle(lambda: self._future.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        if not self._future.done():
            settle()

    def __repr__(self) -> str:
        return f"<Receipt {self.id} to {self.to!r}: {self.state}>"
