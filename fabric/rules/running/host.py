"""Host: receives the texts of the action `inbox` in a queue, by a callback, or both, in the program that runs the rules.

    host = Host()                            # a queue: poll() now, get() and aget() wait
    host = Host(callback)                    # callback(handed), one after the other on a thread of its own
    host = Host(callback, queue=True)        # both

    state    from        text of an action                         text with `when_busy = "now"`
    idle     idle()      handed over at once                       handed over at once
    busy     busy()      gathered; handed over as one by idle()    handed over at once, marked `busy`

Everything is bounded, and `put` never waits: when the queue is full the oldest text is dropped.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

from fabric.bus.buffer import Buffer
from fabric.rules.item import Item
from fabric.system.worker_pool import Job, WorkerPool

#: Called with None when a text was handed over, else with the problem.
Report = Callable[[str | None], None]
#: Characters of the texts that are gathered for a busy host.
MAX_CHARACTERS = 10_000_000


class Handed(NamedTuple):
    """One text for the host; made of several messages, with a blank line between them, if they came while it was busy."""

    text: str
    #: Whether the host was busy when it was handed over.
    busy: bool = False
    #: The messages and events that it is made of, in order, and the rule that each of them matched.
    items: tuple[Item, ...] = ()
    rules: tuple[str, ...] = ()


class _Waiting(NamedTuple):
    text: str
    item: Item
    rule: str
    report: Report


class Host:
    """A queue or callback for texts. Every method may be called on any thread."""

    def __init__(
        self,
        callback: Callable[[Handed], object] | None = None,
        *,
        queue: bool | None = None,
        limit: int = 1_000,
        separator: str = "\n\n",
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        """`queue`: whether texts are kept for `get`; by default if there is no callback. `limit`: texts that may wait.

        `max_characters` may be gathered while it is busy. TypeError for a coroutine function as callback: a task that
        awaits `aget` takes its place.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("the callback of a host is no coroutine function: `await host.aget()` in a task instead")
        self._callback = callback
        self._limit = limit
        self._separator = separator
        self._max_characters = max_characters
        self._lock = threading.Lock()
        self._busy = False
        self._gathered: list[_Waiting] = []
        self._dropped = 0
        self._buffer: Buffer[Handed] | None = None
        if queue or (queue is None and callback is None):
            self._buffer = Buffer("the inbox of the host", limit)
        self._pool = WorkerPool("rules-inbox", limit=limit)

    # The host's side

    @property
    def is_busy(self) -> bool:
        """Whether `busy` was called, and `idle` not since then."""
        return self._busy

    def busy(self) -> None:
        """Gather texts from now on."""
        with self._lock:
            self._busy = True

    def idle(self) -> None:
        """Hand over the gathered texts as one, and from now on each at once."""
        with self._lock:
            self._busy = False
            gathered, self._gathered = self._gathered, []
            if gathered:
                self._hand_over(gathered, busy=False)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Busy inside the `with` block."""
        self.busy()
        try:
            yield
        finally:
            self.idle()

    def poll(self) -> list[Handed]:
        """Take the texts that are in the queue."""
        return self._queue().take_all()

    def get(self, timeout: float | None = None) -> Handed:
        """Take the next text. TimeoutError after `timeout` seconds without one, Closed after `close`."""
        return self._queue().get(timeout)

    async def aget(self, timeout: float | None = None) -> Handed:
        """The awaitable twin of `get`."""
        return await self._queue().aget(timeout)

    def _queue(self) -> Buffer[Handed]:
        if self._buffer is None:
            raise RuntimeError("this host has a callback, and no queue: Host(callback, queue=True) has both")
        return self._buffer

    def __len__(self) -> int:
        """Number of texts that wait: in the queue, and gathered."""
        return len(self._gathered) + (0 if self._buffer is None else len(self._buffer))

    def __bool__(self) -> bool:
        return True

    @property
    def dropped(self) -> int:
        """Number of texts dropped because the host was too slow or too long busy; the oldest ones."""
        return self._dropped + (0 if self._buffer is None else self._buffer.dropped)

    # The rules' side

    def put(self, text: str, item: Item, rule: str, *, now: bool, report: Report) -> None:
        """Hand over a text of a rule; `now`: also while busy. Never waits; `report` gets the outcome, on any thread."""
        waiting = _Waiting(text, item, rule, report)
        dropped = []
        with self._lock:
            if not self._busy or now:
                self._hand_over([waiting], busy=self._busy)
                return
            self._gathered.append(waiting)
            while len(self._gathered) > self._limit or (
                len(self._gathered) > 1 and sum(len(each.text) for each in self._gathered) > self._max_characters
            ):
                dropped.append(self._gathered.pop(0))
                self._dropped += 1
        for each in dropped:
            each.report("dropped: the host was busy, and too much had been gathered")

    def _hand_over(self, waiting: list[_Waiting], *, busy: bool) -> None:
        # Under the lock, for the order of texts in queue and callback; neither of them blocks.
        handed = Handed(
            self._separator.join(each.text for each in waiting),
            busy,
            tuple(each.item for each in waiting),
            tuple(each.rule for each in waiting),
        )
        if self._buffer is not None:
            self._buffer.put_dropping(handed)
        if self._callback is None:
            for each in waiting:
                each.report(None)
            return

        def dropped() -> None:
            self._dropped += len(waiting)
            for each in waiting:
                each.report("dropped: the host's callback is too slow, or has hung")

        self._pool.put(Job(lambda: self._call(handed, waiting), dropped, len(handed.text)))

    def _call(self, handed: Handed, waiting: list[_Waiting]) -> None:
        assert self._callback is not None
        problem = None
        try:
            self._callback(handed)
        except Exception as error:
            problem = f"the host's callback raised {type(error).__name__}: {error}"
        for each in waiting:
            each.report(problem)

    def wait(self, until: float) -> bool:
        """Wait until the callback has had all texts, or it is `until` (monotonic); whether it has."""
        return self._pool.wait(until)

    def close(self, timeout: float = 1.0) -> None:
        """Hand over nothing more, and wait `timeout` seconds for the callback. Texts in the queue can still be taken."""
        self._pool.close()
        self._pool.join(monotonic() + timeout)
        if self._buffer is not None:
            self._buffer.close()
