"""Tells a service manager how we are: sd_notify, as in systemd's `Type=notify`.

A datagram of `NAME=value` lines to the socket named in `$NOTIFY_SOCKET`: a path, or `@` and a name in Linux' abstract
name space. What is said: `READY=1` once, `STATUS=` one line for people, `WATCHDOG=1` again and again, `STOPPING=1` at the
end. There is no `RELOADING=1`, for there is nothing that reloads.

Without a service manager nothing is said, and nobody who says it has to know. Nothing here raises: a proxy does not end
because nobody wants to hear how it is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

#: Seconds that a service manager may take to read; it is local, and datagrams queue.
TIMEOUT = 1.0
#: Bytes of a status line; journals and `systemctl status` show one line.
MAX_STATUS = 200


class SystemdNotifier:
    """Speaks to the socket at `path`; to nobody if that is empty. One thread uses it."""

    def __init__(self, path: str = "", watchdog: float = 0.0, *, timeout: float = TIMEOUT) -> None:
        self._path = "\0" + path[1:] if path.startswith("@") else path if path.startswith("/") else ""
        #: Seconds within which `alive` must be said again; 0: nobody waits for it.
        self.watchdog = watchdog if self._path else 0.0
        self._timeout = timeout
        self._status = ""

    @classmethod
    def take(cls, environment: MutableMapping[str, str] = os.environ) -> SystemdNotifier:
        """From the variables that a service manager sets, which are removed: what we start does not speak for us."""
        path = environment.pop("NOTIFY_SOCKET", "")
        text, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        usec = int(text) if text.isascii() and text.isdecimal() else 0
        return cls(path, usec / 1_000_000 if pid in ("", str(os.getpid())) else 0.0)

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._path)

    def ready(self) -> None:
        """The service does what it is for."""
        self._send("READY=1")

    def alive(self) -> None:
        """Not hung; to be said at least every `watchdog` seconds, and only by who knows."""
        if self.watchdog:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people; said when it is another one than before."""
        line = " ".join(text.encode()[:MAX_STATUS].decode(errors="ignore").split())
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def _send(self, line: str) -> bool:
        if not self._path:
            return False
        try:
            # A socket for each word: there are few, and a manager that was restarted has a new one at the old path.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(self._timeout)
                sender.sendto(line.encode(), self._path)
        except (OSError, ValueError):
            return False
        return True
