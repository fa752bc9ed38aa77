"""Checks that need no proxy: settings, the address, its directory, and the limits of this process."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cli.doctor.findings import Finding, ok, warning, wrong
from fabric.config.address import Address, default_url, parse_address
from fabric.config.schema import settings_of, similar
from fabric.config.settings import Settings, config_path, resolve, unknown_variables
from fabric.errors import SettingsError
from proxy.settings import ProxySettings

#: A node needs some 25 descriptors; with fewer than this, a program that opens files of its own may run out.
MIN_DESCRIPTORS = 256
SOCKETS = ("messages", "events-in", "events-out")
_NODE, _PROXY = "fabric", "proxy"


class Place(NamedTuple):
    """The address at which the proxy should be, and where that was set."""

    address: Address
    source: str
    #: It is the embedded default, where a proxy is started when it is needed.
    is_default: bool
    autostart: bool


def settings(url: str | None) -> tuple[Place | None, list[Finding]]:
    """Whether all settings are right; and the place of the proxy, None if its address is wrong."""
    problems: dict[str, SettingsError] = {}
    rows, found = resolve(Settings, _NODE, {"url": url})
    _, others = resolve(ProxySettings, _PROXY, {"url": url})
    for problem in (*found, *others):
        problems.setdefault(str(problem), problem)
    findings = [
        wrong("settings", text, "mend it there; fabric config shows all settings and their sources")
        for text in problems
    ]
    known = [row.variable for kind in (Settings, ProxySettings) for row in settings_of(kind)]
    for name in unknown_variables(Settings, ProxySettings):
        fix = "unset it, unless it is another program's"
        findings.append(warning("settings", f"the variable {name} is no setting{similar(name, known)}", fix))
    path = config_path()
    if not findings:
        findings.append(
            ok("settings", f"from {path}" if path.is_file() else f"there is no file {path}, and none is needed")
        )
    values = {each.setting.name: each for each in rows}
    named = values["url"]
    if named.problem is not None:
        return None, findings
    try:
        address = parse_address(named.value or default_url())
    except SettingsError as error:  # the embedded default may be too long for a socket
        return None, [
            *findings,
            wrong("address", str(error), "set FABRIC_RUNTIME_DIR to a directory with a shorter name"),
        ]
    source = f"from {_said(named.source, url)}" if named.value else f"the embedded default, {_default_source()}"
    place = Place(address, source, not named.value, bool(values["autostart"].value))
    return place, [*findings, ok("address", f"{address.url}, {source}")]


def _said(source: str, url: str | None) -> str:
    return "--url" if source == "argument" and url is not None else source


def _default_source() -> str:
    uid = os.getuid()
    if os.environ.get("FABRIC_RUNTIME_DIR"):
        return "in FABRIC_RUNTIME_DIR"
    if Path(f"/run/user/{uid}").is_dir():
        return f"in /run/user/{uid}"
    return "in XDG_RUNTIME_DIR" if os.environ.get("XDG_RUNTIME_DIR") else "in the temporary directory"


# The directory


def directory(place: Place) -> list[Finding]:
    """Whether only we can use the directory of an ipc address. Changes nothing."""
    path = place.address.directory
    if path is None:
        return []
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return list(_parent(path))
    except OSError as error:
        return [wrong("directory", f"cannot look at {path}: {error.strerror}", f"look at the rights of {path.parent}")]
    if stat.S_ISLNK(facts.st_mode):
        fix = f"rm {path}; a proxy makes the directory anew"
        return [wrong("directory", f"{path} is a link: whoever made it chose where the sockets are", fix)]
    if not stat.S_ISDIR(facts.st_mode):
        return [wrong("directory", f"{path} is no directory", "move it away, or choose another address")]
    if facts.st_uid != os.geteuid():
        text = f"{path} belongs to user {facts.st_uid}, and we are {os.geteuid()}"
        return [wrong("directory", text, "choose another address, or run as that user")]
    if facts.st_mode & 0o077:
        text = f"{path} is open to others (mode {facts.st_mode & 0o777:04o}): no proxy starts there"
        return [wrong("directory", text, f"chmod 700 {path}")]
    return [ok("directory", f"{path} is ours alone (0700)")]


def _parent(path: Path) -> Iterator[Finding]:
    parent = path.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if os.access(parent, os.W_OK | os.X_OK):
        yield ok("directory", f"{path} is not there yet; a proxy makes it")
    else:
        text = f"{path} is not there, and cannot be made: {parent} is not ours to write to"
        yield wrong("directory", text, "choose another address, or have the directory made, 0700 and ours")


def leftovers(address: Address) -> list[str]:
    """Names of the socket files at the address. If no proxy runs, they were left by one that was killed."""
    if address.directory is None:
        return []
    return [name for name in SOCKETS if (address.directory / name).is_socket()]


def is_locked(address: Address) -> bool:
    """Whether a process holds the lock of an ipc address: a proxy that runs, starts, or ends."""
    from proxy.server import LOCK_NAME

    if address.directory is None:
        return False
    try:
        with (address.directory / LOCK_NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine is stopped (Ctrl-Z, SIGSTOP). It is not touched."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


# This process


def limits() -> list[Finding]:
    """Whether processes that are started from here may open enough descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{_limit(soft)} descriptors here, {_limit(hard)} if asked for"
    if soft != resource.RLIM_INFINITY and soft < MIN_DESCRIPTORS:
        return [warning("limits", f"{text}: a node needs some 25 of them", "ulimit -n 1024")]
    return [ok("limits", text)]


def _limit(number: int) -> str:
    return "any number of" if number == resource.RLIM_INFINITY else f"{number:,}"
