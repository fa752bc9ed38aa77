"""A recorder of events: keeps those that match a pattern, and waits until a number of them have arrived.

    with node.capture("orders.**") as captured:
        captured.wait_ready(everyone=True)                # events published anywhere after this are recorded
        shop.place("apple")
        captured.wait(2, timeout=5)                       # blocks until two have arrived, and returns them
    assert captured.topics == ["orders.placed", "orders.shipped"]

An `EventStream` returns each event once; a capture keeps them, and is a sequence. It is for tests, and for inspecting a
running program: it keeps the first `limit` events and counts the rest, so that its memory is bounded and the index of an
event never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, overload

from fabric.bus.bus import Bus
from fabric.bus.loop_queue import running_loop
from fabric.bus.waiter import Waiter
from fabric.errors import Closed
from fabric.protocol.envelope import Envelope

#: Events, and characters of each, that an error shows.
MAX_SHOWN = 10
MAX_SHOWN_CHARACTERS = 200


class Capture(Sequence[Envelope]):
    """The events that match `pattern`, in the order of their arrival, since it was created. Any thread.

    The bus need not be connected: `Capture(bus, "orders.**")`. It subscribes as by `Bus.subscribe`: created while an event
    loop runs in this thread, it receives remote events on that loop.
    """

    def __init__(self, bus: Bus, pattern: str = "**", *, limit: int = 10_000) -> None:
        if limit < 1:
            raise ValueError(f"the limit of a capture is at least 1, not {limit}")
        #: Events that arrived when it was full, and are not in it.
        self.dropped = 0
        self._limit = limit
        self._events: list[Envelope] = []
        self._changed = Waiter(used_after_fork=True)
        self._cancelled = False
        self.subscription = bus.subscribe(pattern, self._record)

    def _record(self, envelope: Envelope) -> None:
        with self._changed:
            if len(self._events) >= self._limit:
                self.dropped += 1
                return
            self._events.append(envelope)
            self._changed.notify_all()

    # The recorded events

    @property
    def events(self) -> list[Envelope]:
        """A copy of the recorded events."""
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
        """Iterate over a copy of the recorded events, without waiting for more."""
        return iter(self._events.copy())

    def clear(self) -> None:
        """Remove the recorded events, and go on recording."""
        with self._changed:
            self._events.clear()

    # Waiting

    def wait(self, count: int = 1, timeout: float = 5.0) -> list[Envelope]:
        """Block until at least `count` events are recorded; returns all of them.

        TimeoutError after `timeout` seconds, whose text shows the recorded events; Closed if it is cancelled before.
        RuntimeError if it would block the thread of a running event loop: use `await captured.await_(…)`.
        """
        self._check(count)
        if len(self._events) < count and running_loop() is not None:
            raise RuntimeError("waiting for captured events would block the running event loop: use `await_`")
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_over(count), timeout):
                raise TimeoutError(self._missing(count, f"after {timeout:g} s"))
            return self._result(count)

    async def await_(self, count: int = 1, timeout: float = 5.0) -> list[Envelope]:
        """The awaitable twin of `wait`."""
        self._check(count)
        try:
            return await self._changed.until(lambda: self._is_over(count), lambda: self._result(count), timeout)
        except TimeoutError:
            raise TimeoutError(self._missing(count, f"after {timeout:g} s")) from None

    def _is_over(self, count: int) -> bool:
        return len(self._events) >= count or self._cancelled

    def _result(self, count: int) -> list[Envelope]:
        if len(self._events) < count:
            raise Closed(self._missing(count, "it was cancelled"))
        return self._events.copy()

    def wait_ready(self, timeout: float = 5.0, *, everyone: bool = True) -> None:
        """Block until events of other processes are recorded; see `Subscription.wait_ready`."""
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
        shown = [_short(event) for event in events[-MAX_SHOWN:]]
        more = [f"… {len(events) - MAX_SHOWN} before"] if len(events) > MAX_SHOWN else []
        return "\n  ".join([f"{text}; what came:", *more, *shown])

    # Ending

    def cancel(self) -> bool:
        """Stop recording, and keep the recorded events. False if it had ended before."""
        ended = self.subscription.cancel()
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
        return ended

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<Capture {self.subscription.pattern!r}: {len(self)} events{', ended' if self._cancelled else ''}>"


def _short(event: Any) -> str:
    text = repr(event)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
