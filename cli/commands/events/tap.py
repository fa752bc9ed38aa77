"""`fabric tap`: shows events as they are published."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from cli.exits import DONE, INTERRUPTED, TIMED_OUT, complain
from cli.join import joined
from cli.options import SECONDS, PatternParam, proxy_options
from cli.tap.event_line import EventLines, Render, as_field, as_json, as_template, as_topic
from cli.tap.loop import CountsOutput, EventOutput, LinesOutput, Notes, TapLimits, follow
from cli.tap.reader import Reader
from cli.terminal.output import Output, note, note_to_terminal
from fabric.errors import Refused
from fabric.events.retained import RetainedEvent
from fabric.node.node import Node
from fabric.protocol.events import prefixes

#: Characters of a payload on a terminal: one of megabytes would fill the screen for minutes.
TERMINAL_TRUNCATE = 4_000


@click.command(short_help="Show what is published, as it comes.")
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, type=PatternParam())
@proxy_options
@click.option("--json", "json_", is_flag=True, help="One envelope a line, as JSON. With --stats: one topic a line.")
@click.option("--format", "template", metavar="TEXT", help="One line an event as TEXT says; see below.")
@click.option("--field", metavar="A.B", help="Only this field of the envelope; events without it are left out.")
@click.option("--topics-only", is_flag=True, help="Only the topic.")
@click.option("--stats", is_flag=True, help="A table of topics instead: live on a terminal, else one at the end.")
@click.option(
    "--ignore", "ignored", metavar="PATTERN", type=PatternParam(), multiple=True, help="Leave these out. Repeatable."
)
@click.option("--last", is_flag=True, help="First the last event of each topic, as far as the proxy retains them.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--timeout", type=SECONDS, metavar="S", help="End after S seconds in all.")
@click.option("--wait", type=SECONDS, metavar="S", help="End after S seconds without an event.")
@click.option(
    "--truncate",
    type=click.IntRange(min=0),
    metavar="N",
    help="Cut payloads after N characters, and say how many are missing. 0: never.  "
    f"[default: {TERMINAL_TRUNCATE} on a terminal, else 0]",
)
def tap(
    patterns: tuple[str, ...],
    url: str | None,
    autostart: bool | None,
    ignored: tuple[str, ...],
    last: bool,
    count: int | None,
    timeout: float | None,
    wait: float | None,
    **how: Any,
) -> int:
    """Show what is published, as it comes: time, topic, src, delay since then, payload.

    A PATTERN is a topic in which * stands for one segment and ** for any number; quote it. Without one it is '**':
    everything that applications publish. The system's own topics, such as fabric.node.joined, are shown only where a
    pattern begins with fabric ('fabric.**'). That this tap's link was lost, or that it missed events, is told on stderr.

    \b
    Examples:
      fabric tap                                      everything; Ctrl-C ends it
      fabric tap 'order.**' --ignore 'order.debug.*'
      fabric tap --stats                              which topics, how many, how fast
      fabric tap --json 'order.**' | jq .total
      fabric tap door.open --count 1 --timeout 60     wait for one event; 5 if it does not come
      fabric tap --field job.state 'build.**'
      fabric tap 'state.**' --last --wait 0.1         how things stand; see `fabric proxy --retain`
      fabric tap --format '{time} {topic} {payload.user.name}'

    \b
    Fields of --format:
      {time} {iso} {ts}       when it was published: 12:38:44.123, with date and zone, unix seconds
      {topic} {type} {src}    what happened, the envelope's type (the topic, or the payload's own), who published it
      {delay} {delay_ms}      from publishing to arriving here: +1.2ms, 1.234
      {payload} {json}        the payload, the whole envelope, as JSON
      {payload.a.b}           one field of the payload; empty if there is none
      {size} {n}              bytes of the envelope as JSON; the number of the line
      {{ }} \\t \\n             a brace, a tabulator, a new line

    Characters that a terminal would obey or hide are shown as \\u001b, everywhere. If events come faster than the output
    takes them, the oldest are dropped here, and counted on stderr; publishers never wait for a tap. Ends with 5 if
    --count was not reached; with 0 when its reader has gone (| head) and, without a limit, by Ctrl-C.
    """
    out = Output()
    limits = TapLimits(count, timeout, wait)
    show = _show(out, **how)
    patterns = patterns or ("**",)
    _warn_of_file_names(patterns)
    reader = Reader(patterns, ignored)
    with joined(url, autostart, name=f"tap-{os.getpid()}", bus=reader) as node:
        note_to_terminal(f"tapping {' '.join(patterns)} at {node.url}; Ctrl-C ends")
        if any(b"" in prefixes(pattern) for pattern in patterns):
            note_to_terminal(
                "this asks every process for all that it publishes, which costs it some 4 µs an event instead of 0.5; "
                "'orders.**' costs for orders only"
            )
        if last:
            reader.begin_with(_last(node, patterns))
        notes = Notes(node.url, quiet=how["stats"] and out.is_terminal)
        try:
            shown = follow(reader, show, notes, limits, check=out.check)
        except KeyboardInterrupt:
            _end_line()
            return DONE if limits == TapLimits() else INTERRUPTED
    if count is not None and shown < count:
        complain(f"{shown} of {count} events came {_in_time(timeout, wait)}")
        return TIMED_OUT
    return DONE


def _show(
    out: Output,
    *,
    json_: bool,
    template: str | None,
    field: str | None,
    topics_only: bool,
    stats: bool,
    truncate: int | None,
) -> EventOutput:
    given = {"--json": json_, "--format": template is not None, "--field": field is not None}
    given |= {"--topics-only": topics_only, "--stats": stats}
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1 and chosen != ["--json", "--stats"]:
        raise click.UsageError(f"{' and '.join(chosen)} cannot be had together.")
    if truncate is not None and (cannot := {"--json", "--topics-only", "--stats"}.intersection(chosen)):
        raise click.UsageError(f"--truncate and {min(cannot)} cannot be had together.")
    if stats:
        return CountsOutput(out, as_json=json_)
    limit = (TERMINAL_TRUNCATE if out.is_terminal else 0) if truncate is None else truncate
    return LinesOutput(out, _render(out, json_, template, field, topics_only, limit))


def _render(
    out: Output, json_: bool, template: str | None, field: str | None, topics_only: bool, truncate: int
) -> Render:
    if json_:
        return as_json
    if topics_only:
        return as_topic
    if field is not None:
        return as_field(field, truncate)
    if template is None:
        return EventLines(colour=out.has_colour, truncate=truncate)
    try:
        return as_template(template, truncate)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--format'") from None


def _last(node: Node, patterns: tuple[str, ...]) -> list[RetainedEvent]:
    found: dict[str, RetainedEvent] = {}
    for pattern in patterns:
        try:
            found |= {each.topic: each for each in node.last(pattern, live=True)}
        except Refused:
            note("this proxy is of a version that retains nothing: only what comes is shown")
            break
    return list(found.values())


def _warn_of_file_names(patterns: tuple[str, ...]) -> None:
    # The shell expands an unquoted ** to a list of files, and no event would ever match.
    if len(patterns) > 1 and all(os.path.exists(pattern) for pattern in patterns):
        note_to_terminal("these patterns are all names of files here; quote wildcards: fabric tap '**'")


def _end_line() -> None:
    if sys.stderr.isatty():
        click.echo(err=True)  # after the terminal's ^C


def _in_time(timeout: float | None, wait: float | None) -> str:
    limits = [f"within {timeout:g} s" if timeout is not None else "", f"before {wait:g} s of silence" if wait else ""]
    return " or ".join(limit for limit in limits if limit)
