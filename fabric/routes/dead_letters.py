"""Dead letters: texts that could not be sent, published as an event and shown on the terminal.

A thread of its own does both: subscribers of the event run on it, and a terminal may block (Ctrl-S, a full pipe).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from fabric.bus.buffer import Buffer
from fabric.bus.bus import Bus
from fabric.errors import Closed
from fabric.routes.model import MAX_CHANNEL
from fabric.system.terminal import safe, safe_lines

logger = logging.getLogger("fabric.routes")

#: A topic of the system, published in this process only: the text was meant for one chat.
DEAD_LETTER = "fabric.route.dead_letter"
#: Dead letters that may wait; the oldest is dropped first.
MAX_WAITING = 10_000
#: Characters of a text on the terminal.
MAX_SHOWN = 4_000

Write = Callable[[str], object]


class DeadLetter(NamedTuple):
    """One or several texts for a channel, together."""

    channel: str
    text: str
    problem: str
    #: Number of texts that were put together, and of calls of senders.
    texts: int = 1
    attempts: int = 0
    id: str = ""


class DeadLetters:
    """Publishes and shows dead letters. `put` may be called on any thread, and never blocks."""

    def __init__(self, bus: Bus | None, write: Write | None, *, max_waiting: int = MAX_WAITING) -> None:
        self._bus = bus
        self._write = write
        self._waiting: Buffer[DeadLetter] = Buffer("what could not be sent", max_waiting)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        #: Number of dead letters written to the terminal.
        self.shown = 0

    @property
    def dropped(self) -> int:
        """Number of dead letters neither published nor shown, because the terminal or a subscriber was too slow."""
        return self._waiting.dropped

    def put(self, letter: DeadLetter) -> None:
        """Have it published and shown."""
        self._waiting.put_dropping(letter)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="fabric-routes-undelivered", daemon=True)
                self._thread.start()

    def close(self, until: float) -> None:
        """End when all are published and shown, and wait for that until then (monotonic)."""
        self._waiting.close(Closed("the router was closed"))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(until - monotonic(), 0.0))

    def _work(self) -> None:
        while True:
            try:
                letter = self._waiting.get()
            except Closed:
                return
            if self._bus is not None:
                self._bus.announce(DEAD_LETTER, letter._asdict())
            if self._write is not None:
                try:
                    self._write(line(letter) + "\n")
                    self.shown += 1
                except Exception as error:
                    logger.warning("what could not be sent to %r could not be shown either: %s", letter.channel, error)


def line(letter: DeadLetter) -> str:
    """The line for the terminal, escaped."""
    text = letter.text
    cut = f" … ({len(text):,} characters)" if len(text) > MAX_SHOWN else ""
    channel, problem = safe(letter.channel[:MAX_CHANNEL]), safe(letter.problem)
    return f"-- not sent to {channel} ({problem}): {safe_lines(text[:MAX_SHOWN])}{cut}"


def to_stderr(text: str) -> None:
    """Write to stderr, which leaves stdout to the program."""
    sys.stderr.write(text)
    sys.stderr.flush()
