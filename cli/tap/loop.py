"""The loop of a tap: takes events from a `Reader`, shows them, and ends at a limit.

Reader ──events──▸ follow ──▸ EventOutput   lines, or a table of counts
       ──news────▸        ──▸ Notes         remarks on stderr: dropped and missed events, a lost link
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Protocol

from cli.join import LinkNotes
from cli.tap.counts import CountsTable
from cli.tap.event_line import Render
from cli.tap.reader import Event, News
from cli.terminal.output import Output, note
from fabric.system.terminal import safe

#: Seconds between checks of conditions that send no wake-up: stdout has lost its reader, a table is due.
POLL_INTERVAL = 0.2
#: Seconds between two drawings of a live table.
REDRAW_INTERVAL = 0.5
#: Seconds between two reports: a reader that is too slow already cannot use a thousand of them.
REPORT_INTERVAL = 1.0
#: Columns of a table that is written to a file: the longest topic and the numbers.
MAX_WIDTH = 600
#: Gaps listed one by one in a report; the others are summed up.
_MAX_GAPS_SHOWN = 5

_ALTERNATE, _ORDINARY = "\x1b[?1049h", "\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@dataclass(frozen=True)
class TapLimits:
    """When to end; None: not for that reason."""

    #: Events that were shown.
    count: int | None = None
    #: Seconds in all, and seconds since the last event that was shown.
    timeout: float | None = None
    wait: float | None = None


class EventSource(Protocol):
    """Where `follow` takes events from: a `Reader`."""

    def take(self, timeout: float) -> list[Event]:
        """See `Reader`."""

    def news(self) -> News:
        """See `Reader`."""


class EventOutput(Protocol):
    """Shows events. `end` is called in any case, also after an exception."""

    def start(self) -> None:
        """Called once, before the first event."""

    def event(self, event: Event) -> bool:
        """Take an event in. False if there is nothing to show of it."""

    def flush(self) -> None:
        """Show the events taken in."""

    def end(self) -> None:
        """Called once, at the end."""


class LinesOutput:
    """A line for each event. The lines of one `take` are written together."""

    def __init__(self, out: Output, render: Render) -> None:
        self._out = out
        self._render = render
        self._n = 0
        self._lines: list[str] = []

    def start(self) -> None:
        """See `EventOutput`."""

    def event(self, event: Event) -> bool:
        """See `EventOutput`."""
        line = self._render(event, self._n + 1)
        if line is None:
            return False
        self._n += 1
        self._lines.append(f"{line}\n")
        return True

    def flush(self) -> None:
        """See `EventOutput`."""
        lines, self._lines = self._lines, []
        if lines:
            self._out.write("".join(lines))

    def end(self) -> None:
        """See `EventOutput`."""
        self.flush()


class CountsOutput:
    """A table of counts: redrawn on a terminal, and always written once at the end."""

    def __init__(self, out: Output, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._live = out.is_terminal and not as_json
        self._table = CountsTable(monotonic())
        self._draw_at = 0.0

    def start(self) -> None:
        """See `EventOutput`."""
        self._table = CountsTable(monotonic())
        if self._live:
            self._out.write(_ALTERNATE)

    def event(self, event: Event) -> bool:
        """See `EventOutput`."""
        self._table.add(event, monotonic())
        return True

    def flush(self) -> None:
        """See `EventOutput`."""
        now = monotonic()
        if self._live and now >= self._draw_at:
            self._draw_at = now + REDRAW_INTERVAL
            columns, lines = self._out.size()
            shown = self._table.live(now, columns, lines)
            self._out.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in shown) + _CLEAR_BELOW)

    def end(self) -> None:
        """See `EventOutput`."""
        now = monotonic()
        if self._live:
            self._out.write(_ORDINARY)
        columns = self._out.size()[0] if self._out.is_terminal else MAX_WIDTH
        lines = self._table.as_json(now) if self._as_json else self._table.final(now, columns)
        self._out.write("".join(f"{line}\n" for line in lines))


class Notes:
    """Reports dropped and missed events and the state of the link on stderr, at most once a second and at the end."""

    def __init__(self, url: str, *, quiet: bool = False, clock: Callable[[], float] = monotonic) -> None:
        self._url = url
        self._clock = clock
        #: Print at the end only: a live table has the terminal to itself.
        self._quiet = quiet
        self._dropped = 0
        self._gaps: dict[tuple[str, str], int] = {}
        self._links: list[str] = []
        self._due = 0.0
        self._link_notes = LinkNotes()

    def add(self, news: News) -> None:
        """Take in the news of a `Reader`."""
        self._dropped += news.dropped
        for where, missed in news.gaps.items():
            self._gaps[where] = self._gaps.get(where, 0) + missed
        self._links += news.links[-2:]
        now = self._clock()
        if not self._quiet and now >= self._due and (self._dropped or self._gaps or self._links):
            self._due = now + REPORT_INTERVAL
            self.tell()

    def tell(self) -> None:
        """Print the collected news."""
        for state in self._links:
            self._link_notes.add(state, self._url)
        if self._dropped:
            note(f"dropped {_events(self._dropped)} here: they came faster than this output takes them")
        told = sorted(self._gaps.items(), key=lambda gap: -gap[1])
        for (src, topic), missed in told[:_MAX_GAPS_SHOWN]:
            note(f"missed {_events(missed)} of {safe(topic)} from {safe(src)}: published, but they did not arrive")
        if rest := told[_MAX_GAPS_SHOWN:]:
            note(f"missed {_events(sum(missed for _, missed in rest))} of {len(rest)} other topics")
        self._dropped, self._gaps, self._links = 0, {}, []


def follow(
    reader: EventSource,
    show: EventOutput,
    notes: Notes,
    limits: TapLimits,
    *,
    check: Callable[[], None] | None = None,
    clock: Callable[[], float] = monotonic,
) -> int:
    """Show events until a limit is reached, and return how many were shown.

    `check` is called several times a second, and may raise: that ends the loop, as Ctrl-C and BrokenPipeError do.
    """
    shown = 0
    show.start()
    try:
        started = last = clock()
        end = inf if limits.timeout is None else started + limits.timeout
        while (now := clock()) < (due := min(end, inf if limits.wait is None else last + limits.wait)):
            events = reader.take(min(due - now, POLL_INTERVAL))
            for event in events:
                if show.event(event):
                    last = clock()
                    shown += 1
                    if shown == limits.count:
                        return shown
            show.flush()
            notes.add(reader.news())
            if check is not None:
                check()
    finally:
        show.end()
        notes.add(reader.news())
        notes.tell()
    return shown


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"
