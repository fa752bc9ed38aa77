"""The screen of `fabric top`: a record goes in, lines come out. Pure: time comes in as an argument.

    TopView     the choices of the user; see `cli.views.top_keys`
    Snapshot    the last record, the one before it, and the current problem
    frame       both, in a number of columns and lines

Everything that another program wrote is escaped here. Columns that have no room are left out, the least important first,
but never the one that the table is sorted by.
"""

from __future__ import annotations

from time import localtime, strftime
from typing import Any, NamedTuple

from cli.terminal import numbers
from cli.terminal.table import RED, Cell, table
from cli.terminal.text import bare, cells, fit
from cli.views.columns import NODE_COLUMNS, TOPIC_COLUMNS, Column, is_estimated
from cli.views.status import is_silent
from cli.views.top_keys import HELP, NODES, SORTS, TOPICS, TopView
from fabric.system.terminal import safe
from proxy.stats import ProxyStats

#: Columns that a name keeps while there are others to leave out.
MIN_NAME = 20
_BOLD, _REVERSE, _DIM, _RESET = "\x1b[1m", "\x1b[7m", "\x1b[2m", "\x1b[0m"


COLUMNS = {
    TOPICS: {name: TOPIC_COLUMNS[name] for name in SORTS[TOPICS]},
    NODES: {name: NODE_COLUMNS[name] for name in SORTS[NODES]},
}


class Snapshot(NamedTuple):
    """The known facts. `problem`: why the proxy does not answer now, if so; `answered`: when it last did, unix seconds."""

    url: str
    stats: ProxyStats | None = None
    before: ProxyStats | None = None
    problem: str = ""
    answered: float = 0.0


def frame(known: Snapshot, view: TopView, columns: int, lines: int, now: float, *, colour: bool = True) -> list[str]:
    """The screen: at most `lines` lines, none wider than `columns`. `now` is unix seconds."""
    paint = _Paint(columns, colour)
    shown = [paint(_title(known, view, now), _BOLD)]
    if known.problem:
        shown.append(paint(_problem(known, now), RED))
    if known.stats is not None:
        shown += _head(known.stats, known.before, paint)
    if view.help:
        shown += ["", *(paint(line) for line in HELP)]
    elif known.stats is not None:
        shown += ["", *_table(known.stats, view, columns, max(lines - len(shown) - 1, 0), paint)]
    return shown[: max(lines, 1)]


def plain(known: Snapshot, view: TopView, columns: int, now: float) -> list[str]:
    """The same for scripts: no colours, and nothing about keys or the screen."""
    assert known.stats is not None  # else there would be nothing to print
    paint = _Paint(columns, colour=False)
    title = f"{known.url} at {strftime('%Y-%m-%d %H:%M:%S', localtime(now))}"
    return [
        paint(title),
        *_head(known.stats, None, paint),
        "",
        *_table(known.stats, view, columns, 1_000_000_000, paint, stretch=False),
    ]


