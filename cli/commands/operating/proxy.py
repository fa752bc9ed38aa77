"""`fabric proxy`: runs the process in the middle, in the foreground or in the background, or manages a running one.

    fabric proxy [run]                  in the foreground (`proxy.__main__`)
    fabric proxy start | stop | status  in the background, asked at its address (`proxy.daemon`, `proxy.client`)
    fabric proxy restart                stop and start

Each setting of `ProxySettings` is an option of the commands that start a proxy. Options before the name of the command
count as if they stood after it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any, TypeVar

import click

from cli.exits import DONE
from cli.options import timeout_option
from cli.query import answered, hint
from cli.terminal.text import bare
from cli.views.endpoints import age, endpoint_table
from fabric.config.address import Address
from fabric.config.schema import Setting, settings_of
from fabric.config.settings import load
from fabric.system.terminal import safe, to_json
from proxy import client, daemon
from proxy.settings import ProxySettings

_Command = TypeVar("_Command", bound=Callable[..., Any])
_url = click.option("--url", metavar="URL", help="Its address; see fabric proxy --help for where it is without.")


def server_options(command: _Command) -> _Command:
    """An option for each setting of a proxy. None where it is not given: then environment, file and default count."""
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


class _InOrder(click.Group):
    """A group that lists its commands in the order of their definition."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return list(self.commands)


