"""Reports to a service manager: sd_notify, as in systemd's `Type=notify`.

A datagram of `NAME=value` lines to the socket named in `$NOTIFY_SOCKET`: a path, or `@` and a name in Linux' abstract
name space. Sent are `READY=1` once, `STATUS=` a line for people, `WATCHDOG=1` repeatedly, `STOPPING=1` at the end. There is
no `RELOADING=1`, because nothing reloads.

Without a service manager all methods do nothing, and callers need not check for one. No method raises: an unreachable
manager does not end the proxy.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

#: Seconds to wait for room in the manager's socket; it is local, and datagrams queue.
TIMEOUT = 1.0
#: Bytes of a status line; journals and `systemctl status` show one line.
MAX_STATUS = 200


class SystemdNotifier:
    """Sends to the socket at `path`; an empty path: to nobody. One thread uses it."""

    def __init__(self, path: str = "", watchdog: float = 0.0, *, timeout: float = TIMEOUT) -> None:
        self._path = "\0" + path[1:] if path.startswith("@") else path if path.startswith("/") else ""
        #: Seconds within which `alive` must be called again; 0: the manager does not expect it.
        self.watchdog = watchdog if self._path else 0.0
        self._timeout = timeout
        self._status = ""

    @classmethod
    def take(cls, environment: MutableMapping[str, str] = os.environ) -> SystemdNotifier:
        """From the variables of a service manager, which are removed: programs that we start must not report for us."""
        path = environment.pop("NOTIFY_SOCKET", "")
        text, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        usec = int(text) if text.isascii() and text.isdecimal() else 0
        return cls(path, usec / 1_000_000 if pid in ("", str(os.getpid())) else 0.0)

    def __bool__(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._path)

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def alive(self) -> None:
        """The service works; to be called at least every `watchdog` seconds, after a good check only."""
        if self.watchdog:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service is stopping."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the STATUS line. Sent only if it has changed."""
        line = " ".join(text.encode()[:MAX_STATUS].decode(errors="ignore").split())
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def _send(self, line: str) -> bool:
        if not self._path:
            return False
        try:
            # A socket for each datagram: there are few, and a restarted manager has a new socket at the old path.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(self._timeout)
                sender.sendto(line.encode(), self._path)
        except (OSError, ValueError):
            return False
        return True
