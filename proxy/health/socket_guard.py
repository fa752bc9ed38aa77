"""The way in: shut before the descriptors run out, and put back if somebody deletes it.

libzmq aborts the process when an ipc listener runs out of descriptors, and accepts whoever connects before anything here
can look at it. But a socket in the file system is reached by its name, and names are ours: a name that is taken away lets
nobody in, and harms nobody who is in. Clients find nothing there, and try again every 100 ms.

    descriptors used    events-in, events-out    messages    a newcomer's HELLO
    below the mark      open                     open        welcome
    above it            shut                     open        ERROR `full`: so that it knows why
    nearly all          shut                     shut

The mark leaves a quarter free: for what waits in the listeners' queues, and for what is accepted between two looks. How
soon the next look is depends on how many could have come by then (`MAX_ACCEPT_RATE`), so a proxy with room for
thousands hardly ever looks. That holds against clients, however many start at once. Programs that do nothing but
connect, on a machine whose
cores are all busy, can still be faster: that is a crash, and the supervisor's business. At a tcp address names are not
ours; there newcomers are told `full`, and that is all.

Each socket has a hidden name, with a dot, for as long as we live. A first name that is missing is made again from that:
whoever cleans up a directory does not cut off newcomers for good. If the hidden names are gone, too, the directory is, and
the proxy ends, for a supervisor (or `connect`) to start it anew.
"""

from __future__ import annotations

import logging
import os
import resource
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from fabric.config.settings import Address

logger = logging.getLogger("fabric.proxy")

#: Connections that libzmq accepts in a second, at most: two io threads, some 50 µs each.
MAX_ACCEPT_RATE = 40_000
#: Seconds between looks: at least, because an accept takes a while; at most, because of names that are missing.
MIN_POLL_INTERVAL = 0.005
MAX_POLL_INTERVAL = 1.0
#: Seconds between looks for room.
FULL_POLL_INTERVAL = 0.05
#: Descriptors that are left free, at most: three listeners with 1,024 in each queue.
MAX_RESERVE = 4_096
EVENT_SOCKETS = ("events-in", "events-out")
MESSAGE_SOCKETS = ("messages",)


class DescriptorLimits:
    """How many descriptors may be in use before something is shut, at a soft limit of `limit`."""

    def __init__(self, limit: int) -> None:
        reserve = min(limit // 4, MAX_RESERVE)
        self.full = limit - reserve
        self.exhausted = limit - reserve // 2
        #: Below it there is room again: not at the mark itself, where one client would open and shut the doors for ever.
        self.reopen = self.full - reserve // 8

    def poll_interval(self, used: int) -> float:
        """Seconds until so many could have come that something must be shut."""
        if used >= self.exhausted:
            return FULL_POLL_INTERVAL  # nobody else can come
        nearest = self.full if used < self.full else self.exhausted
        return min(max((nearest - used) / MAX_ACCEPT_RATE, MIN_POLL_INTERVAL), MAX_POLL_INTERVAL)


def backlog(limit: int) -> int:
    """How many may wait in one listener's queue: they are accepted even when the door is shut."""
    return min(max(limit // 64, 4), 1_024)  # whoever finds it full tries again in 100 ms


def limit_of_descriptors() -> int:
    """The soft limit as it is now: an administrator may change it while we run."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def descriptors_used() -> int:
    """How many are open now."""
    return len(os.listdir("/proc/self/fd")) - 1  # the listing itself has one


class SocketGuard:
    """Looks after the sockets of one proxy, in a thread of its own.

    `bound` says whether events-in is there, too; `full(yes)` is told when newcomers are to be turned away, and when not.
    Both are called on that thread.
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
        #: Why nobody can come any more, if so.
        self.failure: str | None = None
        self._directory = address.directory
        self._bound = bound
        self._full = full
        self._used = used
        self._limit = limit
        self._is_full = False
        self._withdrawn: frozenset[str] = frozenset()
        self._linked: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fabric-sockets", daemon=True)

    def start(self) -> None:
        """Begin. `messages` and `events-out` are bound."""
        self._thread.start()

    def close(self) -> None:
        """Nobody looks after them any more; the hidden names are gone."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._directory is not None:
            for name in (*EVENT_SOCKETS, *MESSAGE_SOCKETS):
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
        """Open and shut what is to be; the seconds until the next look."""
        used, limits = self._used(), DescriptorLimits(self._limit())
        self._update(used, limits)
        if self._directory is not None:
            self._maintain_names(self._directory)
        return limits.poll_interval(used)

    def _update(self, used: int, limits: DescriptorLimits) -> None:
        full = used >= (limits.reopen if self._is_full else limits.full)
        withdrawn = frozenset(
            (*EVENT_SOCKETS, *MESSAGE_SOCKETS) if used >= limits.exhausted else EVENT_SOCKETS if full else ()
        )
        self._withdrawn = withdrawn
        if full == self._is_full:
            return
        self._is_full = full
        if full:
            logger.warning("%d of the file descriptors allowed are in use: newcomers are turned away", used)
        else:
            logger.info("%d file descriptors are in use: there is room again", used)
        self._full(full)

    def _maintain_names(self, directory: Path) -> None:
        for name in (*EVENT_SOCKETS, *MESSAGE_SOCKETS):
            first, hidden = directory / name, _hidden(directory / name)
            if name not in self._linked:
                # A file of that name may be a killed proxy's, until ours is bound.
                if name == "events-in" and not self._bound():
                    continue
                hidden.unlink(missing_ok=True)
                os.link(first, hidden)
                self._linked.add(name)
            if name in self._withdrawn:
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
        temporary.rename(first)  # whoever looks sees one or the other
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
