"""The table `[routes]` of the settings file → a router. A mistake is a SettingsError with file, line and key.

[routes]
interval = 1                            # for all platforms: the fields of `Policy`

[routes.feishu]
default = "oc_1"                        # the chat of the bare `feishu`
interval = 30
senders = [
  { webhook = "https://…/${HOOK}", payload = { content = "{text}" }, expect = { code = 0 }, timeout = 5 },
  { program = ["/usr/local/bin/send-it", "--fast"] },
]
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from fabric.config.schema import similar
from fabric.config.settings import SettingsTable, read_table
from fabric.errors import SettingsError
from fabric.routes.batch import Policy
from fabric.routes.model import split
from fabric.routes.router import Router
from fabric.routes.senders import Program, Webhook

TABLE = "routes"
_POLICY = {each.name: type(each.default) for each in fields(Policy)}
_SENDER = ("webhook", "program", "payload", "headers", "expect", "timeout", "concurrency", "name")
_OF_WEBHOOKS = ("payload", "headers", "expect")
_Keys = tuple[str | int, ...]


class PlatformConfig(NamedTuple):
    """A platform in the file: its default chat, the fields of `Policy` that it sets, senders with options of `register`."""

    default: str | None
    policy: dict[str, Any]
    senders: list[tuple[Callable[..., Any], dict[str, Any]]]


class RoutesConfig(NamedTuple):
    """The whole table."""

    policy: Policy
    platforms: dict[str, PlatformConfig]


def load(**options: Any) -> Router:
    """A router with the platforms and senders of the settings file; `options` are those of `Router`.

    SettingsError names the first mistake in the file, with its line. Without a file, or the table, there are no senders.
    """
    config = read()  # all of it, before the router is made, which would have to be closed
    router = Router(**({"policy": config.policy} | options))
    for name, platform in config.platforms.items():
        router.platform(name, default=platform.default, **platform.policy)
        for send, facts in platform.senders:
            router.register(name, send, **facts)
    return router


def read() -> RoutesConfig:
    """The table of the settings file. SettingsError as for `load`."""
    return _Reader(read_table(TABLE)).read()


def is_configured() -> bool:
    """Whether the settings file has routes. SettingsError if it cannot be read."""
    return bool(read_table(TABLE).values)


class _Reader:
    def __init__(self, table: SettingsTable) -> None:
        self._table = table

    def read(self) -> RoutesConfig:
        values = self._table.values
        platforms = {key: value for key, value in values.items() if isinstance(value, dict)}
        policy = self._policy((), {key: value for key, value in values.items() if key not in platforms}, ())
        return RoutesConfig(Policy(**policy), {name: self._platform(name, table) for name, table in platforms.items()})

    def _platform(self, name: str, table: dict[str, Any]) -> PlatformConfig:
        if split(name or " ").chat or ":" in name or name != name.strip() or not name:
            raise self._wrong((name,), "a platform's name has no colon and no space around it, and is not empty")
        rest = {key: value for key, value in table.items() if key not in ("default", "senders")}
        policy = self._policy((name,), rest, ("default", "senders"))
        default = table.get("default")
        if default is not None and not (isinstance(default, str) and default.strip()):
            raise self._wrong((name, "default"), f"{default!r} is no chat: text, and not empty")
        senders = table.get("senders")
        if not isinstance(senders, list) or not senders:
            raise self._wrong(
                (name, "senders") if "senders" in table else (name,), "senders is a list, with one at least"
            )
        return PlatformConfig(
            default, policy, [self._sender((name, "senders", number), each) for number, each in enumerate(senders)]
        )

    def _policy(self, keys: _Keys, values: Mapping[str, Any], other_keys: Sequence[str]) -> dict[str, Any]:
        found = {}
        for key, value in values.items():
            if key not in _POLICY:
                raise self._unknown((*keys, key), key, (*other_keys, *_POLICY))
            found[key] = self._number((*keys, key), value, _POLICY[key], least=0 if key == "interval" else None)
        return found

    def _number(self, keys: _Keys, value: Any, kind: type, *, least: int | None = None) -> Any:
        kinds = (int, float) if kind is float else (int,)
        is_number = isinstance(value, kinds) and not isinstance(value, bool) and value < float("inf")
        if not is_number or value < 0 or (value == 0 and least is None):
            what = "a number" if kind is float else "a whole number"
            quoted = " (no quotes)" if isinstance(value, str) else ""
            raise self._wrong(keys, f"{value!r} is not {what} {'of at least 0' if least == 0 else 'over 0'}{quoted}")
        return kind(value)

    def _sender(self, keys: _Keys, table: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
        if not isinstance(table, dict):
            raise self._wrong(keys, 'a sender is a table such as { webhook = "https://…" }')
        for key in table:
            if key not in _SENDER:
                raise self._unknown((*keys, key), key, _SENDER)
        if ("webhook" in table) == ("program" in table):
            raise self._wrong(keys, "a sender has either webhook or program")
        facts: dict[str, Any] = {}
        if "timeout" in table:
            facts["timeout"] = self._number((*keys, "timeout"), table["timeout"], float)
        if "concurrency" in table:
            facts["concurrency"] = self._number((*keys, "concurrency"), table["concurrency"], int)
        if "name" in table:
            facts["name"] = self._text((*keys, "name"), table["name"])
        return (self._webhook if "webhook" in table else self._program)(keys, table), facts

    def _webhook(self, keys: _Keys, table: dict[str, Any]) -> Webhook:
        url = self._text((*keys, "webhook"), table["webhook"])
        headers = table.get("headers", {})
        if not isinstance(headers, dict) or not all(isinstance(each, str) for each in headers.values()):
            raise self._wrong((*keys, "headers"), "headers is a table of texts")
        expect = table.get("expect", {})
        if not isinstance(expect, dict):
            raise self._wrong((*keys, "expect"), "expect is a table such as { ok = true }")
        options = {"payload": table.get("payload"), "headers": headers, "expect": expect}
        try:
            # One after the other, so that the error names the wrong one.
            for option, value in options.items():
                if value:
                    key: tuple[str, ...] = (option,)
                    Webhook("http://localhost", **{option: value})
            key = ("webhook",)
            return Webhook(url, **options)
        except ValueError as error:
            raise self._wrong((*keys, *key), str(error)) from None
        except ImportError as error:
            raise self._wrong((*keys, "webhook"), str(error)) from None

    def _program(self, keys: _Keys, table: dict[str, Any]) -> Program:
        for key in _OF_WEBHOOKS:
            if key in table:
                raise self._wrong((*keys, key), f"{key} is for webhooks")
        argv = table["program"]
        argv = [argv] if isinstance(argv, str) else argv
        if not isinstance(argv, list) or not argv or not all(isinstance(each, str) for each in argv) or not argv[0]:
            raise self._wrong((*keys, "program"), "a program is a path, or a list of it and its arguments")
        if (found := shutil.which(os.path.expanduser(argv[0]))) is None:
            raise self._wrong((*keys, "program"), f"there is no program {argv[0]!r} that can be run")
        return Program([os.path.abspath(found), *argv[1:]])

    def _text(self, keys: _Keys, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(keys, f"{value!r} is not text, or is empty")
        return value

    def _unknown(self, keys: _Keys, key: str, known: Sequence[str]) -> SettingsError:
        return self._wrong(keys, f"there is no such key{similar(key, known) or '; known are ' + ', '.join(known)}")

    def _wrong(self, keys: _Keys, problem: str) -> SettingsError:
        return SettingsError(_named((TABLE, *keys)), self._table.where(*keys), problem)


def _named(keys: Sequence[str | int]) -> str:
    """A key as a text: `routes.feishu.senders[0].webhook`. Lists count from 0."""
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in keys).removeprefix(".")
