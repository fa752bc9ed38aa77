"""What commands share that ask a proxy and do not join it: their options, and what is said when it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from cli.exits import FAILED, NO_PROXY, Failure
from cli.terminal.text import safe, to_json
from fabric.config.address import Address
from fabric.config.settings import Settings, load
from proxy import client

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Seconds = click.FloatRange(min=0, min_open=True)


def ask_options(command: _Command) -> _Command:
    """`--url` and `--timeout`; the command gets `url` and `timeout`."""
    command = click.option(
        "--timeout",
        type=_Seconds,
        default=client.TIMEOUT,
        metavar="S",
        help=f"Wait S seconds for an answer.  [default: {client.TIMEOUT:g}]",
    )(command)
    return click.option("--url", metavar="URL", help="The proxy's address: tcp://127.0.0.1:7400 or ipc:///run/fabric.")(
        command
    )


def address_of(url: str | None) -> Address:
    """Where the proxy is. SettingsError if what says so is no address."""
    return load(Settings, "fabric", {"url": url}).address()


@contextmanager
def answered(address: Address, json_: bool = False) -> Iterator[None]:
    """Failure if the proxy does not answer: 3 where there is none, 1 where something else is, or it is stuck.

    With `json_` that is one line of JSON, too.
    """
    try:
        yield
    except client.NoAnswer as error:
        if json_:
            click.echo(to_json({"state": error.state, "url": error.url, "why": str(error)}))
        hint(address, error)
        raise Failure(FAILED if isinstance(error, client.NotAnswering) else NO_PROXY, safe(str(error))) from None


def hint(address: Address, error: Exception) -> None:
    """Who may be the one that does not answer: that is for a person to judge."""
    from cli.options import note  # they bring all that joining and starting need,
    from proxy.daemon import lock_says  # and `fabric check` runs every few seconds

    if isinstance(error, client.NotAnswering) and (says := lock_says(address)):
        note(f"its lock was taken by {safe(says)}")
