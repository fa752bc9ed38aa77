"""The settings of a node, and the loader of all settings.

The first source that has a value decides:

    1. argument        a keyword of `connect`, an option of a command
    2. environment     FABRIC_<NAME>
    3. settings file   TOML, at $FABRIC_CONFIG, else ~/.config/fabric/fabric.toml; [fabric] for nodes, [proxy] for the proxy
    4. default         of the dataclass

The values of the setting `url`, and the address without it, are in `fabric.config.address`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fabric.config.address import Address, default_url, parse_address, read_url
from fabric.config.schema import Setting, setting, settings_of, similar, to_text
from fabric.errors import SettingsError
from fabric.protocol.names import check_name

if TYPE_CHECKING:
    from pathlib import Path  # imported where it is used: `import fabric` costs little more than `import zmq`

_MIB = 1024 * 1024
#: The tables of the settings file; a table of another name is an error. The reader of a table checks its content.
TABLES = ("fabric", "proxy", "rules", "routes")
#: Variables that are no settings: the paths of the file and of the embedded default, and the switch for tracebacks.
OTHER_VARIABLES = ("FABRIC_CONFIG", "FABRIC_RUNTIME_DIR", "FABRIC_DEBUG")


def read_endpoint(value: Any) -> str:
    """Reader of the setting `endpoint`: a name, or empty. ValueError or TypeError if it is no endpoint's name."""
    try:
        text = to_text(value)
    except TypeError:
        raise TypeError(f"{value!r} is not text") from None
    return check_name(text) if text else ""


@dataclass(frozen=True)
class Settings:
    """The settings of a node. Numbers are at least 0; durations are seconds, sizes are bytes."""

    url: str = setting(
        "",
        "the proxy's address: `tcp://host:7400` or `ipc:///directory`",
        unit="URL",
        unset="the embedded default",
        read=read_url,
    )
    node: str = setting("", "this node's name", flag="", unset="the program's name and process id")
    endpoint: str = setting(
        "",
        "what this program's endpoint is called, where nobody says: `fabric.endpoint_name()`, `fabric listen`",
        unit="name",
        flag="",
        unset="the program and the host",
        read=read_endpoint,
    )
    autostart: bool = setting(
        True,
        "start a proxy in the background if none answers at the embedded default (nowhere else)",
        flag="--no-autostart",
    )
    max_bytes: int = setting(10 * _MIB, "the largest event or message", unit="bytes", flag="")
    outbox_events: int = setting(
        100_000, "what may wait while the link is down or the proxy is slow", unit="events", flag=""
    )
    outbox_bytes: int = setting(64 * _MIB, "how large all that may be", unit="bytes", flag="")
    outbox_seconds: float = setting(
        60.0,
        "how long one may wait. The oldest are dropped past any of the three, and counted",
        unit="seconds",
        flag="",
    )
    outbox_policy: str = setting(
        "drop_oldest",
        "what goes when it is full: the oldest, what comes last, or all but the `latest` of each topic",
        choices=("drop_oldest", "drop_newest", "latest"),
        flag="",
    )
    inbox_bytes: int = setting(
        64 * _MIB,
        "what may wait here to be delivered while handlers are slow",
        unit="bytes",
        flag="",
    )
    inbox_policy: str = setting(
        "drop_newest",
        "what goes past it: what comes last (it stays in ZeroMQ's pipes, and is a gap when those are full), or the oldest",
        choices=("drop_newest", "drop_oldest"),
        flag="",
    )
    history_bytes: int = setting(
        8 * _MIB,
        "what is kept of the events that left, for subscribers that find that some did not arrive; 0: nothing",
        unit="bytes",
        flag="",
    )
    close_timeout: float = setting(2.0, "what `close()` may take to send what waits", unit="seconds", flag="")

    @property
    def is_default_address(self) -> bool:
        """Whether no source gave a URL."""
        return not self.url

    def address(self) -> Address:
        """The proxy's address, parsed. SettingsError if the URL is no address."""
        return parse_address(self.url or default_url())


_Settings = TypeVar("_Settings")


class FoundSetting(NamedTuple):
    """The effective value of one setting, and its source: `argument`, a variable's name, `file:line` or `default`."""

    setting: Setting
    #: The default if the given value is wrong.
    value: Any
    source: str
    problem: SettingsError | None = None


