"""Options and argument types that several commands have, each defined once.

Imports click only. `fabric doctor` has these options, too, and may import nothing of the fabric before it has checked that
the package of that name is ours; hence the imports inside `convert`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    _Text = click.ParamType[str, Any]
else:
    _Text = click.ParamType  # generic only since click 8.3

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: The type of a time span that cannot be 0.
SECONDS = click.FloatRange(min=0, min_open=True)


def url_option(command: _Command) -> _Command:
    """`--url`; the command gets `url`, None if it is not given."""
    help_ = "The proxy's address: tcp://127.0.0.1:7400 or ipc:///run/fabric."
    return click.option("--url", metavar="URL", help=help_)(command)


def autostart_option(command: _Command) -> _Command:
    """`--no-autostart`; the command gets `autostart`: False if it is given, else None, which leaves it to the settings."""
    return click.option(
        "--no-autostart",
        "autostart",
        is_flag=True,
        callback=lambda _context, _parameter, given: False if given else None,
        help="Do not start a proxy in the background if none answers at the embedded default.",
    )(command)


def proxy_options(command: _Command) -> _Command:
    """`--url` and `--no-autostart`, for commands that join: see `cli.join`."""
    return url_option(autostart_option(command))


def timeout_option(default: float, about: str, longest: float | None = None) -> Callable[[_Command], _Command]:
    """`--timeout`, in seconds up to `longest`; the command gets `timeout`. `about` is its help, without the default."""
    kind = click.FloatRange(min=0, min_open=True, max=longest)
    return click.option("--timeout", type=kind, default=default, metavar="S", help=f"{about}  [default: {default:g}]")


class TopicParam(_Text):
    """A topic: one that programs may publish, or with `reserved` also one of the system's own."""

    name = "topic"

    def __init__(self, *, reserved: bool = False) -> None:
        self._reserved = reserved

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        from fabric.protocol.topics import RESERVED, check_topic, is_reserved

        try:
            topic = check_topic(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if is_reserved(topic) and not self._reserved:
            self.fail(f"topics below {RESERVED!r} are the system's own: choose another first segment", param, ctx)
        return topic


class PatternParam(_Text):
    """A pattern of topics."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        from fabric.protocol.topics import check_pattern

        try:
            return check_pattern(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class EndpointParam(_Text):
    """The name of an endpoint; with `everybody` also `*`."""

    name = "name"

    def __init__(self, *, everybody: bool = False) -> None:
        self._everybody = everybody

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        from fabric.protocol.names import EVERYBODY, check_name

        if self._everybody and value == EVERYBODY:
            return EVERYBODY
        try:
            return check_name(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
