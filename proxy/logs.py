"""The proxy's log: one fact a line, as text or as JSON, and nothing said a thousand times.

    text    2026-03-01 12:00:00,123 WARNING the hook /bin/x was ended after 30.0 s on message 'a1'
    json    {"ts":"2026-03-01T12:00:00.123Z","level":"warning","logger":"fabric.proxy","message":"the hook …"}

Topics, names and reasons in a message are other people's words. Whatever is not plainly visible in them is escaped, line
ends included, so that nobody can write a line of the log by publishing one; a traceback goes on below its line, indented.
What is in `extra=` becomes keys of the JSON object; text leaves it out. Payloads are in neither.

    logger ──▸ Repeats (a filter of each handler) ──▸ Text, Json, Journal ──▸ stderr, or a file put aside when full

Where systemd reads stderr (JOURNAL_STREAM names it), text has no time, for the journal has one, and begins with the
level as `<4>`, which the journal knows as the priority.
"""

from __future__ import annotations

import logging
import os
import threading
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from fabric.errors import ProxyError
from proxy.settings import ProxySettings

#: So many warnings or errors of one kind are written in so many seconds; then they are only counted.
BURST = 10
INTERVAL = 60.0
#: Kinds that are counted at a time. There are as many as there are log calls, unless one of them writes its own template.
MAX_KINDS = 1_000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: As sd-daemon(3) has them.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Log:
    """Where this process logs. One at a time; `close` takes it away again."""

    def __init__(self) -> None:
        self._handlers: list[logging.Handler] = []
        self._root = logging.getLogger()
        self._level = self._root.level

    def to_stderr(self, format_: str = "text", level: str = "info") -> None:
        """Log to stderr, instead of where it went before."""
        self._remove()
        self._root.setLevel(level.upper())
        is_journal = format_ == "text" and stderr_is_the_journal()
        self._add(logging.StreamHandler(), JournalFormatter() if is_journal else formatter(format_))

    def to_file(self, path: Path, settings: ProxySettings, *, in_background: bool) -> None:
        """Log to this file; in the foreground what is wrong is told on stderr as well.

        ProxyError if it cannot be written.
        """
        try:
            handler = (_FileInBackground if in_background else RotatingFileHandler)(
                path, maxBytes=int(settings.log_bytes), backupCount=int(settings.log_backups), encoding="utf-8"
            )
        except OSError as error:
            raise ProxyError(f"cannot write the log {path}: {error.strerror}") from None
        if in_background:
            self._remove()  # its stderr is the same file
        for other in self._handlers:
            other.setLevel(logging.WARNING)
        self._root.setLevel(settings.log_level.upper())
        self._add(handler, formatter(settings.log_format))

    def close(self) -> None:
        """Say what was only counted, and log nowhere any more."""
        self._remove()
        self._root.setLevel(self._level)

    def _add(self, handler: logging.Handler, made: logging.Formatter) -> None:
        handler.setFormatter(made)
        handler.addFilter(RepeatFilter(handler))
        self._root.addHandler(handler)
        self._handlers.append(handler)

    def _remove(self) -> None:
        while self._handlers:
            handler = self._handlers.pop()
            self._root.removeHandler(handler)
            for each in handler.filters:
                if isinstance(each, RepeatFilter):
                    each.close()
            handler.close()


class _FileInBackground(RotatingFileHandler):
    """What others write to stdout and stderr (libzmq before it aborts, the interpreter) is always in the newest file."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        return stream


def stderr_is_the_journal() -> bool:
    """Whether systemd reads what is written to stderr; see systemd.exec(5), JOURNAL_STREAM."""
    try:
        facts = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


# How a line is written


def formatter(format_: str) -> logging.Formatter:
    """The formatter of that name: `text` or `json`."""
    return JsonFormatter() if format_ == "json" else TextFormatter()


class TextFormatter(logging.Formatter):
    """A line with time and level; a traceback is below it, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        head = f"{self.formatTime(record)} {record.levelname:<7} {escaped(_message(record))}"
        return "\n".join([head, *_traceback(record)])


