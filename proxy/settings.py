"""The settings of a proxy: the table `[proxy]`, and how values of its own types are read.

`fabric.config` is the loader: it finds values in arguments, environment and file, for nodes and proxies alike. This module
only declares the settings, their defaults and their help, and the readers for hooks, patterns and HOST:PORT.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

import orjson

from fabric.config.address import Address, default_url, parse_address, read_url
from fabric.config.schema import setting, settings_of, to_text
from fabric.protocol.topics import RESERVED, check_pattern, is_reserved

#: A hook: a program and its arguments.
Argv = tuple[str, ...]

_MIB = 1024 * 1024
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


def _items(text: str) -> object:
    """The items of a setting given as text: a JSON array, or a list with commas. ValueError if it is a wrong array."""
    text = text.strip()
    if not text.startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{text!r} is no JSON array: {error}") from None


def read_host_port(value: Any) -> str:
    """`HOST:PORT` unchanged, or empty. ValueError or TypeError for another value."""
    try:
        text = to_text(value)
    except TypeError:
        raise TypeError(f"{value!r} is not text") from None
    host, _, port = text.rpartition(":")
    is_host = bool(host) and (":" not in host or (host.startswith("[") and host.endswith("]")))
    if text and not (is_host and port.isascii() and port.isdecimal() and int(port) <= 65_535):
        raise ValueError(f"{value!r} is not HOST:PORT, such as 127.0.0.1:7480 or [::1]:7480")
    return text


def read_patterns(value: Any) -> tuple[str, ...]:
    """Patterns of topics: a list, or text: patterns with commas between them, a JSON array, or `none`.

    ValueError or TypeError names the wrong pattern.
    """
    if isinstance(value, str):
        value = _items(value)
    if not isinstance(value, list | tuple):
        raise TypeError(f"patterns are a list such as state.**,config.*, not {value!r}")
    items = [each.strip() if isinstance(each, str) else each for each in value]
    if [str(each).lower() for each in items] == ["none"]:
        return ()
    for each in items:
        if is_reserved(check_pattern(each)):
            raise ValueError(f"pattern {each!r}: {RESERVED!r} and below are the system's own, and not retained")
    return tuple(dict.fromkeys(items))


def read_hooks(value: object) -> tuple[Argv, ...]:
    """Hooks: a list of programs, or text. ValueError or TypeError names the wrong hook.

    A program is a path, or a list of a path and arguments; text is paths with commas between them, a JSON array of
    programs, or `none`. A program without a slash is searched for in PATH. Programs are checked here, so that a missing one
    prevents the start of the proxy, instead of failing at the first message.
    """
    if isinstance(value, str):
        value = _items(value)
    if not isinstance(value, list | tuple):
        raise TypeError(f"hooks are a list of programs, not {value!r}")
    items = list(value)
    if len(items) == 1 and isinstance(items[0], str) and items[0].strip().lower() == "none":
        return ()
    return tuple(_argv(item, number) for number, item in enumerate(items, 1))


def _argv(item: object, number: int) -> Argv:
    if isinstance(item, str) and item.lstrip().startswith("["):
        item = _items(item)  # a program with arguments, the value of one option
    words = [item] if isinstance(item, str) else item
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"hook {number} is a path, or a list of a path and its arguments, not {item!r}")
    if not words or not words[0].strip() or any("\0" in word for word in words):
        raise ValueError(f"hook {number} names no program: {item!r}")
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        raise ValueError(f"hook {number} is no valid Unicode: {item!r}") from None
    return (_program(words[0].strip(), number), *words[1:])


def _program(named: str, number: int) -> str:
    if "/" not in named:
        if (found := shutil.which(named)) is None:
            raise ValueError(f"hook {number}: there is no program {named!r} in PATH")
        return os.path.abspath(found)
    path = os.path.abspath(os.path.expanduser(named))
    if not os.path.exists(path):
        raise ValueError(f"hook {number}: there is no file {path}")
    if not os.path.isfile(path):
        raise ValueError(f"hook {number}: {path} is no file")
    if not os.access(path, os.X_OK):
        raise ValueError(f"hook {number}: {path} is not executable; mend it with: chmod +x {path}")
    return path


@dataclass(frozen=True)
class ProxySettings:
    """Durations are seconds, sizes bytes."""

    url: str = setting(
        "",
        "where to listen: `tcp://127.0.0.1:7400` or `ipc:///run/fabric`",
        unit="URL",
        unset="the embedded default",
        read=read_url,
    )
    insecure: bool = setting(False, "listen on addresses that other machines can reach, although nothing is encrypted")
    max_bytes: int = setting(10 * _MIB, "the largest event or message", unit="bytes")
    peer_bytes: int = setting(
        64 * _MIB, "what one subscriber that does not read may pile up in the proxy", unit="bytes"
    )
    # Three reconnect intervals of a node.
    settle: float = setting(
        0.3,
        "how long publishers wait after a start, so that subscribers are back first; by default 0 if `connect` starts it",
        unit="seconds",
    )
    timeout: float = setting(
        15.0, "silence after which a node counts as lost; it pings at a third of that", unit="seconds"
    )
    idle_exit: float = setting(
        0.0,
        "end when no node has been here for so long, 0: never; by default 60 if `connect` starts it",
        unit="seconds",
    )
    hooks: tuple[Argv, ...] = setting(
        (),
        "a program that runs after a message was routed, or a JSON array of it and its arguments; repeatable, "
        "`none` for no hook",
        unit="program",
        flag="--hook",
        unset="none",
        read=read_hooks,
    )
    hook_timeout: float = setting(30.0, "what a hook may take before it is ended, with all it started", unit="seconds")
    hook_concurrency: int = setting(4, "how many of one hook may run at a time", unit="programs")
    hook_queue: int = setting(
        1_000, "what may wait for a hook; past that they are counted and not shown to it", unit="messages"
    )
    retain: tuple[str, ...] = setting(
        (),
        "patterns of topics whose last event is kept for whoever subscribes later (`last=True`); repeatable, `none` for "
        "no pattern",
        unit="pattern",
        unset="none",
        read=read_patterns,
    )
    retain_topics: int = setting(
        10_000, "how many topics are kept; past that the one that was silent longest goes", unit="topics"
    )
    retain_bytes: int = setting(64 * _MIB, "how large all that may be", unit="bytes")
    log_file: str = setting(
        "",
        "where to log; in the background by default `proxy.log` in its directory",
        unit="file",
        unset="stderr",
    )
    log_bytes: int = setting(10 * _MIB, "size at which the log file is put aside; 0: never", unit="bytes")
    log_backups: int = setting(3, "old log files that are kept", unit="files")
    log_format: str = setting("text", "how a line of the log is written", choices=LOG_FORMATS)
    log_level: str = setting("info", "what is logged: this, and what is worse", choices=LOG_LEVELS)
    metrics: str = setting(
        "",
        "where `/metrics`, `/healthz` and `/readyz` are served over HTTP",
        unit="HOST:PORT",
        unset="nowhere",
        read=read_host_port,
    )
    count: bool = setting(True, "count what passes the event plane, by topic")
    topics: int = setting(10_000, "how many topics are counted each by itself", unit="topics")

    def address(self) -> Address:
        """The parsed address to listen on. SettingsError if `url` is not an address."""
        return parse_address(self.url or default_url())

    def arguments(self) -> list[str]:
        """Arguments of `python -m proxy` that give the same settings, independent of environment and files."""
        found: list[str] = []
        for each in settings_of(ProxySettings):
            value = getattr(self, each.name)
            if each.kind is tuple:
                texts = [item if isinstance(item, str) else orjson.dumps(item).decode() for item in value]
                found += [f"{each.flag}={text}" for text in texts] or [f"{each.flag}=none"]
            elif each.kind is bool:
                found.append(each.flag if value else each.no_flag)
            else:
                found.append(f"{each.flag}={value}")  # in one argument: a value may begin with a dash
        return found
