"""Asking a proxy without joining it: the options of such commands, and the error when it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from cli.exits import FAILED, NO_PROXY, Failure
from cli.options import timeout_option, url_option
from cli.terminal.output import note
from fabric.config.address import Address
from fabric.config.settings import Settings, load
from fabric.system.terminal import safe, to_json
from proxy import client

_Command = TypeVar("_Command", bound=Callable[..., Any])


def ask_options(command: _Command) -> _Command:
    """`--url` and `--timeout`; the command gets `url` and `timeout`."""
    return url_option(timeout_option(client.TIMEOUT, "Wait S seconds for an answer.")(command))


def address_of(url: str | None) -> Address:
    """The proxy's address: `url`, else that of the settings. SettingsError if it is no address."""
    return load(Settings, "fabric", {"url": url}).address()


@contextmanager
def answered(address: Address, json_: bool = False) -> Iterator[None]:
    """Turns `NoAnswer` into a Failure: `NO_PROXY` where nothing listens, `FAILED` where something does and is silent.

    With `json_` it is printed as one line of JSON, too.
    """
    try:
        yield
    except client.NoAnswer as error:
        if json_:
            click.echo(to_json({"state": error.state, "url": error.url, "why": str(error)}))
        hint(address, error)
        raise Failure(FAILED if isinstance(error, client.NotAnswering) else NO_PROXY, safe(str(error))) from None


def hint(address: Address, error: Exception) -> None:
    """Print the owner of the address's lock, if something listens there and does not answer."""
    from proxy.daemon import lock_says  # it brings the whole server, and `fabric check` runs every few seconds

    if isinstance(error, client.NotAnswering) and (says := lock_says(address)):
        note(f"its lock was taken by {safe(says)}")
