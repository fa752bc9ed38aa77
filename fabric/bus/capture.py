"""A recorder of events: to look at what was published, and to wait until so much was.

    with node.capture("orders.**") as captured:
        captured.wait_ready(everyone=True)                # what others publish from here on is recorded
        shop.place("apple")
        captured.wait(2, timeout=5)                       # blocks until two are there: returns them
    assert captured.topics == ["orders.placed", "orders.shipped"]

An `EventStream` hands each event out once and forgets it; a capture keeps them, and is a sequence. It is for tests, and
for looking at a running program: it keeps the first `limit` events and counts the rest, so that what it holds has an end
and its indices stay what they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from fabric.bus.bus import Bus
from fabric.bus.loop_queue import running_loop
from fabric.errors import Closed
from fabric.protocol.envelope import Envelope

if TYPE_CHECKING:
    import asyncio

#: Events, and characters of each, that an error shows.
SHOWN = 10
SHOWN_CHARACTERS = 200


class Capture(Sequence[Envelope]):
    """Events that match `pattern`, in the order they came, from its making on. Any thread.

    Also for a bus that is connected to nothing: `Capture(bus, "orders.**")`. Subscribing follows the rules of
    `Bus.subscribe`: made while an event loop runs in this thread, it gets remote events on that loop.
    """

    def __init__(self, bus: Bus, pattern: str = "**", *, limit: int = 10_000) -> None:
        if limit < 1:
            raise ValueError(f"the limit of a capture is at least 1, not {limit}")
        #: Events that came when it was full: they are not in it.
        self.dropped = 0
        self._limit = limit
        self._events: list[Envelope] = []
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._cancelled = False
        self.subscription = bus.subscribe(pattern, self._record)

    def _record(self, envelope: Envelope) -> None:
        with self._changed:
            if len(self._events) >= self._limit:
                self.dropped += 1
                return
            self._events.append(envelope)
            self._changed.notify_all()
            self._wake_awaiting()

    # What is there

    @property
    def events(self) -> list[Envelope]:
        """A list of what is there now."""
        return self._events.copy()

    @property
    def topics(self) -> list[str]:
        """The `type` of each event: its topic, unless the publisher gave it a type of its own."""
        return [event["type"] for event in self._events.copy()]

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, index: int) -> Envelope: ...
    @overload
    def __getitem__(self, index: slice) -> list[Envelope]: ...
    def __getitem__(self, index: int | slice) -> Envelope | list[Envelope]:
        return self._events[index]

    def __iter__(self) -> Iterator[Envelope]:
        """Over what is there now; it does not wait."""
        return iter(self._events.copy())

    def clear(self) -> None:
        """Forget what is there, and go on recording."""
        with self._changed:
            self._events.clear()

    # Waiting

    def wait(self, count: int = 1, timeout: float = 5.0) -> list[Envelope]:
        """Block until at least `count` events are there; all that are there then.

        TimeoutError after `timeout` seconds, which shows what did come; Closed if it is cancelled before. RuntimeError
        if it would block the thread of a running event loop: use `await captured.await_(…)`.
        """
        self._check(count)
        if len(self._events) < count and running_loop() is not None:
            raise RuntimeError("waiting for captured events would block the running event loop: use `await_`")
        deadline = monotonic() + timeout
        with self._changed:
            while len(self._events) < count:
                left = deadline - monotonic()
                if self._cancelled:
                    raise Closed(self._missing(count, "it was cancelled"))
                if left <= 0:
                    raise TimeoutError(self._missing(count, f"after {timeout:g} s"))
                self._changed.wait(left)
            return self._events.copy()

    async def await_(self, count: int = 1, timeout: float = 5.0) -> list[Envelope]:
        """The awaitable twin of `wait`."""
        import asyncio

        self._check(count)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    with self._changed:
                        if len(self._events) >= count:
                            return self._events.copy()
                        if self._cancelled:
                            raise Closed(self._missing(count, "it was cancelled"))
                        future: asyncio.Future[None] = loop.create_future()
                        entry = (count, loop, future)
                        self._waiting.append(entry)
                    try:
                        await future
                    finally:
                        with self._changed:
                            if entry in self._waiting:
                                self._waiting.remove(entry)
        except TimeoutError:
            raise TimeoutError(self._missing(count, f"after {timeout:g} s")) from None

    def wait_ready(self, timeout: float = 5.0, *, everyone: bool = True) -> None:
        """Block until what others publish is recorded; see `Subscription.wait_ready`."""
        self.subscription.wait_ready(timeout, everyone=everyone)

    async def ready(self, timeout: float = 5.0, *, everyone: bool = True) -> None:
        """The awaitable twin of `wait_ready`."""
        await self.subscription.ready(timeout, everyone=everyone)

    def _check(self, count: int) -> None:
        if count > self._limit:
            raise ValueError(f"{count} events will never be there: the limit of this capture is {self._limit}")

    def _missing(self, count: int, when: str) -> str:
        events = self._events.copy()
        text = f"{len(events)} of {count} events of {self.subscription.pattern!r} {when}"
        if not events:
            return f"{text}; nothing came"
        shown = [_short(event) for event in events[-SHOWN:]]
        more = [f"… {len(events) - SHOWN} before"] if len(events) > SHOWN else []
        return "\n  ".join([f"{text}; what came:", *more, *shown])

    def _wake_awaiting(self) -> None:
        have = len(self._events)
        for count, loop, future in self._waiting:
            if have >= count or self._cancelled:
                try:
                    loop.call_soon_threadsafe(_set, future)
                except RuntimeError:
                    continue  # its loop is closed: nobody waits there any more

    # Leaving

    def cancel(self) -> bool:
        """Stop recording; what is there stays. False if it had ended before."""
        ended = self.subscription.cancel()
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
            self._wake_awaiting()
        return ended

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<Capture {self.subscription.pattern!r}: {len(self)} events{', ended' if self._cancelled else ''}>"


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _short(event: Any) -> str:
    text = repr(event)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
