"""What a bus holds and whom it speaks to: a subscription, who is outside, who iterates.

Values and protocols only; what is done with them is in `fabric.bus.bus`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from fabric.bus.loop_queue import LoopQueue
from fabric.protocol.envelope import Envelope

if TYPE_CHECKING:
    from fabric.bus.bus import Bus

Callback = Callable[[Envelope], object]


class Outside(Protocol):
    """What a bus tells whoever connects it to other processes."""

    @property
    def forward(self) -> Callable[[str, Envelope], None]:
        """What is called with topic and envelope of each event, on the publisher's thread; neither blocks nor raises."""

    def subscribed(self, subscription: Subscription) -> None:
        """Somebody here subscribed; called on that thread, after local delivery has begun."""

    def unsubscribed(self, subscription: Subscription) -> None:
        """A subscription ended."""

    def wait_live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """Block until `subscription` is live outside; NotReady when `timeout` seconds are over."""

    async def live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """The awaitable twin of `wait_live`."""


class Stream(Protocol):
    """Something with a buffer of events that somebody takes them from, at their own pace."""

    @property
    def pattern(self) -> str:
        """What it is subscribed to."""

    @property
    def taken(self) -> int:
        """Events taken out of the buffer."""

    @property
    def dropped(self) -> int:
        """Events that found it full."""

    def __len__(self) -> int:
        """Events that wait in it."""


class Subscription:
    """What `subscribe` returns: a handle to end it with, also a context manager that ends it."""

    __slots__ = ("_bus", "active", "callback", "ended_at", "is_async", "pattern", "queue", "recover", "serial")

    def __init__(
        self, bus: Bus, pattern: str, callback: Callback, serial: int, queue: Queue | None, recover: bool = False
    ) -> None:
        self._bus = bus
        self.pattern = pattern
        self.callback = callback
        #: Registration order within the bus.
        self.serial = serial
        self.is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
            getattr(callback, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        #: The queue of the loop it was registered in, if one was running.
        self.queue = queue
        #: Whether what did not arrive is asked for; see `Bus.subscribe`.
        self.recover = recover
        self.active = True
        #: The highest serial when it ended: subscriptions above it are younger than its end.
        self.ended_at = 0

    def cancel(self) -> bool:
        """End it. False if it had ended before."""
        return self._bus.unsubscribe(self)

    @property
    def handler(self) -> str:
        """The callback's name."""
        return name_of(self.callback)

    def wait_ready(self, timeout: float = 5.0, *, everyone: bool = False) -> None:
        """Block until it is live: a round trip through the proxy, begun after the subscription.

        Publishers in other processes know of it within about a millisecond then; with `everyone` each of them has said
        so, and no event published anywhere from then on is missed. On a bus that is connected to nothing it returns at
        once. NotReady when `timeout` seconds are over; RuntimeError on the thread of a running event loop (use `await
        subscription.ready()`) and inside a callback.
        """
        if (outside := self._bus.outside) is not None:
            outside.wait_live(self, timeout, everyone)

    async def ready(self, timeout: float = 5.0, *, everyone: bool = False) -> None:
        """The awaitable twin of `wait_ready`."""
        if (outside := self._bus.outside) is not None:
            await outside.live(self, timeout, everyone)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<Subscription {self.pattern!r} -> {name_of(self.callback)}{'' if self.active else ', ended'}>"


#: Of one event loop: what is on its way to callbacks there.
Queue = LoopQueue[tuple[Subscription, str, Envelope]]


def name_of(callback: Callback) -> str:
    """What a callback is called in logs."""
    return getattr(callback, "__qualname__", None) or repr(callback)
