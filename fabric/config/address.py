"""The address of a proxy: one URL for its three ZeroMQ endpoints.

    tcp://host:7400      messages on 7400, events in on 7401, events out on 7402
    ipc:///run/fabric    the sockets `messages`, `events-in`, `events-out` in that directory

Without a URL the address is the **embedded default**, one per user: the folder `fabric` in `$FABRIC_RUNTIME_DIR` if that is
set, else in `/run/user/$UID` if that exists, else in `$XDG_RUNTIME_DIR`, else `fabric-$UID` in the temporary directory.

This module parses URLs and reads the environment. It opens no socket, and does not check whether a proxy is there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from fabric.config.schema import to_text
from fabric.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path  # imported where it is used: `import fabric` costs little more than `import zmq`

DEFAULT_PORT = 7400
#: sockaddr_un.sun_path holds 108 bytes with its NUL.
_MAX_IPC_PATH = 107


class Address(NamedTuple):
    """A parsed URL: the three ZeroMQ endpoints of one proxy."""

    url: str
    messages: str
    events_in: str
    events_out: str
    #: The directory of an ipc address.
    directory: Path | None
    #: Host and first port of a tcp address.
    host: str = ""
    port: int = 0


def parse_address(url: str) -> Address:
    """Parse `tcp://host[:port]` or `ipc:///absolute/directory`. SettingsError for any other text."""
    try:
        return _parse(url)
    except ValueError as error:
        raise SettingsError("url", repr(url), str(error)) from None


def read_url(value: Any) -> str:
    """Reader of the setting `url`: the text unchanged, empty for the embedded default.

    ValueError if it is no address, TypeError if it is no text.
    """
    try:
        text = to_text(value)
    except TypeError:
        raise TypeError(f"{value!r} is not text") from None
    try:
        if text:
            _parse(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return text


def default_url() -> str:
    """The URL of the embedded default: one proxy per user."""
    from pathlib import Path

    uid = os.getuid()
    if named := os.environ.get("FABRIC_RUNTIME_DIR"):
        return f"ipc://{Path(named).absolute() / 'fabric'}"
    if (run := Path(f"/run/user/{uid}")).is_dir():
        return f"ipc://{run / 'fabric'}"
    if run_dir := os.environ.get("XDG_RUNTIME_DIR"):
        return f"ipc://{Path(run_dir) / 'fabric'}"
    import tempfile  # the last resort only

    return f"ipc://{Path(tempfile.gettempdir()) / f'fabric-{uid}'}"


def _parse(url: str) -> Address:
    def wrong(problem: str) -> ValueError:
        return ValueError(f"{problem}; addresses look like tcp://127.0.0.1:7400 or ipc:///run/fabric")

    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("tcp", "ipc"):
        raise wrong("no such kind of address")
    if scheme == "ipc":
        from pathlib import Path

        directory = Path(rest)
        if not directory.is_absolute():
            raise wrong("the directory must be absolute")
        if len(os.fsencode(directory / "events-out")) > _MAX_IPC_PATH:
            raise wrong(f"the path is too long for a socket ({_MAX_IPC_PATH} bytes with /events-out)")
        base = f"ipc://{directory}"
        return Address(base, f"{base}/messages", f"{base}/events-in", f"{base}/events-out", directory)
    host, colon, port_text = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port_text = rest, str(DEFAULT_PORT)
    if not host or not port_text.isdecimal() or not 1 <= int(port_text) <= 65_533:
        raise wrong("host or port is missing or wrong (the port and the two above it are used)")
    port = int(port_text)
    base = f"tcp://{host}"
    return Address(f"{base}:{port}", f"{base}:{port}", f"{base}:{port + 1}", f"{base}:{port + 2}", None, host, port)
