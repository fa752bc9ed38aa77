"""Routing: the outcome of one text, returned by `Router.route`."""

from __future__ import annotations

from collections.abc import Callable, Generator

from fabric.bus.loop_queue import running_loop
from fabric.bus.waiter import Promise


class Routing:
    """The outcome of one text. Waitable, on any thread but that of a running event loop, and awaitable, on any loop.

    waiting ──▸ sent ─ or ─▸ failed      a text that is not taken has failed from the start
    """

    def __init__(self, channel: str, id: str) -> None:
        self.channel = channel
        self.id = id
        #: `waiting`, `sent` or `failed`.
        self.state = "waiting"
        #: The name of the sender that sent it, and the reason of a failure.
        self.via = ""
        self.problem = ""
        self._promise: Promise[bool] = Promise()

    @property
    def ok(self) -> bool:
        """Whether it was taken and has not failed; it need not have been sent yet (see `wait`, `sent`)."""
        return self.state != "failed"

    @property
    def sent(self) -> bool:
        """Whether a sender has confirmed it."""
        return self.state == "sent"

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is sent (True) or has failed (False). TimeoutError after `timeout` seconds.

        RuntimeError on the thread of a running event loop (`await` it there).
        """
        if not self._promise.done and running_loop() is not None:
            raise RuntimeError("waiting would block the running event loop: await it instead")
        if not self._promise.wait(timeout):
            raise TimeoutError(f"the text for {self.channel!r} is still waiting after {timeout:g} s")
        return self._promise.result()

    def __await__(self) -> Generator[object, None, bool]:
        return self._promise.__await__()

    def when_done(self, callback: Callable[[Routing], object]) -> None:
        """Call `callback(self)` when it is sent or has failed; at once if it is settled already. It must not block."""
        self._promise.when_done(lambda: callback(self))

    def settle(self, via: str, problem: str) -> None:
        """For the router: it was sent by the sender `via`, or, if empty, has failed."""
        self.via, self.problem = via, problem
        self.state = "sent" if via else "failed"
        self._promise.set(bool(via))

    def __repr__(self) -> str:
        return f"<Routing to {self.channel!r}: {self.state}>"