@click.group(
    cls=_InOrder,
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
    return None if ctx.invoked_subcommand else run_in_foreground(options)


@proxy.command(short_help="Run it in the foreground: the same as fabric proxy.")
@server_options
@click.pass_context
def run(ctx: click.Context, /, **options: Any) -> int:
    """Run a proxy in the foreground, until Ctrl-C or SIGTERM; the same as fabric proxy alone.

    \b
    Examples:
      fabric proxy run
      fabric proxy run --hook ./on-message --log-file /var/log/fabric.log
    """
    return run_in_foreground(_merged(ctx, options))


@proxy.command(short_help="Start one in the background.")
@server_options
@click.pass_context
def start(ctx: click.Context, /, **options: Any) -> int:
    """Start a proxy in the background, and return when it serves. If one answers there already, say so: that is 0, too.

    It keeps running until it is stopped, logs into proxy.log in its directory (for tcp: in that of your own embedded
    default) unless --log-file says otherwise, and puts that file aside when it is full. If it does not start, its last
    log lines say why, and this ends with 1.

    \b
    Examples:
      fabric proxy start
      fabric proxy start --url tcp://127.0.0.1:7400 --log-file ~/fabric.log
      fabric proxy start --hook '["/usr/bin/logger", "-t", "fabric"]'
    """
    return start_in_background(_settings(ctx, options))


@proxy.command(short_help="Stop the one that runs.")
@_url
@timeout_option(daemon.STOP_TIMEOUT, "Wait S seconds.")
@click.pass_context
def stop(ctx: click.Context, url: str | None, timeout: float) -> int:
    """Stop the proxy, and return when it is gone. Nodes are told; they come back by themselves to the next one.

    It is asked to end, at its address: no process is ever signalled. If none runs, that is said, and is 0. A proxy at a
    tcp address can be stopped from the machine it runs on.

    \b
    Examples:
      fabric proxy stop
      fabric proxy stop --url tcp://127.0.0.1:7400
    """
    stop_in_background(_address(ctx, url), timeout)
    return DONE


@proxy.command(short_help="Tell whether it runs, and who is there.")
@_url
@click.option("--json", "json_", is_flag=True, help="All of it, as one line of JSON.")
@timeout_option(client.TIMEOUT, "Wait S seconds.")
@click.pass_context
def status(ctx: click.Context, url: str | None, json_: bool, timeout: float) -> int:
    """Tell whether a proxy runs: pid, address, uptime, version, what it counted, and the endpoints with their sessions.

    \b
    Ends with
      0   it is up
      1   something is there, but does not answer: a proxy that is stopped or stuck, or no proxy
      3   it is down (nothing listens), or cannot be reached

    It never starts one, and changes nothing.

    \b
    Examples:
      fabric proxy status
      fabric proxy status --json | jq .messages
    """
    address = _address(ctx, url)
    with answered(address, json_):
        found = client.status(address, timeout)
    if json_:
        listed = {"endpoints": found.endpoints, "nodes": found.nodes, "truncated": found.truncated}
        click.echo(to_json({"state": "up", **found.stats.as_json(), "listing": listed}))
        return DONE
    for line in described(found, time()):
        click.echo(line)
    return DONE


@proxy.command(short_help="Stop it, and start one with these settings.")
@server_options
@click.pass_context
def restart(ctx: click.Context, /, **options: Any) -> int:
    """Stop the proxy if one runs, and start one in the background, with the settings given here: not with those that the
    old one had. They are checked before anything is stopped. Nodes come back by themselves.

    \b
    Examples:
      fabric proxy restart
      fabric proxy restart --hook none
    """
    settings = _settings(ctx, options)
    stop_in_background(settings.address(), daemon.STOP_TIMEOUT)
    return start_in_background(settings)


# The foreground


def run_in_foreground(options: dict[str, Any]) -> int:
    """Run a proxy with these settings (None: not given) until Ctrl-C or SIGTERM; the exit code."""
    from proxy.__main__ import run as run_proxy

    load(ProxySettings, "proxy", options).address()  # wrong settings are wrong usage; `run_proxy` would say failed
    return run_proxy(options)


# The background


def described(found: client.Status, now: float) -> list[str]:
    """The lines that `status` shows of a proxy that answers. `now` is unix seconds."""
    stats = found.stats
    rows = {
        "proxy": f"up at {bare(stats.url)}",
        "pid": f"{stats.pid} on {bare(stats.host)}",
        "uptime": age(now - stats.uptime, now),
        "version": bare(stats.version),
        "log": bare(stats.log or "stderr"),
        "counts": _counts({"nodes": stats.nodes, "endpoints": stats.endpoints, **stats.messages}),
    }
    if stats.programs:
        rows["hooks"] = f"{', '.join(bare(each) for each in stats.programs)}: {_counts(stats.hooks)}"
    lines = [f"{name:<9} {text}" for name, text in rows.items()]
    shown = endpoint_table(found.endpoints, now)
    lines += ["", *shown] if shown else ["", "no endpoint is registered"]
    return [*lines, "… and more than fit into one message"] if found.truncated else lines


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{safe(name)} {count}" for name, count in counts.items()) or "none"


def start_in_background(
    settings: ProxySettings, start: Callable[[ProxySettings], daemon.Started] = daemon.start
) -> int:
    """Start a proxy, print where it runs, and return the exit code. If it fails, its last log lines are shown."""
    try:
        started = start(settings)
    except daemon.StartFailed as error:
        for line in error.lines:
            click.echo(f"  {safe(line)}", err=True)
        raise
    except client.NoAnswer as error:
        hint(settings.address(), error)
        raise
    url, who = settings.address().url, safe(started.status.who)
    if not started.fresh:
        click.echo(f"a proxy is running already at {url} ({who})")
        return DONE
    click.echo(f"started a proxy at {url} ({who}); its log is {bare(started.status.stats.log)}")
    return DONE


def stop_in_background(address: Address, timeout: float) -> None:
    """Stop the proxy at an address, and print whether there was one."""
    try:
        stopped = daemon.stop(address, timeout)
    except client.NoAnswer as error:
        hint(address, error)
        raise
    if stopped is None:
        click.echo(f"no proxy is running at {address.url}")
    else:
        click.echo(f"stopped the proxy at {address.url} ({safe(stopped.who)})")


def _merged(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the command; where one is missing, that of the group, which stood before the command's name."""
    before: dict[str, Any] = ctx.obj or {}
    return {name: before.get(name) if value is None else value for name, value in options.items()}


def _settings(ctx: click.Context, options: dict[str, Any]) -> ProxySettings:
    return load(ProxySettings, "proxy", _merged(ctx, options))


def _address(ctx: click.Context, url: str | None) -> Address:
    # Hooks that cannot be run must not keep `status` and `stop` from working.
    return load(ProxySettings, "proxy", {**_merged(ctx, {"url": url}), "hooks": ()}).address()
