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
from typing import Any

from fabric.bus.waiter import Promise
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
        self._promise: Promise[Any] = Promise()
        self._may_block = may_block

    @property
    def error(self) -> FabricError | None:
        """The error that it failed with, if it did."""
        error = self._promise.error
        return error if isinstance(error, FabricError) else None

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._promise.done

    def wait(self, timeout: float | None = None) -> Any:
        """Block until the message is delivered, or the request answered. Returns the number of holders, or the answer.

        Raises the error that the message failed with (see `fabric.errors`), by its deadline. TimeoutError if `timeout`
        seconds are over before: the message goes on. RuntimeError on the thread of a running event loop (`await` there).
        """
        if not self._promise.done:
            self._may_block()
        if not self._promise.wait(timeout):
            raise TimeoutError(f"the message to {self.to!r} is still {self.state} after {timeout:g} s")
        return self._promise.result()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._promise.__await__()

    def delivered(self, holders: int) -> None:
        """For the session's shell: it is in the inboxes of `holders`."""
        self.holders = holders
        self.state = "delivered"
        if not self._request:
            self._promise.set(holders)

    def replied(self, value: Any) -> None:
        """For the session's shell: the handler answered."""
        self.state = "replied"
        self._promise.set(value)

    def failed(self, error: FabricError) -> None:
        """For the session's shell: it has failed."""
        self.state = "failed"
        self._promise.fail(error)

    def __repr__(self) -> str:
        return f"<Receipt {self.id} to {self.to!r}: {self.state}>"