class _Paint:
    """Cuts a line to the width of the terminal, and colours it."""

    def __init__(self, columns: int, colour: bool) -> None:
        self.columns = max(columns, 1)
        self.colour = colour

    def __call__(self, text: str, code: str = "") -> str:
        text = fit(text, self.columns).rstrip() if cells(text) > self.columns else text
        return self.shade(text, code)

    def shade(self, text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if code and self.colour else text


def _title(known: Snapshot, view: TopView, now: float) -> str:
    how = "paused" if view.paused else f"every {view.interval:g} s"
    return f"fabric top  {strftime('%H:%M:%S', localtime(now))}  {how}  ? help  {safe(known.url)}"


def _problem(known: Snapshot, now: float) -> str:
    told = known.problem
    if known.stats is not None:
        told += f"; this is {numbers.duration(now - known.answered)} old"
    return f"{safe(told)}; waiting for it"


def _head(stats: ProxyStats, before: ProxyStats | None, paint: _Paint) -> list[str]:
    plane, process, rough = stats.plane, stats.process, is_estimated(stats)
    limit = "" if process.descriptor_limit < 0 else f" of {process.descriptor_limit:,}"
    silent = is_silent(stats)
    events = f"{numbers.rate(plane.rate, rough)}/s  {numbers.size(plane.byte_rate, rough)}/s"
    events += f"  {numbers.count(plane.events, rough)} in all"
    if plane.round_trip and not silent:
        events += f"  round trip {numbers.took(plane.round_trip)}"
    return [
        paint(
            f"proxy   up {numbers.duration(stats.uptime)}  pid {stats.pid} on {bare(stats.host)}  "
            f"version {bare(stats.version)}"
        ),
        paint(
            f"uses    {numbers.size(process.memory)} of memory  {_cpu(stats, before)} of a core  "
            f"{process.descriptors:,}{limit} descriptors"
        ),
        paint(
            f"here    {numbers.plural(stats.nodes, 'node')}  {numbers.plural(stats.endpoints, 'endpoint')}  "
            f"{numbers.plural(stats.subscriptions, 'subscription')}  {stats.messages.get('messages', 0):,} messages"
        ),
        paint("events  the event plane passes nothing on", RED) if silent else paint(f"events  {events}"),
        _lost(stats, paint),
    ]


def _lost(stats: ProxyStats, paint: _Paint) -> str:
    if not stats.lost:
        return paint("lost    0")
    causes = sorted(
        ((count, cause) for cause, count in stats.dropped.items() if count), key=lambda one: (-one[0], one[1])
    )
    told = "  ".join(f"{safe(cause)} {count:,}" for count, cause in causes)
    return paint(f"lost    {numbers.plural(stats.lost, 'event')}: {told}", RED)


def _cpu(stats: ProxyStats, before: ProxyStats | None) -> str:
    used, elapsed = stats.process.cpu, stats.uptime
    if before is not None and before.boot == stats.boot and stats.uptime > before.uptime:
        used, elapsed = used - before.process.cpu, elapsed - before.uptime
    return f"{100 * used / elapsed:.0f} %" if elapsed > 0 else "0 %"


def _table(
    stats: ProxyStats, view: TopView, columns: int, lines: int, paint: _Paint, *, stretch: bool = True
) -> list[str]:
    rows: list[Any] = list(stats.busiest if view.table == TOPICS else stats.members)
    there = max(stats.plane.topics if view.table == TOPICS else stats.nodes, len(rows))
    order = COLUMNS[view.table][view.by]
    is_name = order.width == 0
    rows.sort(key=next(iter(COLUMNS[view.table].values())).value)
    rows.sort(key=order.value, reverse=view.reverse if is_name else not view.reverse)
    room = min(lines - 1, view.limit or lines)
    if there > room:
        room = min(lines - 2, view.limit or lines)  # one line for the number of the others
    rows = rows[: max(room, 0)]
    shown = _chosen(view, columns)
    header = [_title_of(column, column is order, view) for column in shown]
    found = table(
        (),
        [header, *([column.text(row, stats) for column in shown] for row in rows)],
        columns,
        widths=[columns if stretch else len(shown[0].title) + 1, *(column.width for column in shown[1:])],
        first=MIN_NAME,
        gap=1,
        clip=True,
        colour=paint.colour,
    )
    if there > len(rows):
        found.append(paint(f"… and {there - len(rows):,} more", _DIM))
    elif not rows:
        found.append(paint(_nothing(stats, view), _DIM))
    return found[: max(lines, 0)]


def _nothing(stats: ProxyStats, view: TopView) -> str:
    if view.table == NODES:
        return "no node is here"
    return "nothing has passed yet that somebody subscribed to, or this proxy does not count (--no-count)"


def _chosen(view: TopView, columns: int) -> list[Column]:
    shown = list(COLUMNS[view.table].values())
    order = COLUMNS[view.table][view.by]
    while sum(column.width + 1 for column in shown[1:]) + MIN_NAME > columns:
        spare = [column for column in shown[1:] if column is not order]
        if not spare:
            break
        shown.remove(max(spare, key=lambda column: column.rank))
    return shown


def _title_of(column: Column, is_order: bool, view: TopView) -> Cell:
    if not is_order:
        return Cell(column.title, _REVERSE)
    up = view.reverse if column.width else not view.reverse
    return Cell(f"{column.title}{'↑' if up else '↓'}", _REVERSE + _BOLD)