def load(
    kind: type[_Settings], table: str, arguments: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> _Settings:
    """An instance of the dataclass `kind`, from arguments, environment, the table `table` of the file, and defaults.

    An argument of None counts as not given. `defaults` override those of `kind`. SettingsError for the first problem, with
    its source.
    """
    found, problems = resolve(kind, table, arguments, defaults)
    if problems:
        raise problems[0]
    return kind(**{each.setting.name: each.value for each in found})


def resolve(
    kind: type[Any], table: str, arguments: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> tuple[list[FoundSetting], list[SettingsError]]:
    """Every setting of `kind` with its source, and all problems. Arguments as for `load`."""
    rows = settings_of(kind)
    file, problems = _read(config_path())
    from_file: Mapping[str, Any] = {}
    if not problems:
        problems = _wrong_tables(file, table)
        from_file = file.table(table)
        problems += _wrong_keys(file, table, [row.name for row in rows])
    found = []
    for row in rows:
        default = row.default if defaults is None else defaults.get(row.name, row.default)
        typed = False
        if arguments.get(row.name) is not None:
            source, value = "argument", arguments[row.name]
        elif row.variable in os.environ:
            source, value = row.variable, os.environ[row.variable]
        elif row.name in from_file:
            source, value = file.where(table, row.name), from_file[row.name]
            typed = True
        else:
            found.append(FoundSetting(row, default, "default"))
            continue
        try:
            found.append(FoundSetting(row, row.convert(value, typed=typed), source))
        except ValueError as error:
            problems.append(SettingsError(row.name, source, str(error)))
            found.append(FoundSetting(row, default, source, problems[-1]))
    return found, problems


def unknown_variables(*kinds: type[Any]) -> list[str]:
    """Variables `FABRIC_*` of the environment that are no settings of `kinds`. No error: another program may use them."""
    known = {*OTHER_VARIABLES, *(row.variable for kind in kinds for row in settings_of(kind))}
    return sorted(name for name in os.environ if name.startswith("FABRIC_") and name not in known)


# The file


def config_path() -> Path:
    """The path of the settings file, which need not exist."""
    from pathlib import Path

    if named := os.environ.get("FABRIC_CONFIG"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "fabric" / "fabric.toml"


class SettingsTable(NamedTuple):
    """A table of the settings file without a settings class. Its reader checks the content."""

    values: dict[str, Any]
    #: `file:line` of the item at these keys, or of its nearest ancestor in the file; without keys, of the table.
    where: Callable[..., str]


def read_table(name: str) -> SettingsTable:
    """The content of the table `name`; empty if it is not in the file. SettingsError if the file cannot be read."""
    file, problems = _read(config_path())
    problems += [] if problems else _wrong_tables(file, name)
    if problems:
        raise problems[0]

    def where(*keys: str | int) -> str:
        from fabric.config.toml_lines import line_of

        for count in range(len(keys), -1, -1):
            if (line := line_of(file.text, (name, *keys[:count]))) is not None:
                return f"{file.path}:{line}"
        return f"{file.path} [{name}]"

    return SettingsTable(file.table(name), where)


class _File(NamedTuple):
    path: Path
    text: str
    document: dict[str, Any]

    def table(self, name: str) -> dict[str, Any]:
        """The content of the table; empty if it is absent or no table."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}

    def where(self, *keys: str) -> str:
        """`file:line` of a table or a key; `file [table]` if the line is unknown."""
        from fabric.config.toml_lines import line_of  # imported here, because most processes have no file

        line = line_of(self.text, keys)
        return f"{self.path} [{keys[0]}]" if line is None else f"{self.path}:{line}"


def _read(path: Path) -> tuple[_File, list[SettingsError]]:
    empty = _File(path, "", {})
    if not path.is_file() and not os.environ.get("FABRIC_CONFIG"):
        return empty, []
    import tomllib  # imported here, because most processes have no file

    try:
        text = path.read_text(encoding="utf-8")
        return _File(path, text, tomllib.loads(text)), []
    except FileNotFoundError:
        problem = SettingsError("FABRIC_CONFIG", "environment", f"there is no file {path}")
    except OSError as error:
        problem = SettingsError("settings file", str(path), f"cannot be read: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = SettingsError("settings file", str(path), f"is no TOML: {error}")
    except RecursionError:
        problem = SettingsError("settings file", str(path), "is nested too deeply")
    return empty, [problem]


def _wrong_tables(file: _File, name: str) -> list[SettingsError]:
    problems = []
    for key, value in file.document.items():
        if key in (*TABLES, name):
            if key == name and not isinstance(value, dict):
                problems.append(SettingsError(key, file.where(key), f"[{key}] is a table"))
        elif isinstance(value, dict | list):
            problem = f"there is no such table{similar(key, TABLES)}"
            problems.append(SettingsError(f"[{key}]", file.where(key), problem))
        else:
            problem = "is in no table: settings stand below [fabric] (nodes) or [proxy]"
            problems.append(SettingsError(key, file.where(key), problem))
    return problems


def _wrong_keys(file: _File, name: str, known: list[str]) -> list[SettingsError]:
    problems = []
    for key in file.table(name):
        if key not in known:
            hint = similar(key, known) or f"; known are {', '.join(sorted(known))}"
            problems.append(SettingsError(key, file.where(name, key), f"there is no such setting in [{name}]{hint}"))
    return problems
