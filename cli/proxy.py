"""`fabric proxy`: the process in the middle, in the foreground. In the background: `cli.daemon`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fabric.settings import load

_Command = TypeVar("_Command", bound=Callable[..., Any])


def server_options(command: _Command) -> _Command:
    """What one can say of a proxy that is started here. Not given is None: then environment, file and default count."""
    for option in reversed(
        (
            click.option("--url", metavar="URL", help="Where to listen: tcp://127.0.0.1:7400 or ipc:///run/fabric."),
            click.option(
                "--insecure", is_flag=True, default=None, help="Allow addresses that other machines can reach."
            ),
            click.option(
                "--settle",
                type=click.FloatRange(min=0),
                metavar="S",
                help="Seconds that publishers wait after a start, so that subscribers are back first.  [default: 0.3]",
            ),
            click.option(
                "--idle-exit",
                type=click.FloatRange(min=0),
                metavar="S",
                help="End when nobody has been here for S seconds; 0: never.  [default: 0]",
            ),
            click.option(
                "--hook",
                "hooks",
                metavar="PROGRAM",
                multiple=True,
                callback=lambda _context, _parameter, given: list(given) or None,
                help="Run PROGRAM for each message, or a JSON array of it and its arguments. Repeatable. none: no hook.",
            ),
            click.option("--log-file", metavar="FILE", help="Log to FILE, and put it aside when it has 10 MiB."),
        )
    ):
        command = option(command)
    return command


class _Proxy(click.Group):
    """What can be done with a proxy in the background is imported when it is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return ["run", "start", "stop", "status", "restart"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click."""
        from cli.daemon import COMMANDS

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
    from proxy.settings import ProxySettings

    load(ProxySettings, "proxy", options).address()  # wrong settings are wrong usage; `run_proxy` would say failed
    return run_proxy(options)
