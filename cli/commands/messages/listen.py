"""`fabric listen`: registers an endpoint from a shell. The handling of its messages is in `cli.listen`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cli.exits import DONE, INTERRUPTED, TIMED_OUT, complain
from cli.join import LinkNotes, joined
from cli.listen.loop import HandledCount, close, follow
from cli.listen.printer import Printer
from cli.listen.program import ProgramHandler, resolved
from cli.listen.rules import applied, configured_router
from cli.message import endpoint_log_muted
from cli.options import SECONDS, EndpointParam, proxy_options
from cli.terminal.output import Output, note, note_to_terminal
from fabric.bus.bus import Bus
from fabric.config.endpoint_name import endpoint_name
from fabric.protocol.fields import POLICIES
from fabric.rules.reading.file import Rules
from fabric.system.terminal import safe


class _Listen(click.Command):
    """Takes all words after --exec as a command line, with its options, as `find -exec` and `xargs` do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        if "--exec" in args:
            at = args.index("--exec")
            args, argv = args[:at], args[at + 1 :]
            if not argv and not ctx.resilient_parsing:
                raise click.UsageError("--exec needs a program, and comes last: --exec ./work --fast", ctx)
            args = [*args, *(f"--exec={word}" for word in argv)]
        return super().parse_args(ctx, args)


@click.command(cls=_Listen, short_help="Register an endpoint, and print what arrives.")
@click.argument("name", type=EndpointParam(), required=False)
@click.option("--json", "json_", is_flag=True, help="One message a line, as JSON.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option("--timeout", type=SECONDS, metavar="S", help="End after S seconds in all.")
@click.option(
    "--policy",
    type=click.Choice(POLICIES),
    help="If NAME is taken: fail, take it away, get NAME-2, or share it in turn.  [default: reject; without NAME: suffix]",
)
@click.option(
    "--rules", "file", type=click.Path(path_type=Path), metavar="FILE", help="Do what the rules of FILE say, instead."
)
@click.option("--exec-timeout", type=SECONDS, metavar="S", help="End a program that runs longer.  [default: never]")
@click.option("--exec", "argv", multiple=True, metavar="PROGRAM ...", help="Run PROGRAM for each message. Comes last.")
@proxy_options
def listen(
    name: str | None,
    json_: bool,
    count: int | None,
    timeout: float | None,
    policy: str | None,
    file: Path | None,
    exec_timeout: float | None,
    argv: tuple[str, ...],
    url: str | None,
    autostart: bool | None,
) -> int:
    """Register the endpoint NAME, and print the messages that arrive for it: time, sender, body; ? marks those whose
    sender waits for an answer.

    With --exec a program runs for each instead, one after the other: the message is on its stdin as JSON, and FABRIC_ID,
    FABRIC_FROM, FABRIC_TYPE, FABRIC_CHANNEL, FABRIC_TEXT … are in its environment. If the message is a request, what the
    program prints is the answer (JSON if it is that, else text); else it is printed here. A program that fails
    raises RemoteError at the asker; its stderr is shown here.

    With --rules the rules of FILE say what happens, to messages and to events: they are read again when it changes. What
    is for an inbox is printed; what is for a route goes as [routes] of the settings file says. See: fabric rules --help

    Without NAME it is what $FABRIC_ENDPOINT says, else endpoint = "…" in FILE or in [fabric] of the settings file, else
    fabric-HOST; a second one gets a -2 then.

    \b
    Ends with
      0   --count messages arrived; without limits also by Ctrl-C
      1   NAME is taken, or was taken away
      5   fewer than --count arrived within --timeout

    \b
    Examples:
      fabric listen lead-agent
      fabric listen lead-agent --json | jq .body.text
      fabric listen lead-agent --count 1 --timeout 60
      fabric listen clock --exec date                        fabric request clock now
      fabric listen builder --policy share --exec ./build --fast
      fabric listen lead-agent --rules rules.toml
    """
    if argv and json_:
        raise click.UsageError("--json and --exec cannot be had together: with --exec the program gets the message.")
    if exec_timeout is not None and not argv:
        raise click.UsageError("--exec-timeout is for --exec.")
    if file is not None and (argv or json_):
        raise click.UsageError("--rules cannot be had together with --exec or --json: the rules say what happens.")
    rules = None if file is None else Rules.load(file)
    policy = policy or ("reject" if name else "suffix")
    name = name or endpoint_name(
        configured=rules.current.endpoint if rules else "", default=f"fabric-{os.uname().nodename}"
    )
    argv = resolved(argv)
    out = Output()
    bus = Bus()
    router = None if rules is None else configured_router(bus)
    link_notes = LinkNotes()
    bus.subscribe(
        "fabric.link.*", lambda event: link_notes.add(event["type"].rpartition(".")[2], str(event.get("url")))
    )
    handled = HandledCount()
    try:
        with (
            endpoint_log_muted(),
            joined(url, autostart, name=f"listen-{os.getpid()}", bus=bus) as node,
            node.endpoint(name, policy=policy) as inbox,
        ):
            inbox.wait_ready()
            if inbox.name != name:
                note(f"{safe(name)} is taken: listening as {safe(inbox.name)}")
            note_to_terminal(f"listening as {safe(inbox.name)} at {node.url}; Ctrl-C ends")
            try:
                if rules is not None:
                    with applied(rules, node, inbox, out, router) as applier:
                        follow(inbox, applier.apply, handled, out, count=count, timeout=timeout, idle=applier.look)
                elif argv:
                    with ProgramHandler(argv, exec_timeout, node, out) as handler:
                        follow(inbox, handler, handled, out, count=count, timeout=timeout)
                else:
                    follow(inbox, Printer(out, json_), handled, out, count=count, timeout=timeout)
            finally:
                close(inbox)
    except KeyboardInterrupt:
        return DONE if count is None and timeout is None else INTERRUPTED
    if count is not None and handled.value < count:
        complain(f"{handled.value} of {count} messages came within {timeout:g} s")
        return TIMED_OUT
    return DONE
