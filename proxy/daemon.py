"""A proxy in the background: started, stopped, and looked after by whoever may.

    start ── does one answer? ──yes──▸ that one
               └──no──▸ `python -P -m proxy --background`, which returns when it serves ──▸ ask it who it is
    stop  ── STOP to the socket ──▸ wait until nothing listens and its lock is free

Nothing here reads a pid file, and nothing is ever signalled: a number in a file is the number of whoever has it now. Who
is there, and that it ended, is asked of the address itself; however many start at once, one wins, and the rest find it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from fabric.config.settings import Address, default_url, parse_address
from fabric.errors import ProxyError
from fabric.system.autostart import LOG_NAME, START_TIMEOUT, private_directory, spawn
from proxy import client
from proxy.server import LOCK_NAME
from proxy.settings import ProxySettings

#: Seconds that a proxy may take to end: goodbyes, hooks that are told to end, a busy machine.
STOP_TIMEOUT = 10.0
_POLL_INTERVAL = 0.01
#: Lines of its log that are shown when it did not start, and how far back they are looked for.
_MAX_LINES = 5
_MAX_TAIL_BYTES = 16 * 1024


class Started(NamedTuple):
    """A proxy that is there; `fresh` if this call has started it."""

    status: client.Status
    fresh: bool


class StartFailed(ProxyError):
    """A proxy was started, and ended at once. `lines` is what it logged last."""

    def __init__(self, problem: str, lines: list[str]) -> None:
        super().__init__(problem)
        self.lines = lines


def start(
    settings: ProxySettings, timeout: float = START_TIMEOUT, *, answer_timeout: float = client.TIMEOUT
) -> Started:
    """Start a proxy with these settings in the background, unless one answers at its address already.

    NotReachable or NotAnswering if that cannot be told. StartFailed says why it ended.
    """
    address = settings.address()
    deadline = monotonic() + timeout
    log = log_path(settings)
    if not settings.log_file:
        private_directory(log.parent)
    while True:
        try:
            return Started(client.status(address, answer_timeout), False)
        except client.NotRunning:
            pass
        fresh = _spawn(settings, log, max(deadline - monotonic(), 1.0))
        try:
            return Started(client.status(address, answer_timeout), fresh)
        except client.NotRunning:
            # Another one held the lock, and was about to end; or has it, and is about to listen.
            if fresh or monotonic() > deadline:
                raise
            sleep(_POLL_INTERVAL)


def _spawn(settings: ProxySettings, log: Path, timeout: float) -> bool:
    before = log.stat().st_size if log.exists() else 0
    try:
        return spawn(replace(settings, log_file=str(log)).arguments(), log, timeout=timeout)
    except ProxyError as error:
        with contextlib.suppress(client.NoAnswer):
            # At a tcp address there is no lock: of two, the one that is late fails to bind.
            client.status(settings.address())
            return False
        raise StartFailed(str(error), _last_lines(log, before)) from None


def stop(
    address: Address, timeout: float = STOP_TIMEOUT, *, answer_timeout: float = client.TIMEOUT
) -> client.Status | None:
    """Stop the proxy at `address`, and return when it is gone: what it last said. None if there is none.

    NotReachable or NotAnswering if it cannot be asked, ProxyError if it will not, or has not ended in time.
    """
    deadline = monotonic() + timeout
    try:
        status = client.status(address, answer_timeout)
        client.stop(address, answer_timeout)
    except client.NotRunning:
        return None
    while not _is_gone(address):
        if monotonic() > deadline:
            raise ProxyError(f"the proxy at {address.url} ({status.who}) is still there after {timeout:g} s")
        sleep(_POLL_INTERVAL)
    return status


def _is_gone(address: Address) -> bool:
    try:
        client.check(address)
    except client.NotRunning:
        return address.directory is None or _is_free(address.directory / LOCK_NAME)
    except client.NoAnswer:
        pass
    return False


def _is_free(lock: Path) -> bool:
    # Its sockets go first, its lock last; only then can the next one start.
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def log_path(settings: ProxySettings) -> Path:
    """Where a proxy in the background logs: where it is told to, else in its directory; for tcp in that of the embedded
    default."""
    if settings.log_file:
        return Path(settings.log_file).expanduser().absolute()
    address = settings.address()
    if address.directory is not None:
        return address.directory / LOG_NAME
    directory = parse_address(default_url()).directory
    assert directory is not None  # the embedded default is always ipc
    host = "".join(character if character.isalnum() else "-" for character in address.host)
    return directory / f"proxy-{host}-{address.port}.log"


def lock_says(address: Address) -> str:
    """Who wrote into the lock file that it has the address; a hint for people when nobody answers."""
    if address.directory is None:
        return ""
    try:
        return (address.directory / LOCK_NAME).read_text(errors="replace").strip()
    except OSError:
        return ""


def _last_lines(log: Path, since: int) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - _MAX_TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-_MAX_LINES:]
    except OSError:
        return []
