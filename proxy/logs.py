"""The proxy's log: where it goes, and how a line of it is written, as text or as JSON.

    text    2026-03-01 12:00:00,123 WARNING the hook /bin/x was ended after 30.0 s on message 'a1'
    json    {"ts":"2026-03-01T12:00:00.123Z","level":"warning","logger":"fabric.proxy","message":"the hook …"}

    logger ──▸ RepeatFilter, one for each handler ──▸ formatter: text, json, journal ──▸ stderr, or a rotated file

Topics, names and reasons in a message come from other programs. Characters that are not plainly visible are escaped, line
ends included, so that nobody can forge a line of the log by publishing one; a traceback follows its line, indented.
Attributes given in `extra=` become keys of the JSON object; text omits them. Payloads are in neither.

Where systemd reads stderr (JOURNAL_STREAM names it), text has no time, because the journal adds one, and begins with the
level as `<4>`, which the journal reads as the priority.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson

from fabric.errors import ProxyError
from fabric.system.terminal import safe
from proxy.repeat_filter import RepeatFilter, message_of
from proxy.settings import ProxySettings

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: Levels and their priorities in sd-daemon(3).
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Log:
    """The handlers of this process's root logger. One at a time; `close` removes them."""

    def __init__(self) -> None:
        self._handlers: list[logging.Handler] = []
        self._root = logging.getLogger()
        self._level = self._root.level

    def to_stderr(self, format_: str = "text", level: str = "info") -> None:
        """Log to stderr, and remove the handlers from before."""
        self._remove()
        self._root.setLevel(level.upper())
        is_journal = format_ == "text" and stderr_is_the_journal()
        self._add(logging.StreamHandler(), JournalFormatter() if is_journal else formatter(format_))

    def to_file(self, path: Path, settings: ProxySettings, *, in_background: bool) -> None:
        """Log to this file; in the foreground warnings and errors go to stderr, too.

        ProxyError if the file cannot be written.
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
        """Write the summaries of suppressed records, and remove all handlers."""
        self._remove()
        self._root.setLevel(self._level)

    def _add(self, handler: logging.Handler, line_format: logging.Formatter) -> None:
        handler.setFormatter(line_format)
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
    """Rotates, and redirects stdout and stderr to the newest file, for what libzmq and the interpreter write there."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        return stream


def stderr_is_the_journal() -> bool:
    """Whether stderr is connected to systemd's journal; see systemd.exec(5), JOURNAL_STREAM."""
    try:
        facts = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


# How a line is written


def formatter(format_: str) -> logging.Formatter:
    """The formatter called `text` or `json`."""
    return JsonFormatter() if format_ == "json" else TextFormatter()


class TextFormatter(logging.Formatter):
    """A line with time and level; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        head = f"{self.formatTime(record)} {record.levelname:<7} {safe(message_of(record))}"
        return "\n".join([head, *_traceback(record)])


class JournalFormatter(logging.Formatter):
    """For the journal: no time; the level as a priority prefix on every line, including those of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in [safe(message_of(record)), *_traceback(record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts` (ISO 8601, UTC), `level`, `logger`, `message`, the keys of `extra`, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        at = datetime.fromtimestamp(record.created, UTC)
        facts: dict[str, Any] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                facts.setdefault(name, value)
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        try:
            line = orjson.dumps(facts, default=repr, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # a lone surrogate, or a number over 64 bits: representable as text
            line = orjson.dumps({name: safe(str(value)) for name, value in facts.items()})
        # Invisible characters occur only inside strings, where the escape means the same character.
        return safe(line.decode())


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    # The text of an exception may contain line ends. Indented, none of its lines looks like a line of the log.
    return [f"    {safe(line)}" for line in logging.Formatter().formatException(record.exc_info).split("\n")]
