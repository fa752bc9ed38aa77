"""A bounded queue and the few threads that work it off: whoever puts something in never waits for what is done with it.

    put ──▸ [ at most `limit` jobs, `max_bytes` bytes ] ──▸ at most `concurrency` threads
             full: the oldest is dropped, and told so

Threads are started when there is something to do, and go when there has been nothing for a second: a file of rules may
have hundreds of actions, most of which sleep.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

logger = logging.getLogger("fabric.rules")

MAX_BYTES = 64 * 1024 * 1024
#: Seconds that a thread waits for more.
LINGER = 1.0


def _nothing() -> None:
    return None


class Job(NamedTuple):
    """`run` is called on a thread of the lane; `dropped` instead of it, on whichever, if it never will be."""

    run: Callable[[], None]
    dropped: Callable[[], None] = _nothing
    #: Bytes that it holds.
    size: int = 0


class WorkerPool:
    """Every method may be called on any thread."""

    def __init__(
        self,
        name: str,
        *,
        limit: int = 1_000,
        concurrency: int = 1,
        max_bytes: int = MAX_BYTES,
        linger: float | None = LINGER,
        prefix: str = "fabric-rules",
    ) -> None:
        """Threads are called `prefix`-`name`. An idle thread ends after `linger` seconds; None: not before `close`."""
        self._name = f"{prefix}-{name}"
        self._linger = linger
        self._limit = limit
        self._concurrency = concurrency
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._bytes = 0
        #: Threads, those of them with a job, and all that ever were.
        self._threads: set[threading.Thread] = set()
        self._running = 0
        #: True from `close` on: what runs should end.
        self.closing = False

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do, and nothing being done."""
        return not self._jobs and not self._running

    @property
    def queued(self) -> int:
        """Number of jobs that wait for a thread."""
        return len(self._jobs)

    @property
    def running(self) -> int:
        """Number of jobs that run now."""
        return self._running

    def start(self) -> None:
        """Start all threads now, so that `put` starts none. RuntimeError if a thread cannot be had."""
        with self._changed:
            while len(self._threads) < self._concurrency:
                self._start()

    def put(self, job: Job) -> None:
        """Have it done; when full in place of the oldest."""
        dropped = []
        with self._changed:
            if self.closing:
                dropped.append(job)
            else:
                while self._jobs and (len(self._jobs) >= self._limit or self._bytes + job.size > self._max_bytes):
                    oldest = self._jobs.popleft()
                    self._bytes -= oldest.size
                    dropped.append(oldest)
                self._jobs.append(job)
                self._bytes += job.size
                self._changed.notify()
                if len(self._threads) < self._concurrency and len(self._threads) - self._running < len(self._jobs):
                    self._start()
        for each in dropped:
            each.dropped()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads are to be had; those that there are go on
            self._threads.discard(thread)
            if not self._threads:
                raise

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.run()
            except Exception:
                logger.exception("an action failed in a way that it should not")
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._jobs) or self.closing, self._linger)
            if not self._jobs:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()
                return None
            job = self._jobs.popleft()
            self._bytes -= job.size
            self._running += 1
            return job

    def wait(self, until: float) -> bool:
        """Until all is done, or it is `until` (monotonic); whether all is done."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_idle, max(until - monotonic(), 0.0))

    def close(self) -> None:
        """Begin nothing more: what waits is dropped, what runs sees `closing`."""
        with self._changed:
            self.closing = True
            left = list(self._jobs)
            self._jobs.clear()
            self._bytes = 0
            self._changed.notify_all()
        for job in left:
            job.dropped()

    def join(self, until: float) -> bool:
        """After `close`: until its threads have ended, or it is `until`; whether they have."""
        with self._changed:
            own = threading.current_thread()
            return self._changed.wait_for(lambda: not self._threads - {own}, max(until - monotonic(), 0.0))
