"""What the proxy can be told; loaded like a node's settings (see `fabric.settings`), from the table `[proxy]`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import orjson

from fabric.settings import Address, default_url, parse_address
from proxy.hooks import Argv, read_hooks

_MIB = 1024 * 1024


@dataclass(frozen=True)
class ProxySettings:
    """Durations are seconds, sizes bytes."""

    #: Where to listen; empty: the embedded default.
    url: str = ""
    #: Listen on other than loopback addresses although nothing is encrypted and anybody may connect.
    insecure: bool = False
    #: The largest event or message.
    max_bytes: int = 10 * _MIB
    #: What one peer that does not read may pile up here.
    peer_bytes: int = 64 * _MIB
    #: How long publishers wait after a start, so that subscribers are back first: three reconnect intervals.
    settle: float = 0.3
    #: How long a node may be silent before it counts as lost.
    timeout: float = 15.0
    #: End when no node has been here for so long; 0: never.
    idle_exit: float = 0.0
    #: Programs that run after a message was routed; see `proxy.hooks`.
    hooks: tuple[Argv, ...] = field(default=(), metadata={"read": read_hooks})
    #: How long a hook may run before it is ended.
    hook_timeout: float = 30.0
    #: How many of one hook may run at a time, and how many messages may wait for it.
    hook_concurrency: int = 4
    hook_queue: int = 1_000
    #: Log to this file instead of stderr.
    log_file: str = ""
    #: The log file is put aside when it has so many bytes (0: never), and so many old ones are kept.
    log_bytes: int = 10 * _MIB
    log_backups: int = 3

    def address(self) -> Address:
        """Where to listen, taken apart. SettingsError if it is no address."""
        return parse_address(self.url or default_url())

    def arguments(self) -> list[str]:
        """The arguments with which `python -m proxy` has the same settings, whatever is in environment and files."""
        found: list[str] = []
        for each in fields(self):
            value, option = getattr(self, each.name), "--" + each.name.replace("_", "-")
            if each.name == "hooks":
                for hook in [orjson.dumps(argv).decode() for argv in value] or ["none"]:
                    found += ["--hook", hook]
            elif value is True:
                found.append(option)
            elif value is not False and value != "":
                found += [option, str(value)]
        return found
