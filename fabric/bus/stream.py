"""Iteration over events, with `for` or `async for`.

    with node.events("tui.**", timeout=5) as events:
        for event in events: ...

    async with node.events("tui.**") as events:
        async for event in events: ...

A stream is a subscription with a bounded buffer. Publishers never wait for its consumer: a full buffer drops events by its
policy, and counts them in `dropped`.

    drop_oldest    the oldest event
    drop_newest    the new event
    latest         the earlier event of the same topic, also when the buffer is not full: counted in `superseded`;
                   if there is none, the oldest event
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from fabric.bus.buffer import Buffer
from fabric.bus.bus import Bus
from fabric.bus.closing import Closing
from fabric.bus.subscription import Callback, Subscription
from fabric.errors import Closed
from fabric.protocol.envelope import Envelope


class EventStream(Closing, Iterator[Envelope], AsyncIterator[Envelope]):
    """The events that match `pattern` since it was created, for one consumer at a time.

    With `timeout`, the iteration ends after that many seconds without an event. `close`, on any thread, ends it, too.
    `subscribe` replaces `bus.subscribe`.
    """

    def __init__(
        self,
        bus: Bus,
        pattern: str,
        *,
        limit: int = 1_000,
        policy: str = "drop_oldest",
        timeout: float | None = None,
        subscribe: Callable[[str, Callback], Subscription] | None = None,
    ) -> None:
        self._buffer: Buffer[Envelope] = Buffer(f"the events of {pattern!r}", limit)
        self._timeout = timeout
        puts = {
            "drop_oldest": self._buffer.put_dropping,
            "drop_newest": self._buffer.put_or_drop,
            "latest": lambda event: self._buffer.put_latest(event, _topic),
        }
        if policy not in puts:
            raise ValueError(f"policy is one of {', '.join(puts)}, not {policy!r}")
        self.subscription = (subscribe or bus.subscribe)(pattern, puts[policy])
        bus.watch(self)

    @property
    def dropped(self) -> int:
        """Events dropped because the buffer was full."""
        return self._buffer.dropped

    @property
    def superseded(self) -> int:
        """Events that were replaced by a later one of their topic (policy `latest`)."""
        return self._buffer.superseded

    @property
    def pattern(self) -> str:
        """The pattern of its subscription."""
        return self.subscription.pattern

    @property
    def taken(self) -> int:
        """Events that were taken out of the buffer."""
        return self._buffer.received - self._buffer.dropped - self._buffer.superseded - len(self._buffer)

    def __len__(self) -> int:
        """Number of events that wait in the buffer."""
        return len(self._buffer)

    def __bool__(self) -> bool:
        return True

    def get(self, timeout: float | None = None) -> Envelope:
        """The next event. TimeoutError after `timeout` seconds without one, Closed if the stream is closed and empty.

        RuntimeError on the thread of a running event loop: use `async for`, or `await stream.aget()` there.
        """
        return self._buffer.get(timeout)

    async def aget(self, timeout: float | None = None) -> Envelope:
        """The awaitable twin of `get`."""
        return await self._buffer.aget(timeout)

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> Envelope:
        try:
            return self._buffer.get(self._timeout)
        except (TimeoutError, Closed):
            raise StopIteration from None

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Envelope:
        try:
            return await self._buffer.aget(self._timeout)
        except (TimeoutError, Closed):
            raise StopAsyncIteration from None

    def close(self) -> None:
        """End the subscription. The events in the buffer can still be taken."""
        self.subscription.cancel()
        self._buffer.close()


def _topic(event: Envelope) -> object:
    return event["type"]
