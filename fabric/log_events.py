"""Log records as events: a `logging.Handler` that publishes.

    logging.getLogger().addHandler(fabric.logging_handler(level="INFO"))

    logging.getLogger("app.db").error("lost %s", "it")     ──▸     log.error.app.db   {"message": "lost it", …}

A record's topic is `log.<level>.<logger>`. The level comes first because most subscribers select by it, and ZeroMQ filters
by the literal beginning of a pattern only: a subscription to `log.error.**` makes no process send its debug records.

    log.**          everything                log.*.app.db.**     that logger and those below it, at any level
    log.error.**    errors of all loggers     log.error.root      errors of the root logger

Payload: `message` `level` `levelno` `logger` `file` `line` `function` `pid` `thread` `thread_id`, `ts` (the time of the
record) and, if the record has them, `exception`, `stack` and `extra` (the argument `extra=`). All of it is JSON and
bounded: long texts are cut in the middle, values that JSON does not have become their `repr`.

A handler never raises, and never publishes records that its own events cause. It does not publish

    records of the loggers `fabric` and `fabric.…`          they are about publishing
    records logged while a record is published              on the same thread, also by callbacks of that event
    records logged by a callback of a log event             on any thread, loop or process on which the callback runs

It cannot detect a cycle that leaves the callback: a program that iterates over `log.**`, or starts a task for each event,
must not log each of them through such a handler.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import unicodedata
from functools import lru_cache
from itertools import islice
from math import isfinite
from types import FrameType
from typing import Any

from fabric.bus.bus import Bus
from fabric.bus.callbacks import running_callbacks
from fabric.node.connect import default_bus
from fabric.node.node import Node
from fabric.protocol.topics import MAX_BYTES, check_topic, is_reserved

#: Characters of a message, an exception or a stack; and of any other text.
MAX_TEXT = 16 * 1024
MAX_VALUE = 1024
#: Extras of one record, items of each list or dict among them; and their depth of nesting.
MAX_EXTRAS = 50
MAX_DEPTH = 4
#: orjson writes integers of 64 bits only.
_MAX_INT = 2**63 - 1

#: Attributes of every record, which are no extras.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: What the topics of this process's handlers begin with.
_topics: set[str] = set()


class LogEvents(logging.Handler):
    """Made by `logging_handler`. Any thread; also when its node is closed, and while the interpreter ends."""

    def __init__(self, level: int | str = logging.NOTSET, *, bus: Bus, topic: str = "log") -> None:
        super().__init__(level)
        check_topic(topic)
        if is_reserved(topic):
            raise ValueError(f"topic {topic!r}: what the system itself says is below it, choose another")
        if len(topic.encode()) > MAX_BYTES // 2:
            raise ValueError(f"topic {topic!r} leaves too little room for level and logger")
        self.bus = bus
        self.topic = topic
        #: Records that could not be published: a message that does not format, a handler that was closed.
        self.dropped = 0
        #: Records not published because that would have fed the handler with its own.
        self.suppressed = 0
        self._publishing = threading.local()
        self._counting = threading.Lock()
        self._closed = False
        _topics.add(topic)

    def handle(self, record: logging.LogRecord) -> Any:
        """As `logging.Handler.handle`, but without holding its lock: callbacks of local subscribers run in here, and one
        that waits for another thread which logs would wait for ever."""
        wanted: Any = self.filter(record)
        if wanted:
            self.emit(wanted if isinstance(wanted, logging.LogRecord) else record)  # a record since Python 3.12
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Publish `record`, unless nobody wants it. Never raises."""
        if record.name == "fabric" or record.name.startswith("fabric."):
            return
        try:
            if getattr(self._publishing, "now", False) or _for_a_log_event(sys._getframe(1)):
                self._count("suppressed")
                return
            if self._closed:
                self._count("dropped")
                return
            self._publishing.now = True
            try:
                topic = _topic(self.topic, record.levelno, record.levelname, record.name)
                if self._wanted(topic):
                    self.bus.publish(topic, self._payload(record))
            finally:
                self._publishing.now = False
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Count it. Nothing is printed, whatever `logging.raiseExceptions` says: it would say so for each record."""
        self._count("dropped")

    def close(self) -> None:
        """Publish no more records; they are counted as dropped."""
        self._closed = True
        super().close()

    def _count(self, what: str) -> None:
        with self._counting:
            setattr(self, what, getattr(self, what) + 1)

    def _wanted(self, topic: str) -> bool:
        """Whether the topic has a subscriber: making a payload costs ten times as much as this check."""
        if self.bus.subscribers_of(topic):
            return True
        outside = self.bus.outside
        if outside is None:
            return False
        return not isinstance(outside, Node) or outside.has_interest(topic)

    def _payload(self, record: logging.LogRecord) -> dict[str, Any]:
        formatted = record.getMessage() if self.formatter is None else self.formatter.format(record)
        payload: dict[str, Any] = {
            "ts": record.created,
            "message": _text(formatted, MAX_TEXT),
            "level": _text(record.levelname),
            "levelno": record.levelno,
            "logger": _text(record.name),
            "file": _text(record.pathname),
            "line": record.lineno,
            "function": _text(record.funcName),
            "pid": record.process or os.getpid(),
            "thread": _text(record.threadName),
            "thread_id": record.thread,
        }
        if record.exc_text or record.exc_info:
            payload["exception"] = _text(record.exc_text or _exception(record.exc_info), MAX_TEXT)
        if record.stack_info:
            payload["stack"] = _text(record.stack_info, MAX_TEXT)
        if extra := {key: value for key, value in record.__dict__.items() if key not in _STANDARD}:
            payload["extra"] = _json(extra, MAX_DEPTH)
        return payload

    def __repr__(self) -> str:
        return f"<LogEvents {self.topic}.** from {logging.getLevelName(self.level)}>"


def logging_handler(
    level: int | str = logging.NOTSET, *, bus: Bus | None = None, node: Node | None = None, topic: str = "log"
) -> LogEvents:
    """A `logging.Handler` that publishes records as events `<topic>.<level>.<logger>`; see `log_events`.

    On the bus of `node`, on `bus`, or else on the default bus, whether it is connected or not. `level` as in `logging`.
    ValueError for an unknown level or an invalid topic; TypeError for both a bus and a node.
    """
    if node is not None:
        if bus is not None:
            raise TypeError("logging_handler() takes a bus or a node, not both")
        bus = node.bus
    return LogEvents(level, bus=default_bus if bus is None else bus, topic=topic)


@lru_cache(4_096)
def _topic(first: str, levelno: int, levelname: str, logger: str) -> str:
    """The topic of a record; valid for every name of a logger."""
    level = _segment((levelname or f"level {levelno}").lower().replace(".", "-").replace(" ", "-"))
    topic = ".".join([first, level, *(_segment(part) for part in logger.split("."))])
    if len(topic.encode()) > MAX_BYTES:
        topic = topic.encode()[:MAX_BYTES].decode(errors="ignore").rstrip(".")
    return topic


def _segment(text: str) -> str:
    """`text` as a segment: invalid characters become `_`."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text.replace("*", "_") or "_"
    return "".join(
        "_" if character == "*" or unicodedata.category(character)[0] in "CZ" else character for character in text
    )


