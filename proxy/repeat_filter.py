"""Rate limit for warnings and errors: the first records of a kind pass, the rest are counted and summed up in one line.

    kind     a logger, a level and a template: two records that differ only in their arguments are of one kind

    time     |----------- interval -----------|
    records  pass ×`burst`, then suppressed    → "… and N more like it in the last S s, the last one: …"

The summary is written when the interval ends: with the next record after it, or by a timer if there is none, or by `close`.
Records below WARNING always pass.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

#: Records of one kind that pass in one interval, and the length of an interval in seconds.
BURST = 10
INTERVAL = 60.0
#: Kinds counted at a time; records of further kinds pass. There are as many kinds as log calls, unless a call formats its
#: template by itself.
MAX_KINDS = 1_000
#: Seconds: the shortest timer.
_MIN_DELAY = 0.01


def message_of(record: logging.LogRecord) -> str:
    """The message of a record; with the template alone if the arguments do not fit it."""
    try:
        return record.getMessage()
    except Exception as error:  # a mistake in a log call costs its arguments, not the fact
        return f"{record.msg} (cannot be written out: {error})"


class _Kind:
    """Counts of one kind in the interval that began at `start`."""

    __slots__ = ("last", "passed", "start", "suppressed")

    def __init__(self, start: float) -> None:
        self.start = start
        self.passed = 0
        self.suppressed = 0
        self.last: logging.LogRecord | None = None


class RepeatFilter(logging.Filter):
    """A filter for `handler`, which also writes the summaries. Any thread.

    It keeps a daemon thread, a timer, while a summary is due; `close` ends it.
    """

    def __init__(
        self,
        handler: logging.Handler,
        *,
        burst: int = BURST,
        interval: float = INTERVAL,
        max_kinds: int = MAX_KINDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__()
        self._handler = handler
        self._burst = burst
        self._interval = interval
        self._max_kinds = max_kinds
        self._clock = clock
        self._lock = threading.Lock()  # around the kinds and the timer
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg))
        with self._lock:
            now = self._clock()
            ended = self._take_ended(now)
            passes = self._count(key, record, now)
        self._write_summaries(ended, now)
        return passes

    def close(self) -> None:
        """Write the summaries of all kinds, and stop the timer."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            now = self._clock()
            ended = list(self._kinds.values())
            self._kinds.clear()
        self._write_summaries(ended, now)

    def _count(self, key: tuple[str, int, str], record: logging.LogRecord, now: float) -> bool:
        """Whether the record passes."""
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= self._max_kinds:
                return True
            kind = self._kinds[key] = _Kind(now)
        if kind.passed < self._burst:
            kind.passed += 1
            return True
        kind.suppressed += 1
        # A copy without the traceback, which would keep alive everything on its stack.
        facts = {name: getattr(record, name) for name in ("name", "levelno", "levelname", "msg", "args")}
        kind.last = logging.makeLogRecord(facts)
        if self._timer is None:
            self._start_timer(kind.start + self._interval - now)
        return False

    def _take_ended(self, now: float) -> list[_Kind]:
        """Remove the kinds whose interval has ended, and return them."""
        ended = [key for key, kind in self._kinds.items() if now - kind.start >= self._interval]
        return [self._kinds.pop(key) for key in ended]

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(max(seconds, _MIN_DELAY), self._on_timer)
        self._timer.name = "fabric-log"
        self._timer.daemon = True
        self._timer.start()

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            now = self._clock()
            ended = self._take_ended(now)
            starts = [kind.start for kind in self._kinds.values() if kind.suppressed]
            if starts:
                self._start_timer(min(starts) + self._interval - now)
        self._write_summaries(ended, now)

    def _write_summaries(self, kinds: list[_Kind], now: float) -> None:
        for kind in kinds:
            if kind.last is None:
                continue
            last = kind.last
            seconds = max(round(now - kind.start), 1)
            record = logging.makeLogRecord(
                {
                    "name": last.name,
                    "levelno": last.levelno,
                    "levelname": last.levelname,
                    "msg": "… and %d more like it in the last %d s, the last one: %s",
                    "args": (kind.suppressed, seconds, message_of(last)),
                    "repeated": kind.suppressed,
                }
            )
            # Bypasses our own filter. Not under our lock: the handler has a lock of its own.
            self._handler.acquire()
            try:
                self._handler.emit(record)
            finally:
                self._handler.release()
