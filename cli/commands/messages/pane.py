"""`fabric pane`: types a text into a tmux pane."""

from __future__ import annotations

import click

from cli.exits import NOBODY, Failure
from cli.message import stdin_text
from fabric import tmux
from fabric.system.terminal import safe


@click.command(short_help="Type a text into a tmux pane.")
@click.argument("session")
@click.argument("text")
@click.option("--from", "sender", metavar="NAME", help='Begin it with "[NAME] ".')
@click.option("--no-enter", "enter", is_flag=True, flag_value=False, default=True, help="Leave it standing, unentered.")
@click.option("--interrupt", is_flag=True, help="Press Ctrl-C first: this ends what runs there.")
@click.option(
    "--lines",
    type=click.Choice(tmux.LINES),
    default="join",
    help="What line breaks become: spaces, a paste, or an Enter each.  [default: join]",
)
@click.option("--raw", is_flag=True, help="Type control characters as they are: they act on what runs there.")
@click.option(
    "--delay",
    type=click.FloatRange(min=0, max=60),
    default=tmux.DELAY,
    metavar="S",
    help=f"Seconds between the text and Enter.  [default: {tmux.DELAY:g}]",
)
def pane(
    session: str, text: str, sender: str | None, enter: bool, interrupt: bool, lines: str, raw: bool, delay: float
) -> None:
    """Type TEXT into the tmux pane SESSION, and press Enter. TEXT - is read from stdin.

    SESSION is the exact name of a session (then its active pane), session:window.pane, or an id such as %3. TEXT is typed
    as text: a word that is the name of a key is a word, and control characters, whoever wrote them, are typed as \\u001b. A
    TEXT that begins with a - stands after --.

    \b
    Ends with
      0   typed; what the program there makes of it nobody knows
      1   the pane takes no input now: copy mode, synchronised, or its program has ended
      4   there is no such pane

    \b
    Examples:
      fabric pane work 'please look at the failing test'
      fabric pane work --from lead-agent -- '-v is missing'
      git log -3 --oneline | fabric pane work:1.0 - --lines paste
      fabric listen lead-agent --exec sh -c 'fabric pane work --from="$FABRIC_FROM" -- "$FABRIC_TEXT"'
    """
    text = stdin_text().removesuffix("\n") if text == "-" else text
    if not text.strip():
        raise click.UsageError("There is nothing to type: TEXT is empty.")
    typed = f"[{sender}] {text}" if sender else text
    try:
        where = tmux.type_text(session, typed, enter=enter, interrupt=interrupt, lines=lines, raw=raw, delay=delay)
    except tmux.NoSuchPane as error:
        raise Failure(NOBODY, str(error)) from None
    click.echo(f"typed into {safe(session)} {where}")
