"""What `fabric top` shows: a record in, lines out. Pure: time comes in as an argument.

    View        what the user has chosen; see `cli.views.top_keys`
    Snapshot    what is known: the last record, the one before it, and what is wrong now
    frame       both, in so many columns and lines

Everything that somebody else wrote is escaped here. Columns that have no room are left out, the least telling first, but
never the one that the table is sorted by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import localtime, strftime
from typing import Any, NamedTuple

from cli.terminal import numbers
from cli.terminal.text import bare, cells, fit, safe
from cli.views.status import is_silent
from cli.views.top_keys import HELP, NODES, TOPICS, TopView
from proxy.stats import NodeStats, ProxyStats, TopicStats

#: What the first column keeps while there are others to leave out.
_LEAST = 20
_RED, _BOLD, _REVERSE, _DIM, _RESET = "\x1b[31m", "\x1b[1m", "\x1b[7m", "\x1b[2m", "\x1b[0m"


class Column(NamedTuple):
    """A column: what one sorts by is `name`. `rank`: those with the highest go first where there is no room."""

    name: str
    title: str
    width: int
    rank: int
    value: Callable[[Any], Any]
    text: Callable[[Any, ProxyStats], str]


def _topic_number(name: str, title: str, width: int, rank: int, show: Callable[..., str]) -> Column:
    def value(row: TopicStats) -> float:
        return float(getattr(row, name))

    return Column(name, title, width, rank, value, lambda row, stats: show(value(row), stats.plane.observed < 1))


def _reported(name: str, title: str, rank: int, width: int = 7) -> Column:
    def value(row: NodeStats) -> float:
        return -1.0 if row.report is None else float(getattr(row.report, name))

    return Column(name, title, width, rank, value, lambda row, _stats: numbers.short(value(row)) if row.report else "-")


def _rate(name: str, title: str, attribute: str, rank: int) -> Column:
    def value(row: NodeStats) -> float:
        return float(getattr(row, attribute))

    return Column(name, title, 7, rank, value, lambda row, _stats: _short_rate(value(row)))


def _short_rate(rate: float) -> str:
    return numbers.short(rate) if rate >= 10 else numbers.rate(rate)


def _lag(row: NodeStats, _stats: ProxyStats) -> str:
    return numbers.took(row.report.lag).replace(" ", "") if row.report and row.report.delivered else "-"


COLUMNS: dict[str, tuple[Column, ...]] = {
    TOPICS: (
        Column("topic", "TOPIC", 0, 0, lambda row: row.topic, lambda row, _stats: safe(row.topic)),
        _topic_number("rate", "/S", 9, 1, numbers.rate),
        _topic_number("byte_rate", "BYTES/S", 9, 2, numbers.size),
        _topic_number("events", "COUNT", 13, 3, numbers.count),
        _topic_number("bytes", "BYTES", 9, 4, numbers.size),
        Column(
            "last", "AGE", 6, 5, lambda row: row.last, lambda row, stats: numbers.ago(max(stats.now - row.last, 0.0))
        ),
    ),
    NODES: (
        Column("node", "NODE", 0, 0, lambda row: row.node, lambda row, _stats: safe(row.node)),
        Column("pid", "PID", 7, 8, lambda row: row.pid, lambda row, _stats: str(row.pid)),
        _rate("sent", "SENT/S", "sent_rate", 1),
        _rate("delivered", "DELIV/S", "delivered_rate", 2),
        _reported("lost", "LOST", 3, 5),
        Column("lag", "LAG", 6, 4, lambda row: row.report.lag if row.report else 0.0, _lag),
        _reported("backlog", "BACKLOG", 5),
        _reported("waiting", "WAITING", 6),
        _reported("subscriptions", "SUBS", 7, 5),
        Column(
            "seen", "SEEN", 6, 9, lambda row: row.seen, lambda row, stats: numbers.ago(max(stats.now - row.seen, 0.0))
        ),
    ),
}


class Snapshot(NamedTuple):
    """What is known. `trouble` says why the proxy does not answer now, since when it has not: `answered`, unix seconds."""

    url: str
    stats: ProxyStats | None = None
    before: ProxyStats | None = None
    trouble: str = ""
    answered: float = 0.0


def frame(known: Snapshot, view: TopView, columns: int, lines: int, now: float, *, colour: bool = True) -> list[str]:
    """At most `lines` lines, none wider than `columns`. `now` is unix seconds."""
    paint = _Paint(columns, colour)
    shown = [paint(_title(known, view, now), _BOLD)]
    if known.trouble:
        shown.append(paint(_trouble(known, now), _RED))
    if known.stats is not None:
        shown += _head(known.stats, known.before, paint)
    if view.help:
        shown += ["", *(paint(line) for line in HELP)]
    elif known.stats is not None:
        shown += ["", *table(known.stats, view, columns, max(lines - len(shown) - 1, 0), paint)]
    return shown[: max(lines, 1)]


def plain(known: Snapshot, view: TopView, columns: int, now: float) -> list[str]:
    """The same for scripts: without colours and without what is about a screen."""
    assert known.stats is not None  # there is nothing else to print
    paint = _Paint(columns, colour=False)
    title = f"{known.url} at {strftime('%Y-%m-%d %H:%M:%S', localtime(now))}"
    return [
        paint(title),
        *_head(known.stats, None, paint),
        "",
        *table(known.stats, view, columns, 1_000_000_000, paint, stretch=False),
    ]


class _Paint:
    """Cuts a line to the terminal, and colours it."""

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


def _trouble(known: Snapshot, now: float) -> str:
    told = known.trouble
    if known.stats is not None:
        told += f"; this is {numbers.duration(now - known.answered)} old"
    return f"{safe(told)}; waiting for it"


def _head(stats: ProxyStats, before: ProxyStats | None, paint: _Paint) -> list[str]:
    plane, process, rough = stats.plane, stats.process, stats.plane.observed < 1
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
        paint("events  the event plane passes nothing on", _RED) if silent else paint(f"events  {events}"),
        _lost(stats, paint),
    ]


def _lost(stats: ProxyStats, paint: _Paint) -> str:
    if not stats.lost:
        return paint("lost    0")
    causes = sorted(
        ((count, cause) for cause, count in stats.dropped.items() if count), key=lambda one: (-one[0], one[1])
    )
    told = "  ".join(f"{safe(cause)} {count:,}" for count, cause in causes)
    return paint(f"lost    {numbers.plural(stats.lost, 'event')}: {told}", _RED)


def _cpu(stats: ProxyStats, before: ProxyStats | None) -> str:
    used, elapsed = stats.process.cpu, stats.uptime
    if before is not None and before.boot == stats.boot and stats.uptime > before.uptime:
        used, elapsed = used - before.process.cpu, elapsed - before.uptime
    return f"{100 * used / elapsed:.0f} %" if elapsed > 0 else "0 %"


def table(
    stats: ProxyStats, view: TopView, columns: int, lines: int, paint: _Paint, *, stretch: bool = True
) -> list[str]:
    """The table that is shown, in at most so many lines."""
    rows: list[Any] = list(stats.busiest if view.table == TOPICS else stats.members)
    there = max(stats.plane.topics if view.table == TOPICS else stats.nodes, len(rows))
    order = next(column for column in COLUMNS[view.table] if column.name == view.by)
    is_name = order.width == 0
    rows.sort(key=lambda row: COLUMNS[view.table][0].value(row))
    rows.sort(key=order.value, reverse=view.reverse if is_name else not view.reverse)
    room = min(lines - 1, view.limit or lines)
    if there > room:
        room = min(lines - 2, view.limit or lines)  # one line says how many more there are
    rows = rows[: max(room, 0)]
    shown = _chosen(view, columns)
    others = sum(column.width + 1 for column in shown[1:])
    width = max(columns - others, _LEAST)
    if not stretch:
        width = min(width, max((cells(shown[0].text(row, stats)) for row in rows), default=0))
        width = max(width, len(shown[0].title) + 1)
    found = [_header(shown, view, width, paint), *(_line(row, shown, width, stats, paint) for row in rows)]
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
    shown = list(COLUMNS[view.table])
    while sum(column.width + 1 for column in shown[1:]) + _LEAST > columns:
        spare = [column for column in shown[1:] if column.name != view.by]
        if not spare:
            break
        shown.remove(max(spare, key=lambda column: column.rank))
    return shown


def _header(shown: Sequence[Column], view: TopView, width: int, paint: _Paint) -> str:
    parts = []
    for column in shown:
        text = column.title
        is_order = column.name == view.by
        if is_order:
            up = view.reverse if column.width else not view.reverse
            text += "↑" if up else "↓"
        text = fit(text, width) if not column.width else f"{text:>{column.width}}"
        parts.append((text, _BOLD if is_order else ""))
    return _joined(parts, paint, _REVERSE)


def _line(row: Any, shown: Sequence[Column], width: int, stats: ProxyStats, paint: _Paint) -> str:
    parts = []
    for column in shown:
        text = column.text(row, stats)
        if not column.width:
            parts.append((fit(text, width), ""))
            continue
        text = " " * (column.width - cells(text)) + text
        parts.append((text, _RED if column.name == "lost" and column.value(row) > 0 else ""))
    return _joined(parts, paint, "")


def _joined(parts: Sequence[tuple[str, str]], paint: _Paint, code: str) -> str:
    """Cut to the terminal first, then coloured: a colour has no width."""
    line, used = "", 0
    for index, (text, own) in enumerate(parts):
        text = f" {text}" if index else text
        if used + cells(text) > paint.columns:
            text = fit(text, max(paint.columns - used, 0)) if paint.columns > used else ""
        used += cells(text)
        line += paint.shade(text, code + own)
    return line
