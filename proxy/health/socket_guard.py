"""Guards the socket files: removes their names before descriptors run out, and restores names that were deleted.

libzmq aborts the process when an ipc listener runs out of descriptors, and accepts connections before any code here can
refuse them. But a unix socket is reached by its name, and any thread can remove a name: then nobody new can connect, and
open connections stay. Clients find no socket and retry every 100 ms.

    descriptors in use    events-in, events-out    messages    answer to a newcomer's HELLO
    below `full`          present                  present     WELCOME
    from `full` on        removed                  present     ERROR `full`, which is the explanation
    from `exhausted` on   removed                  removed     –

`full` leaves a quarter free: for connections in the listeners' queues, and for those that are accepted between two checks.
The interval between checks is the time in which the fastest possible accept rate (`MAX_ACCEPT_RATE`) could reach the next
threshold, so a proxy with room for thousands checks once a second. That holds against clients, however many start at once.
Programs that only connect, on a machine whose cores are all busy, can still be faster: then the proxy crashes and the
supervisor restarts it. At a tcp address there are no names; there newcomers are refused with `full`, and nothing else
happens.

Each socket has a second, hidden name (a hard link) while the proxy runs. A missing name is restored from it, so that a
cleaned directory does not shut out newcomers for good. If the hidden names are missing, too, the directory was emptied, and
the proxy ends, so that a supervisor (or `connect`) starts it anew.
"""

from __future__ import annotations

import logging
import os
import resource
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from fabric.config.address import Address

logger = logging.getLogger("fabric.proxy")

#: Connections that libzmq can accept in a second: two io threads, some 50 µs for each connection.
MAX_ACCEPT_RATE = 40_000
#: Seconds between two checks: at least, because an accept takes time; at most, to find missing names.
MIN_POLL_INTERVAL = 0.005
MAX_POLL_INTERVAL = 1.0
#: Seconds between two checks while all names are removed.
FULL_POLL_INTERVAL = 0.05
#: Descriptors left free, at most: three listeners with 1,024 connections in each queue.
MAX_RESERVE = 4_096
EVENT_SOCKETS = ("events-in", "events-out")
ALL_SOCKETS = (*EVENT_SOCKETS, "messages")


class DescriptorLimits:
    """Thresholds of descriptors in use, for a soft limit of `limit`."""

    def __init__(self, limit: int) -> None:
        reserve = min(limit // 4, MAX_RESERVE)
        self.full = limit - reserve
        self.exhausted = limit - reserve // 2
        #: Below it the names are restored. Lower than `full`, so that one client does not toggle them for ever.
        self.reopen = self.full - reserve // 8

    def poll_interval(self, used: int) -> float:
        """Seconds until the fastest possible accept rate could reach the next threshold."""
        if used >= self.exhausted:
            return FULL_POLL_INTERVAL  # no connection can be accepted
        nearest = self.full if used < self.full else self.exhausted
        return min(max((nearest - used) / MAX_ACCEPT_RATE, MIN_POLL_INTERVAL), MAX_POLL_INTERVAL)


def backlog(limit: int) -> int:
    """Length of a listener's queue. Queued connections are accepted even after the name was removed."""
    return min(max(limit // 64, 4), 1_024)  # a client that finds it full retries in 100 ms


def limit_of_descriptors() -> int:
    """The current soft limit: an administrator may change it while the proxy runs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def descriptors_used() -> int:
    """Number of open descriptors."""
    return len(os.listdir("/proc/self/fd")) - 1  # without that of the listing


class SocketGuard:
    """Guards the sockets of one proxy, in its own thread.

    `bound` says whether events-in is bound yet; `full(True)` and `full(False)` are called when newcomers are to be refused
    and accepted again. Both are called on that thread. `used` and `limit` count descriptors.
    """

    def __init__(
        self,
        address: Address,
        *,
        bound: Callable[[], bool],
        full: Callable[[bool], None],
        used: Callable[[], int] = descriptors_used,
        limit: Callable[[], int] = limit_of_descriptors,
    ) -> None:
        #: Why no client can connect any more, if so.
        self.failure: str | None = None
        self._directory = address.directory
        self._bound = bound
        self._full = full
        self._used = used
        self._limit = limit
        self._is_full = False
        self._removed: tuple[str, ...] = ()
        self._linked: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fabric-sockets", daemon=True)

    def start(self) -> None:
        """Start the thread. `messages` and `events-out` are bound."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and remove the hidden names."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._directory is not None:
            for name in ALL_SOCKETS:
                _hidden(self._directory / name).unlink(missing_ok=True)

    def _run(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait) and self.failure is None:
            try:
                wait = self.check()
            except OSError as error:
                logger.warning("cannot look after the sockets: %s", error)
                wait = MAX_POLL_INTERVAL

    def check(self) -> float:
        """Remove and restore names as needed; the seconds until the next check."""
        used, limits = self._used(), DescriptorLimits(self._limit())
        self._update(used, limits)
        if self._directory is not None:
            self._maintain_names(self._directory)
        return limits.poll_interval(used)

    def _update(self, used: int, limits: DescriptorLimits) -> None:
        full = used >= (limits.reopen if self._is_full else limits.full)
        self._removed = ALL_SOCKETS if used >= limits.exhausted else EVENT_SOCKETS if full else ()
        if full == self._is_full:
            return
        self._is_full = full
        if full:
            logger.warning("%d of the file descriptors allowed are in use: newcomers are turned away", used)
        else:
            logger.info("%d file descriptors are in use: there is room again", used)
        self._full(full)

    def _maintain_names(self, directory: Path) -> None:
        for name in ALL_SOCKETS:
            first, hidden = directory / name, _hidden(directory / name)
            if name not in self._linked:
                # Until ours is bound, a file of that name may be that of a killed proxy.
                if name == "events-in" and not self._bound():
                    continue
                hidden.unlink(missing_ok=True)
                os.link(first, hidden)
                self._linked.add(name)
            if name in self._removed:
                first.unlink(missing_ok=True)
            elif not _is_same_file(first, hidden):
                self._restore_name(first, hidden)

    def _restore_name(self, first: Path, hidden: Path) -> None:
        if not _is_socket(hidden):
            self.failure = f"{hidden.parent} was emptied: nobody new can find the way in"
            return
        temporary = first.with_name(f".{first.name}.new")
        temporary.unlink(missing_ok=True)
        os.link(hidden, temporary)
        temporary.rename(first)  # atomic: clients find the old or the new name
        logger.info("%s is there again", first)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _is_same_file(first: Path, hidden: Path) -> bool:
    try:
        return os.path.samestat(first.lstat(), hidden.lstat())
    except OSError:
        return False
