"""Starts and stops a proxy in the background.

    start ── does a proxy answer? ──yes──▸ that one
               └──no──▸ `python -P -m proxy --background`, which returns when it serves ──▸ ask it for its status
    stop  ── STOP to the socket ──▸ wait until nothing listens and its lock is free

No pid file is read and no process is signalled: the number in a file may be that of another process by now. Whether a
proxy runs, and that it ended, is asked of the address itself. Of several that start at once one wins; the others find it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from fabric.config.address import Address, default_url, parse_address
from fabric.errors import ProxyError
from fabric.system.autostart import LOG_NAME, START_TIMEOUT, private_directory, spawn
from proxy import client
from proxy.server import LOCK_NAME
from proxy.settings import ProxySettings

#: Seconds that a proxy may take to end: it says BYE to its nodes and ends its hooks; on a busy machine both take long.
STOP_TIMEOUT = 10.0
_POLL_INTERVAL = 0.01
#: Lines of the log shown when a start failed, and the bytes at its end that are searched for them.
_MAX_LINES = 5
_MAX_TAIL_BYTES = 16 * 1024


class Started(NamedTuple):
    """A running proxy; `fresh` if this call started it."""

    status: client.Status
    fresh: bool


class StartFailed(ProxyError):
    """A proxy was started and ended at once. `lines` are the last ones that it logged."""

    def __init__(self, problem: str, lines: list[str]) -> None:
        super().__init__(problem)
        self.lines = lines


def start(
    settings: ProxySettings, timeout: float = START_TIMEOUT, *, answer_timeout: float = client.TIMEOUT
) -> Started:
    """Start a proxy with these settings in the background, unless a proxy answers at its address already.

    `answer_timeout` limits each query. NotReachable or NotAnswering if it is unknown whether one runs, StartFailed if it
    ended at once.
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
            # Another proxy held the lock and was about to end, or holds it and does not listen yet.
            if fresh or monotonic() > deadline:
                raise
            sleep(_POLL_INTERVAL)


def _spawn(settings: ProxySettings, log: Path, timeout: float) -> bool:
    before = log.stat().st_size if log.exists() else 0
    try:
        return spawn(replace(settings, log_file=str(log)).arguments(), log, timeout=timeout)
    except ProxyError as error:
        with contextlib.suppress(client.NoAnswer):
            # At a tcp address there is no lock: of two proxies the later one fails to bind.
            client.status(settings.address())
            return False
        raise StartFailed(str(error), _last_lines(log, before)) from None


def stop(
    address: Address, timeout: float = STOP_TIMEOUT, *, answer_timeout: float = client.TIMEOUT
) -> client.Status | None:
    """Stop the proxy at `address`, wait until it has ended, and return its last status; None if no proxy runs.

    NotReachable or NotAnswering if it cannot be asked, ProxyError if it refuses or has not ended within `timeout` seconds.
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
    # It removes its sockets first and releases its lock last; only then can the next proxy start.
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def log_path(settings: ProxySettings) -> Path:
    """The log file of a proxy in the background: the setting, else a file in its directory; for tcp in the directory of
    the embedded default."""
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
    """The holder that the lock file names, empty if none; a hint for people when the proxy does not answer."""
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
