"""Starts a proxy in the background: the embedded default.

Only at the default address, whose directory belongs to this user alone. If several processes start one at the same time,
one proxy remains: a proxy takes a lock before it binds, and exits if another one has it. The proxy runs in a session of its
own, from `/`, with `python -P`, so that a file `proxy.py` in the working directory is never run in its place.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

from fabric.config.address import Address
from fabric.errors import ProxyError

logger = logging.getLogger("fabric.link")

LOG_NAME = "proxy.log"
_START_LOCK = "start.lock"
#: Seconds until a started proxy must answer: the start of Python, the import of zmq, a busy machine.
START_TIMEOUT = 15.0
#: Seconds between checks whether a proxy answers, and whether the start lock is free.
POLL_INTERVAL = 0.01
#: Exit status of a background start that found another proxy at its address.
TAKEN = 4


def answers(address: Address) -> bool:
    """Whether a process accepts connections at `address`. It need not be a proxy, nor a healthy one."""
    if address.directory is None:
        try:
            socket.create_connection((address.host.strip("[]"), address.port), timeout=1.0).close()
        except OSError:
            return False
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(1.0)
        try:
            trial.connect(str(address.directory / "messages"))
        except OSError:
            return False
    return True


def private_directory(directory: Path) -> None:
    """Create `directory` with mode 0700. ProxyError if it is a link, of another user, or accessible to others."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.lstat()
    except OSError as error:
        raise ProxyError(f"cannot make the directory {directory}: {error.strerror}") from None
    if not directory.is_dir() or directory.is_symlink():
        raise ProxyError(f"{directory} is no directory, or a link to one: sockets go into a directory that is ours")
    if facts.st_uid != os.geteuid():
        raise ProxyError(f"{directory} belongs to user {facts.st_uid}, not to us ({os.geteuid()})")
    if facts.st_mode & 0o077:
        raise ProxyError(
            f"{directory} is open to others (mode {facts.st_mode & 0o777:04o}): whoever can reach the sockets can read "
            f"and publish everything. Mend it with: chmod 700 {directory}"
        )


def ensure_proxy(address: Address, *, timeout: float = START_TIMEOUT) -> bool:
    """Start a proxy at `address` (ipc) in the background unless one answers. Whether this call started one.

    Blocks until it answers. ProxyError if it does not within `timeout` seconds; the reason is in its log.
    """
    if answers(address):
        return False
    directory = address.directory
    assert directory is not None  # the embedded default is always ipc
    private_directory(directory)
    deadline = monotonic() + timeout
    with (directory / _START_LOCK).open("w") as lock:
        # One process starts the proxy. The others wait for this lock, and then find it running: twenty interpreters that
        # start at once, of which one wins, would only be slow.
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if answers(address):
                    return False
                if monotonic() > deadline:
                    raise ProxyError(f"no proxy came up at {address.url} within {timeout:g} s") from None
                sleep(POLL_INTERVAL)
        try:
            if answers(address):
                return False
            spawn(["--url", address.url], directory / LOG_NAME, timeout=timeout)
            while not answers(address):
                if monotonic() > deadline:
                    raise ProxyError(f"the proxy started at {address.url} did not answer; see {directory / LOG_NAME}")
                sleep(POLL_INTERVAL)
        finally:
            # Unlocked before the file is closed: a child that was forked meanwhile has a copy of the descriptor, and would
            # keep the lock for life.
            fcntl.flock(lock, fcntl.LOCK_UN)
    logger.info("started a proxy in the background at %s", address.url)
    return True


def spawn(arguments: Sequence[str], log: Path, *, timeout: float = START_TIMEOUT) -> bool:
    """Run `python -m proxy --background` with `arguments`, and block until it serves. Its output is appended to `log`.

    False if another proxy holds the address, which serves the caller as well. ProxyError if it exited before it served.
    """
    # -P and `/`: a file proxy.py in the working directory is never run in its place.
    command = [sys.executable, "-P", "-m", "proxy", "--background", *arguments]
    environment = dict(os.environ)
    if named := environment.get("FABRIC_CONFIG"):
        environment["FABRIC_CONFIG"] = str(Path(named).expanduser().absolute())
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise ProxyError(f"cannot write the log {log}: {error.strerror}") from None
    try:
        # The command forks once more and exits, so that the proxy is no child of this process.
        status = subprocess.run(
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            timeout=timeout,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise ProxyError(f"the proxy that was started did not serve within {timeout:g} s; see {log}") from None
    except OSError as error:
        raise ProxyError(f"cannot start a proxy in the background: {error}") from None
    finally:
        os.close(descriptor)
    if status not in (0, TAKEN):
        raise ProxyError(f"the proxy that was started ended at once; see {log}")
    return status == 0
