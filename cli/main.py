"""The command `fabric`: the table of its commands, help, signals, and the exit code.

A command is imported when it is used. So `fabric pub` in a shell loop does not pay for the others, and a Ctrl-C during an
import is caught here, like any other. To add a command: one line in `SECTIONS`, one file in `cli/commands`.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

#: The commands, in the sections and in the order that help lists them: name → module:attribute.
SECTIONS = {
    "Events": {
        "demo": "cli.commands.events.demo:demo",
        "tap": "cli.commands.events.tap:tap",
        "pub": "cli.commands.events.pub:pub",
        "topics": "cli.commands.events.topics:topics",
        "top": "cli.commands.events.top:top",
        "trace": "cli.commands.events.trace:trace",
    },
    "Messages": {
        "send": "cli.commands.messages.send:send",
        "notify": "cli.commands.messages.notify:notify",
        "request": "cli.commands.messages.request:request",
        "listen": "cli.commands.messages.listen:listen",
        "pane": "cli.commands.messages.pane:pane",
        "rules": "cli.commands.messages.rules:rules",
        "ls": "cli.commands.messages.ls:ls",
    },
    "Operating": {
        "status": "cli.commands.operating.status:status",
        "check": "cli.commands.operating.check:check",
        "doctor": "cli.commands.operating.doctor:doctor",
        "proxy": "cli.commands.operating.proxy:proxy",
        "config": "cli.commands.operating.config:config",
        "completion": "cli.commands.operating.completion:completion",
    },
}
COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}


class Commands(click.Group):
    """The group of `COMMANDS`. Errors of a command become its exit code (see `cli.exits`)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click. One heading for each section; the columns are equally wide in all of them."""
        width = max(map(len, COMMANDS))
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(width), self._about(ctx, name, formatter.width - 6 - width)) for name in names]
                )

    def _about(self, ctx: click.Context, name: str, limit: int) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            similar = difflib.get_close_matches(name, COMMANDS, n=2)
            hint = (
                f" Did you mean {' or '.join(map(repr, similar))}?"
                if similar
                else f" There are: {', '.join(COMMANDS)}."
            )
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """See click. Errors are caught here: click itself handles Ctrl-C and closed pipes differently."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            return _ended_by(error)


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from fabric._version import __version__

        click.echo(f"fabric {__version__} (event-fabric)")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 no proxy, 4 nobody there, 5 timed out, 130 cut short by Ctrl-C.",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Its version.")
def fabric() -> None:
    """A multi-process event fabric: every process keeps a local bus, and all of them hear each other.

    \b
    The first minute:
      fabric demo                           this machine, watched by three processes
      fabric tap                            see everything that is published …
      fabric pub hello '{"who": "you"}'     … from another terminal

    Commands talk to the proxy at --url, else at $FABRIC_URL, else at the one in the settings file, else at your own
    embedded default, where a proxy is started in the background if none answers (--no-autostart or FABRIC_AUTOSTART=0:
    it is not). Tab completion: fabric completion --help
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (None: those of the process), and return the exit code."""
    try:
        code = fabric.main(arguments, prog_name="fabric", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return _ended_by(error)
    return code if isinstance(code, int) else 0


def _ended_by(error: BaseException) -> int:
    try:
        from cli.exits import ended_by
    except ImportError as problem:  # another package has the name of one of ours
        click.echo(f"fabric: {problem}. Packages that are in the way are found by: fabric doctor", err=True)
        return 1
    return ended_by(error)


def main() -> None:
    """The console script: run the command, and exit with its code. SIGTERM ends it with 143, a second one at once."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for the rest of this process
    signal.signal(signal.SIGTERM, _terminated)
    code = run()
    # The command has ended. A Ctrl-C from here on would only print a traceback of the interpreter's shutdown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _terminated(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, _forced)
    sys.exit(143)  # unwinds the stack: nodes send their waiting events, and close


def _forced(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)  # the second signal: waiting events are given up


if __name__ == "__main__":
    main()