class JournalFormatter(logging.Formatter):
    """For the journal, which knows the time: the level as a priority, before each line of a traceback, too."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in [escaped(_message(record)), *_traceback(record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts` (ISO 8601, UTC), `level`, `logger`, `message`, what was `extra`, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        at = datetime.fromtimestamp(record.created, UTC)
        facts: dict[str, Any] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                facts.setdefault(name, value)
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        try:
            line = orjson.dumps(facts, default=repr, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # half a surrogate pair, a number too large: as text they can be written
            line = orjson.dumps({name: escaped(str(value)) for name, value in facts.items()})
        # What is not visible stands inside strings only, where its escape means the same.
        return escaped(line.decode())


def escaped(text: str) -> str:
    """`text` in one line, with every character as `\\uXXXX` that is not plainly visible there."""
    if text.isprintable():
        return text
    return "".join(character if _is_visible(character) else _escape(character) for character in text)


def _is_visible(character: str) -> bool:
    # As `cli.terminal.text` has it: controls, formats (bidi, zero width), surrogates, private, unassigned and line ends
    # are not.
    category = unicodedata.category(character)
    return category[0] != "C" and category not in ("Zl", "Zp")


def _escape(character: str) -> str:
    return "".join(f"\\u{int.from_bytes(unit, 'big'):04x}" for unit in _utf16(character))


def _utf16(character: str) -> list[bytes]:
    data = character.encode("utf-16-be", "surrogatepass")
    return [data[at : at + 2] for at in range(0, len(data), 2)]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # a mistake in a log call costs its arguments, not the fact
        return f"{record.msg} (cannot be written out: {error})"


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    # An exception's text may have line ends of its own; indented, none of its lines can pass for a line of the log.
    return [f"    {escaped(line)}" for line in logging.Formatter().formatException(record.exc_info).split("\n")]


# What is said again and again


class _Kind:
    """Records of one logger, level and template since `start`."""

    __slots__ = ("last", "left_out", "passed", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.passed = 0
        self.left_out = 0
        self.last: logging.LogRecord | None = None


class RepeatFilter(logging.Filter):
    """Lets `burst` warnings or errors of one kind pass in `interval` seconds, and counts the rest.

    A kind is a logger, a level and a template: two messages that differ in their arguments are of one kind. How many were
    left out is said in a line when the interval is over, even if nothing else happens, and at the end. What is no fault
    always passes. Any thread.
    """

    def __init__(
        self,
        handler: logging.Handler,
        *,
        burst: int = BURST,
        interval: float = INTERVAL,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__()
        self._handler = handler
        self._burst = burst
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg))
        with self._lock:
            now = self._clock()
            over = self._take_over(now)
            passes = self._count(key, record, now)
        self._say(over, now)
        return passes

    def close(self) -> None:
        """Say what was left out until now."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            now = self._clock()
            over = list(self._kinds.values())
            self._kinds.clear()
        self._say(over, now)

    def _count(self, key: tuple[str, int, str], record: logging.LogRecord, now: float) -> bool:
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                return True
            kind = self._kinds[key] = _Kind(now)
        if kind.passed < self._burst:
            kind.passed += 1
            return True
        kind.left_out += 1
        # Without its traceback, which would keep whatever was on its stack.
        facts = {name: getattr(record, name) for name in ("name", "levelno", "levelname", "msg", "args")}
        kind.last = logging.makeLogRecord(facts)
        if self._timer is None:
            self._start_timer(kind.start + self._interval - now)
        return False

    def _take_over(self, now: float) -> list[_Kind]:
        """The kinds whose interval has ended, which begin anew."""
        ended = [key for key, kind in self._kinds.items() if now - kind.start >= self._interval]
        return [self._kinds.pop(key) for key in ended]

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(max(seconds, 0.01), self._look)
        self._timer.name = "fabric-log"
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            self._timer = None
            now = self._clock()
            over = self._take_over(now)
            waiting = [kind.start for kind in self._kinds.values() if kind.left_out]
            if waiting:
                self._start_timer(min(waiting) + self._interval - now)
        self._say(over, now)

    def _say(self, kinds: list[_Kind], now: float) -> None:
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
                    "args": (kind.left_out, seconds, _message(last)),
                    "repeated": kind.left_out,
                }
            )
            # Past our own filter, and not under our lock: the handler has one of its own.
            self._handler.acquire()
            try:
                self._handler.emit(record)
            finally:
                self._handler.release()