def _for_a_log_event(frame: FrameType | None) -> bool:
    """Whether this is called by a callback of such an event, on whatever thread.

    The calls themselves are asked: the bus knows what it delivers, but to note it down would cost every event something.
    """
    return any(
        topic.startswith(own) and topic[len(own) : len(own) + 1] == "."
        for _, topic in running_callbacks(frame)
        for own in _topics
    )


def _exception(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        return "".join(traceback.format_exception(exc_info))
    if not isinstance(exc_info, tuple) or exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def _text(value: object, limit: int = MAX_VALUE) -> str:
    """`value` as text that orjson can encode, of about `limit` characters at most: its beginning and its end."""
    text = value if type(value) is str else _repr(value)
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()  # half surrogates, for instance of file names
    return text


def _repr(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} without a repr>"


def _json(value: Any, depth: int) -> Any:
    """`value` as JSON, for reading; nothing is guaranteed to convert back."""
    if value is None or value is True or value is False:
        return value
    if type(value) is int:
        return value if abs(value) <= _MAX_INT else str(value)
    if type(value) is float:
        return value if isfinite(value) else str(value)
    if depth:
        if isinstance(value, dict):
            return {_text(key): _json(item, depth - 1) for key, item in islice(value.items(), MAX_EXTRAS)}
        if isinstance(value, list | tuple | set | frozenset):
            return [_json(item, depth - 1) for item in islice(value, MAX_EXTRAS)]
    return _text(value)
