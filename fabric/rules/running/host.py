"""What the action `inbox` hands its texts to: a queue, a callback, or both, of the program that the rules run in.

    host = Host()                            # a queue: poll() now, get() and aget() wait
    host = Host(callback)                    # callback(handed), one after the other on a thread of its own
    host = Host(callback, queue=True)        # both

    host.busy()     it works on something: what comes from now on is gathered …
    host.idle()     … and handed over together when it is done

An action with `when_busy = "now"` is handed over at once all the same, marked `busy`: for hosts that can be interrupted.
Everything is bounded; nobody who hands something in ever waits.
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

#: Told None when a text was handed over, else what went wrong.
Report = Callable[[str | None], None]
#: Characters that may wait for a host to be idle.
MAX_CHARACTERS = 10_000_000


class Handed(NamedTuple):
    """One text for the host; after it was busy perhaps of several messages, with a blank line between them."""

    text: str
    #: Whether the host was busy when it was handed over.
    busy: bool = False
    #: The messages and events that it is made of, in order, and which rule each of them matched.
    items: tuple[Item, ...] = ()
    rules: tuple[str, ...] = ()


class _Waiting(NamedTuple):
    text: str
    item: Item
    rule: str
    report: Report


class Host:
    """Every method may be called on any thread."""

    def __init__(
        self,
        callback: Callable[[Handed], object] | None = None,
        *,
        queue: bool | None = None,
        limit: int = 1_000,
        separator: str = "\n\n",
    ) -> None:
        """`queue`: whether texts are kept for `get`; by default where there is no callback. `limit`: texts that may wait.

        TypeError for a coroutine function: `await host.aget()` in a loop does what it would.
        """
        if inspect.iscoroutinefunction(callback):
            raise TypeError("the callback of a host is no coroutine function: `await host.aget()` in a task instead")
        self._callback = callback
        self._limit = limit
        self._separator = separator
        self._lock = threading.Lock()
        self._busy = False
        self._gathered: list[_Waiting] = []
        self._dropped = 0
        self._buffer: Buffer[Handed] | None = None
        if queue or (queue is None and callback is None):
            self._buffer = Buffer("the inbox of the host", limit)
        self._lane = WorkerPool("inbox", limit=limit)

    # The host's side

    @property
    def is_busy(self) -> bool:
        """What it last said."""
        return self._busy

    def busy(self) -> None:
        """From now on texts are gathered."""
        with self._lock:
            self._busy = True

    def idle(self) -> None:
        """Hand over what was gathered, as one text; and from now on each as it comes."""
        with self._lock:
            self._busy = False
            gathered, self._gathered = self._gathered, []
            if gathered:
                self._hand_over(gathered, busy=False)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Busy meanwhile."""
        self.busy()
        try:
            yield
        finally:
            self.idle()

    def poll(self) -> list[Handed]:
        """What is in the queue now."""
        return self._queue().take_all()

    def get(self, timeout: float | None = None) -> Handed:
        """The next text. TimeoutError after `timeout` seconds without one, Closed if there will be none."""
        return self._queue().get(timeout)

    async def aget(self, timeout: float | None = None) -> Handed:
        """The awaitable twin of `get`."""
        return await self._queue().aget(timeout)

    def _queue(self) -> Buffer[Handed]:
        if self._buffer is None:
            raise RuntimeError("this host has a callback, and no queue: Host(callback, queue=True) has both")
        return self._buffer

    def __len__(self) -> int:
        """How many texts wait: in the queue, and gathered."""
        return len(self._gathered) + (0 if self._buffer is None else len(self._buffer))

    def __bool__(self) -> bool:
        return True

    @property
    def dropped(self) -> int:
        """Texts lost because the host took too few: the oldest ones."""
        return self._dropped + (0 if self._buffer is None else self._buffer.dropped)

    # The rules' side

    def put(self, text: str, item: Item, rule: str, *, now: bool, report: Report) -> None:
        """A text of a rule; `now`: also while busy. Never waits for the host."""
        waiting = _Waiting(text, item, rule, report)
        lost = []
        with self._lock:
            if not self._busy or now:
                self._hand_over([waiting], busy=self._busy)
                return
            self._gathered.append(waiting)
            while len(self._gathered) > self._limit or (
                len(self._gathered) > 1 and sum(len(each.text) for each in self._gathered) > MAX_CHARACTERS
            ):
                lost.append(self._gathered.pop(0))
                self._dropped += 1
        for each in lost:
            each.report("dropped: the host was busy, and too much had been gathered")

    def _hand_over(self, waiting: list[_Waiting], *, busy: bool) -> None:
        # Under the lock, so that the queue and the callback have them in order; neither of both ever waits.
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

        def lost() -> None:
            self._dropped += len(waiting)
            for each in waiting:
                each.report("dropped: the host's callback is too slow, or has hung")

        self._lane.put(Job(lambda: self._call(handed, waiting), lost, len(handed.text)))

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
        """Until the callback has had all, or it is `until` (monotonic)."""
        return self._lane.wait(until)

    def close(self, timeout: float = 1.0) -> None:
        """Hand over nothing more. What is in the queue can still be taken."""
        self._lane.close()
        self._lane.join(monotonic() + timeout)
        if self._buffer is not None:
            self._buffer.close()
