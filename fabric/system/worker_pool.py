"""A bounded queue of jobs, worked off by a few threads. `put` never waits for a job.

    put ──▸ [ at most `limit` jobs, `max_bytes` bytes ] ──▸ at most `concurrency` threads ──▸ job.run()
             full: the oldest job is dropped ──▸ job.dropped()

A thread is started when a job finds no idle one, and ends after `idle_timeout` seconds without a job (None: not before
`close`): a program may have hundreds of pools, most of which are idle. With a concurrency of 1 the jobs run one at a
time, in order.

The pool does not know what a job does. The actions of rules run on it, and the hooks of the proxy.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

MAX_BYTES = 64 * 1024 * 1024
#: Seconds without a job after which a thread ends.
IDLE_TIMEOUT = 1.0


def _nothing() -> None:
    return None


class Job(NamedTuple):
    """`run` is called on a thread of the pool. If it never will be, `dropped` is called instead, on any thread."""

    run: Callable[[], None]
    dropped: Callable[[], None] = _nothing
    #: Bytes that the job holds, for the limit `max_bytes`.
    size: int = 0


class WorkerPool:
    """Every method may be called on any thread.

    `name` is `<part>-<purpose>`: the threads are called `fabric-<part>-<purpose>`, and an exception of a job is logged by
    the logger `fabric.<part>`.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int = 1_000,
        concurrency: int = 1,
        max_bytes: int = MAX_BYTES,
        idle_timeout: float | None = IDLE_TIMEOUT,
    ) -> None:
        self._name = name
        self._logger = logging.getLogger(f"fabric.{name.partition('-')[0]}")
        self._limit = limit
        self._concurrency = concurrency
        self._max_bytes = max_bytes
        self._idle_timeout = idle_timeout
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._bytes = 0
        self._threads: set[threading.Thread] = set()
        #: Jobs that run now, each on one of the threads.
        self._running = 0
        #: True from `close` on: a job that runs should end.
        self.closing = False

    @property
    def is_idle(self) -> bool:
        """Whether no job waits, and none runs."""
        return not self._jobs and not self._running

    def stats(self) -> dict[str, int]:
        """Jobs that are `waiting` and `running` now, and the `threads` that there are."""
        with self._changed:
            return {"waiting": len(self._jobs), "running": self._running, "threads": len(self._threads)}

    def start(self) -> None:
        """Start all threads now, so that `put` starts none. RuntimeError if the process can start no more threads."""
        with self._changed:
            while len(self._threads) < self._concurrency:
                self._start()

    def put(self, job: Job) -> None:
        """Queue a job. A full queue drops its oldest jobs until this one fits; a job of any size fits an empty queue."""
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
        thread = threading.Thread(target=self._work, name=f"fabric-{self._name}", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the process can start no more threads; the existing ones work off the queue
            self._threads.discard(thread)
            if not self._threads:
                raise

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.run()
            except Exception:
                self._logger.exception("an action failed in a way that it should not")
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> Job | None:
        with self._changed:
            # Other jobs that end notify, too.
            self._changed.wait_for(lambda: bool(self._jobs) or self.closing, self._idle_timeout)
            if not self._jobs:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()
                return None
            job = self._jobs.popleft()
            self._bytes -= job.size
            self._running += 1
            return job

    def wait(self, until: float) -> bool:
        """Block until the pool is idle, or until the time `until` (monotonic). Whether it is idle."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_idle, max(until - monotonic(), 0.0))

    def close(self) -> None:
        """Drop the jobs that wait, and all later ones. Those that run see `closing`. Does not block."""
        with self._changed:
            self.closing = True
            jobs = list(self._jobs)
            self._jobs.clear()
            self._bytes = 0
            self._changed.notify_all()
        for job in jobs:
            job.dropped()

    def join(self, until: float) -> bool:
        """After `close`: block until all threads but the caller have ended, or until `until`. Whether they have ended."""
        with self._changed:
            own = threading.current_thread()
            return self._changed.wait_for(lambda: not self._threads - {own}, max(until - monotonic(), 0.0))
