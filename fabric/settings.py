"""Settings: where they come from, what they may be, and where a proxy is when nobody says.

Each is looked for in this order: the argument (a keyword of `connect`, an option of a command), the environment variable
`FABRIC_<NAME>`, the settings file's table, the default. The file is TOML, at `$FABRIC_CONFIG` or else
`~/.config/fabric/fabric.toml`; `[fabric]` is for nodes, `[proxy]` for the proxy.

One address names a proxy:

    tcp://host:7400      messages on 7400, events in on 7401, events out on 7402
    ipc:///run/fabric    the sockets `messages`, `events-in`, `events-out` in that directory

Without one it is the **embedded default**, one per user: the folder `fabric` in `$FABRIC_RUNTIME_DIR` if that is set,
else in `/run/user/$UID` where that exists, else in `$XDG_RUNTIME_DIR`, else `fabric-$UID` in the temporary directory.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fabric.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path  # imported where it is used: `import fabric` costs little more than `import zmq`

DEFAULT_PORT = 7400
#: sockaddr_un.sun_path holds 108 bytes with its NUL.
_MAX_IPC_PATH = 107
_MIB = 1024 * 1024


class Address(NamedTuple):
    """Where a proxy is: the three ZeroMQ endpoints that one URL stands for."""

    url: str
    messages: str
    events_in: str
    events_out: str
    #: The directory of an ipc address.
    directory: Path | None
    #: Host and first port of a tcp address.
    host: str = ""
    port: int = 0


@dataclass(frozen=True)
class Settings:
    """What a node can be told. Numbers are at least 0; durations are seconds, sizes bytes."""

    #: The proxy's address; empty: the embedded default.
    url: str = ""
    #: The node's name; empty: the program's name and the process id.
    node: str = ""
    #: Start a proxy in the background if none answers at the embedded default.
    autostart: bool = True
    #: The largest event or message.
    max_bytes: int = 10 * _MIB
    #: What may wait while the link is down or the proxy is slow: events, bytes, seconds.
    outbox_events: int = 100_000
    outbox_bytes: int = 64 * _MIB
    outbox_seconds: float = 60.0
    #: How long `close` may take to send what waits.
    close_timeout: float = 2.0

    @property
    def is_default_address(self) -> bool:
        """Whether nobody named a proxy."""
        return not self.url

    def address(self) -> Address:
        """The proxy's address, taken apart. SettingsError if it is none."""
        return parse_address(self.url or default_url())


_Settings = TypeVar("_Settings")


def load(kind: type[_Settings], table: str, arguments: Mapping[str, Any]) -> _Settings:
    """Make `kind` (a dataclass) of arguments, environment, file and defaults. SettingsError says what is wrong where.

    An argument of None counts as not given.
    """
    path = config_path()
    from_file = _read(path, table)
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for name in from_file:
        if name not in names:
            known = ", ".join(sorted(names))
            raise SettingsError(name, f"{path} [{table}]", f"there is no such setting; known are {known}")
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        variable = f"FABRIC_{field.name.upper()}"
        if arguments.get(field.name) is not None:
            source, value = "argument", arguments[field.name]
        elif variable in os.environ:
            source, value = variable, os.environ[variable]
        elif field.name in from_file:
            source, value = f"{path} [{table}]", from_file[field.name]
        else:
            continue
        values[field.name] = _convert(field, source, value)
    return kind(**values)


def config_path() -> Path:
    """Where the settings file is looked for."""
    from pathlib import Path

    if named := os.environ.get("FABRIC_CONFIG"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "fabric" / "fabric.toml"


def _read(path: Path, table: str) -> dict[str, Any]:
    if not path.is_file() and not os.environ.get("FABRIC_CONFIG"):
        return {}
    import tomllib  # most processes have no file, and need not pay for a parser

    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SettingsError("FABRIC_CONFIG", "environment", f"there is no file {path}") from None
    except OSError as error:
        raise SettingsError("settings file", str(path), f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("settings file", str(path), f"is no TOML: {error}") from None
    found = document.get(table, {})
    if not isinstance(found, dict):
        raise SettingsError(table, str(path), f"[{table}] is a table")
    return found


def _convert(field: dataclasses.Field[Any], source: str, value: Any) -> Any:
    kind = type(field.default)
    #: A field may bring its own reader along, whose ValueError or TypeError says what is wrong.
    read: Callable[[Any], Any] | None = field.metadata.get("read")
    try:
        return _CONVERTERS[kind](value) if read is None else read(value)
    except (ValueError, TypeError) as error:
        problem = f"{value!r} is not {_EXPECTED[kind]}" if read is None else str(error)
        raise SettingsError(field.name, source, problem) from None


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(value)


def _to_number(kind: type[int] | type[float]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(value)  # noqa: TRY004 - reported as a wrong value
        number = kind(value)
        if not 0 <= number < float("inf"):
            raise ValueError(value)
        return number

    return convert


def _to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value.strip()


def _to_list(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        raise TypeError(value)
    return tuple(value)


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    bool: _to_bool,
    int: _to_number(int),
    float: _to_number(float),
    str: _to_text,
    tuple: _to_list,
}
_EXPECTED = {
    bool: "a yes or no (1, 0, true, false)",
    int: "a whole number of at least 0",
    float: "a number of at least 0",
    str: "text",
    tuple: "a list",
}


def default_url() -> str:
    """The embedded default's address: one proxy per user."""
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


def parse_address(url: str) -> Address:
    """Take `tcp://host[:port]` or `ipc:///absolute/directory` apart. SettingsError if it is neither."""

    def wrong(problem: str) -> SettingsError:
        hint = "addresses look like tcp://127.0.0.1:7400 or ipc:///run/fabric"
        return SettingsError("url", repr(url), f"{problem}; {hint}")

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


def replace(settings: Settings, **changes: Any) -> Settings:
    """`settings` with some of them changed."""
    return dataclasses.replace(settings, **changes)
