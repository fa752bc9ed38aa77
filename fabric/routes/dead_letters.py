"""What could not be sent is not lost in silence: it is told as an event, and shown on the terminal.

A thread of its own does both: subscribers of the event run in it, and a terminal may stand still (Ctrl-S, a full pipe).
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

#: The system's own topic, and told in this process only: the text in it was meant for one chat.
DEAD_LETTER = "fabric.route.dead_letter"
#: What may wait; the oldest goes first.
MAX_WAITING = 10_000
#: Characters of a text that a terminal shows.
MAX_SHOWN = 4_000

Write = Callable[[str], object]


class DeadLetter(NamedTuple):
    """One or several texts for a channel, together."""

    channel: str
    text: str
    problem: str
    #: How many texts were handed in, and how often a sender was asked.
    texts: int = 1
    attempts: int = 0
    id: str = ""


class DeadLetters:
    """Any thread may `put`; never blocks."""

    def __init__(self, bus: Bus | None, write: Write | None) -> None:
        self._bus = bus
        self._write = write
        self._waiting: Buffer[DeadLetter] = Buffer("what could not be sent", MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        #: Written to the terminal.
        self.shown = 0

    @property
    def dropped(self) -> int:
        """Neither told nor shown: the terminal, or a subscriber, was too slow."""
        return self._waiting.dropped

    def put(self, undelivered: DeadLetter) -> None:
        """Tell and show it."""
        self._waiting.put_dropping(undelivered)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="fabric-routes-undelivered", daemon=True)
                self._thread.start()

    def close(self, until: float) -> None:
        """End when all is told and shown; it is waited for until then (monotonic)."""
        self._waiting.close(Closed("the router was closed"))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(until - monotonic(), 0.0))

    def _work(self) -> None:
        while True:
            try:
                undelivered = self._waiting.get()
            except Closed:
                return
            if self._bus is not None:
                self._bus.announce(DEAD_LETTER, undelivered._asdict())
            if self._write is not None:
                try:
                    self._write(line(undelivered) + "\n")
                    self.shown += 1
                except Exception as error:
                    logger.warning(
                        "what could not be sent to %r could not be shown either: %s", undelivered.channel, error
                    )


def line(undelivered: DeadLetter) -> str:
    """What the terminal shows: inert, whatever the text is."""
    text = undelivered.text
    cut = f" … ({len(text):,} characters)" if len(text) > MAX_SHOWN else ""
    channel, problem = safe(undelivered.channel[:MAX_CHANNEL]), safe(undelivered.problem)
    return f"-- not sent to {channel} ({problem}): {safe_lines(text[:MAX_SHOWN])}{cut}"


def to_stderr(text: str) -> None:
    """Where the terminal is, for a program whose output is its own."""
    sys.stderr.write(text)
    sys.stderr.flush()
