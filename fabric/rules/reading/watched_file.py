"""A file that is read again when it has changed: bounded, UTF-8, and never waited for.

A change shows in the file's times, size and inode, so an editor may write into the file or replace it. A file that changed
within the last two seconds is read once more: a second change within one step of the clock leaves its time as it was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from time import time

from fabric.rules.model import RulesError

#: Bytes.
MAX_FILE = 10 * 1024 * 1024
#: Seconds after a change within which another one may leave the times of the file as they are.
CLOCK_STEP = 2.0

Fingerprint = tuple[int, ...]


def fingerprint_of(facts: os.stat_result) -> Fingerprint:
    """The facts of a file of which one differs after a change."""
    return (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino, facts.st_dev)


class WatchedFile:
    """One path. Callers hold a lock, or are the only ones."""

    def __init__(
        self,
        path: Path,
        *,
        fingerprint: Callable[[os.stat_result], Fingerprint] = fingerprint_of,
        clock: Callable[[], float] = time,
    ) -> None:
        """`clock` returns unix seconds."""
        self._path = path
        self._fingerprint = fingerprint
        self._clock = clock
        #: Of the last good `read`; None if a change since then would not have to show in it.
        self._last: Fingerprint | None = None

    def may_have_changed(self) -> bool:
        """Whether `read` could return something else, or fail. Costs one `stat` at most."""
        if self._last is None:
            return True
        try:
            return self._fingerprint(os.stat(self._path)) != self._last
        except OSError:
            return True

    def read(self) -> str:
        """Its text. RulesError if it is missing (caused by FileNotFoundError), no regular file, too large or no UTF-8."""
        self._last = None
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would block until it has a writer
            try:
                facts = os.fstat(descriptor)
                if not stat.S_ISREG(facts.st_mode):
                    is_folder = stat.S_ISDIR(facts.st_mode)
                    raise self._error("this is a folder, and no file" if is_folder else "this is no file")
                with open(descriptor, "rb", closefd=False) as file:
                    data = file.read(MAX_FILE + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from error
        if len(data) > MAX_FILE:
            raise self._error(f"is larger than {MAX_FILE:,} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self._error(f"is no text in UTF-8: {error.reason}", line) from None
        age = self._clock() - max(facts.st_mtime, facts.st_ctime)
        if not 0 <= age < CLOCK_STEP:
            self._last = self._fingerprint(facts)
        return text

    def _error(self, problem: str, line: int | None = None) -> RulesError:
        return RulesError(str(self._path), line, "", problem)
