"""The values and protocols of a bus: a subscription, the `Outside` that connects the bus, a stream of events.

The behaviour is in `fabric.bus.bus`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from fabric.bus.loop_queue import LoopQueue
from fabric.protocol.envelope import Envelope

if TYPE_CHECKING:
    from fabric.bus.bus import Bus

Callback = Callable[[Envelope], object]


class Outside(Protocol):
    """The object that connects a bus to other processes. The bus calls it."""

    @property
    def forward(self) -> Callable[[str, Envelope], None]:
        """A function for topic and envelope of each event. Runs on the publisher's thread; neither blocks nor raises."""

    def subscribed(self, subscription: Subscription) -> None:
        """A subscription was made. Called on the subscribing thread, after local delivery has begun."""

    def unsubscribed(self, subscription: Subscription) -> None:
        """A subscription ended."""

    def wait_live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """Block until `subscription` receives remote events; NotReady after `timeout` seconds."""

    async def live(self, subscription: Subscription, timeout: float, everyone: bool) -> None:
        """The awaitable twin of `wait_live`."""


class Stream(Protocol):
    """A buffer of events with a consumer; `Bus.streams` lists them for the detector of slow consumers."""

    @property
    def pattern(self) -> str:
        """The pattern of its subscription."""

    @property
    def taken(self) -> int:
        """Events that were taken out of the buffer."""

    @property
    def dropped(self) -> int:
        """Events that were dropped because the buffer was full."""

    def __len__(self) -> int:
        """Events that wait in the buffer."""


class Subscription:
    """The handle that `subscribe` returns. `cancel` ends the subscription; so does leaving its `with` block."""

    __slots__ = (
        "_bus",
        "active",
        "callback",
        "ended_at",
        "is_async",
        "pattern",
        "queue",
        "recover",
        "runs_in_call",
        "serial",
        "with_topic",
    )

    def __init__(
        self,
        bus: Bus,
        pattern: str,
        callback: Callable[..., Any],
        serial: int,
        queue: Queue | None,
        recover: bool = False,
        *,
        with_topic: bool = False,
    ) -> None:
        self._bus = bus
        self.pattern = pattern
        self.callback = callback
        #: Registration order within the bus.
        self.serial = serial
        self.is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
            getattr(callback, "__call__", None)  # noqa: B004 - an object with an async __call__
        )
        #: Whether it is `callback(topic, envelope)`; see `Bus._subscribe`.
        self.with_topic = with_topic
        #: The queue of the loop in which it was subscribed; None if none was running.
        self.queue = queue
        #: Whether the callback of an event from outside runs in the call that hands it over.
        self.runs_in_call = queue is None and not self.is_async
        #: Whether lost events are requested from their origin; see `Bus.subscribe`.
        self.recover = recover
        self.active = True
        #: The highest serial at its end: subscriptions with a higher one were made after it ended.
        self.ended_at = 0

    def cancel(self) -> bool:
        """End the subscription. False if it had ended before."""
        return self._bus.unsubscribe(self)

    @property
    def handler(self) -> str:
        """The callback's name."""
        return name_of(self.callback)

    def wait_ready(self, timeout: float = 5.0, *, everyone: bool = False) -> None:
        """Block until it receives remote events: until a round trip through the proxy, begun after it was made.

        Publishers in other processes know of it about a millisecond later. With `everyone` each of them has confirmed that,
        and no event published anywhere from then on is missed. Returns at once on a bus that is not connected. NotReady
        after `timeout` seconds; RuntimeError on the thread of a running event loop (use `await subscription.ready()`) and
        inside a callback.
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


#: A queue of events to the callbacks on one event loop.
Queue = LoopQueue[tuple[Subscription, str, Envelope]]


def name_of(callback: Callback) -> str:
    """The name of a callback in logs."""
    return getattr(callback, "__qualname__", None) or repr(callback)
