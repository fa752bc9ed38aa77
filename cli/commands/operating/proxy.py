"""`fabric proxy`: the process in the middle, in the foreground. In the background: `cli.commands.operating.daemon`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fabric.config.schema import Setting, settings_of
from fabric.config.settings import load
from proxy.settings import ProxySettings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def server_options(command: _Command) -> _Command:
    """What one can say of a proxy that is started here. Not given is None: then environment, file and default count."""
    for each in reversed(settings_of(ProxySettings)):
        command = _option(each)(command)
    return command


def _option(each: Setting) -> Callable[[_Command], _Command]:
    text = f"{each.plain_help[0].upper()}{each.plain_help[1:]}.  [default: {each.show(each.default)}]"
    if each.kind is bool:
        return click.option(f"{each.flag}/{each.no_flag}", each.name, default=None, help=text)
    if each.kind is tuple:
        return click.option(
            each.flag,
            each.name,
            metavar=each.metavar,
            multiple=True,
            callback=lambda _context, _parameter, given: list(given) or None,
            help=text,
        )
    kind = click.Choice(each.choices) if each.choices else None
    return click.option(each.flag, each.name, metavar=None if kind else each.metavar, type=kind, help=text)


class _Proxy(click.Group):
    """What can be done with a proxy in the background is imported when it is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return ["run", "start", "stop", "status", "restart"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click."""
        from cli.commands.operating.daemon import COMMANDS

        return COMMANDS.get(cmd_name)


@click.group(
    cls=_Proxy,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    short_help="Run a proxy, or look after one.",
)
@server_options
@click.pass_context
def proxy(ctx: click.Context, /, **options: Any) -> int | None:
    """Run a proxy in the foreground, until Ctrl-C or SIGTERM. Its log goes to stderr, a line a fact.

    Without --url it listens where `fabric tap` and `fabric.connect()` look first: $FABRIC_URL, else the settings file's
    address, else your own embedded default. A second proxy at the same address ends with 1 and names the first.

    \b
    Examples:
      fabric proxy                                 for yourself
      fabric proxy --url ipc:///run/fabric         for a machine; the directory is made, for its owner only
      fabric proxy --url tcp://127.0.0.1:7400      ports 7400, 7401 and 7402
      fabric proxy --hook ./on-message             a program that runs for each message
      fabric proxy start                           in the background; also stop, status, restart
    """
    ctx.obj = options
    return None if ctx.invoked_subcommand else run(options)


def run(options: dict[str, Any]) -> int:
    """Run one with these settings (None: not given); the exit code."""
    from proxy.__main__ import run as run_proxy

    load(ProxySettings, "proxy", options).address()  # wrong settings are wrong usage; `run_proxy` would say failed
    return run_proxy(options)
