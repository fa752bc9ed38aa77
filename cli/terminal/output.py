"""Standard output for commands that write as events come; remarks on stderr."""

from __future__ import annotations

import os
import select
import sys
from typing import TextIO

import click


class Output:
    """Unbuffered standard output (or `stream`). After Ctrl-C nothing is left to flush to a slow reader.

    `is_terminal`; `has_colour`: it is a terminal, and neither NO_COLOR nor TERM=dumb is set.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        stream.flush()
        self._fd = stream.fileno()
        self._encoding = stream.encoding or "utf-8"
        self._poll = select.poll()
        self._poll.register(self._fd, 0)  # POLLERR is reported without being asked for
        self.is_terminal = os.isatty(self._fd)
        self.has_colour = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def write(self, text: str) -> None:
        """Write all of `text`; blocks while the reader is slow. BrokenPipeError if it has gone."""
        rest = memoryview(text.encode(self._encoding, "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # another process that shares the terminal made it non-blocking
                select.select([], [self._fd], [])

    def check(self) -> None:
        """BrokenPipeError if the reader has gone. Without this check `tap | head` would run until the next event."""
        if any(events & select.POLLERR for _, events in self._poll.poll(0)):
            raise BrokenPipeError

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal; 80 and 24 if they are not known."""
        try:
            columns, lines = os.get_terminal_size(self._fd)
        except OSError:
            columns = lines = 0
        return columns or 80, lines or 24


def note(text: str) -> None:
    """A remark about a command's output: on stderr, so that stdout holds the output alone."""
    click.echo(f"-- {text}", err=True)


def note_to_terminal(text: str) -> None:
    """A remark that is left out where stderr is no terminal."""
    if sys.stderr.isatty():
        note(text)
