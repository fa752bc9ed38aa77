"""Ends the `poll` of one thread from any other: the self-pipe trick (D. J. Bernstein).

The lock protects `close` only: a byte written to a descriptor that was closed and reused meanwhile would go into another
file. The lock is re-entrant, because a signal handler or a finaliser may publish, and so call `set`, during a `set` of the
same thread.
"""

from __future__ import annotations

import os
import threading


class Wakeup:
    """`set` may be called on any thread, also after `close`. `descriptor` and `clear` are for the thread that polls."""

    def __init__(self) -> None:
        self.descriptor, self._writing = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._writing, False)
        self._lock = threading.RLock()
        self._open = True

    def set(self) -> None:
        """Make the descriptor readable until `clear`. No-op after `close`."""
        with self._lock:
            if self._open:
                try:
                    os.write(self._writing, b"\0")
                except BlockingIOError:
                    pass  # the pipe is full, so the descriptor is readable already

    def clear(self) -> None:
        """Make the descriptor unreadable: consume all earlier calls of `set`."""
        try:
            os.read(self.descriptor, 4_096)
        except BlockingIOError:
            pass

    def forked(self) -> None:
        """In a fork's child: close it. The lock is replaced, because its holder may be a thread of the parent."""
        self._lock = threading.RLock()
        self.close()

    def close(self) -> None:
        """Close both ends of the pipe. The polling thread has stopped using the descriptor."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._writing)
                os.close(self.descriptor)
