"""Waking a thread that sits in `poll`, from any other.

A pipe, as in the self-pipe trick (D. J. Bernstein). The lock is there for the end only: a byte written to a descriptor
that has been closed meanwhile, and given out again, would end up in somebody else's file. It is re-entrant: a signal
handler, or a finaliser, may publish while this very thread wakes somebody.
"""

from __future__ import annotations

import os
import threading


class Wakeup:
    """`set` on any thread, also after `close`; `descriptor` and `clear` are the sleeping thread's."""

    def __init__(self) -> None:
        self.descriptor, self._writing = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._writing, False)
        self._lock = threading.RLock()
        self._open = True

    def set(self) -> None:
        """Wake it, now or when it next sleeps. Nothing happens once it is closed."""
        with self._lock:
            if self._open:
                try:
                    os.write(self._writing, b"\0")
                except BlockingIOError:
                    pass  # the pipe is full: it is awake already

    def clear(self) -> None:
        """It is awake: forget how often it was woken."""
        try:
            os.read(self.descriptor, 4_096)
        except BlockingIOError:
            pass

    def forked(self) -> None:
        """We are a fork's child, and the sleeper is the parent's: who had the lock may not be here."""
        self._lock = threading.RLock()
        self.close()

    def close(self) -> None:
        """It will not sleep again."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._writing)
                os.close(self.descriptor)
