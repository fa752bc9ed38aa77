"""The columns of topics and nodes, from which `fabric top`, `status` and `topics` choose. Pure.

Everything that another program wrote is escaped here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cli.terminal import numbers
from cli.terminal.table import RED, Cell, table
from cli.terminal.text import cells, fit
from fabric.system.terminal import safe
from proxy.stats import NodeStats, ProxyStats, TopicStats

#: Columns of a host's name.
MAX_HOST = 12


class Column(NamedTuple):
    """One column. `text(row, stats)` is its cell, `value(row)` the sort key.

    For `fabric top`, where columns must not move: its width (0: the first one, which gives way), and its `rank`: of the
    columns that have no room the one with the highest goes first.
    """

    title: str
    text: Callable[[Any, ProxyStats], str]
    value: Callable[[Any], Any]
    width: int = 0
    rank: int = 0


def is_estimated(stats: ProxyStats) -> bool:
    """Whether counts of events are estimated from a sample of them."""
    return stats.plane.observed < 1


def share(stats: ProxyStats) -> str:
    """The share of events in that sample; never 100 %, which would be no estimate."""
    return f"{min(stats.plane.observed, 0.999):.1%}".replace("%", " %")


def _counted(name: str, title: str, show: Callable[[float, bool], str], width: int, rank: int) -> Column:
    def value(row: TopicStats) -> float:
        return float(getattr(row, name))

    return Column(title, lambda row, stats: show(value(row), is_estimated(stats)), value, width, rank)


def _rate(name: str, title: str, rank: int) -> Column:
    def text(row: NodeStats, _stats: ProxyStats) -> str:
        rate = getattr(row, name)
        return numbers.short(rate) if rate >= 10 else numbers.rate(rate)

    return Column(title, text, lambda row: float(getattr(row, name)), 7, rank)


def _reported(name: str, title: str, rank: int, width: int = 7) -> Column:
    def text(row: NodeStats, _stats: ProxyStats) -> str:
        return "-" if row.report is None else numbers.short(getattr(row.report, name))

    return Column(
        title, text, lambda row: -1.0 if row.report is None else float(getattr(row.report, name)), width, rank
    )


def _age(name: str, title: str, rank: int) -> Column:
    def text(row: Any, stats: ProxyStats) -> str:
        return numbers.ago(max(stats.now - getattr(row, name), 0.0))

    return Column(title, text, lambda row: getattr(row, name), 6, rank)


def _host(row: NodeStats, _stats: ProxyStats) -> str:
    host = safe(row.host)
    return fit(host, MAX_HOST) if cells(host) > MAX_HOST else host


def _lag(row: NodeStats, _stats: ProxyStats) -> str:
    return numbers.took(row.report.lag).replace(" ", "") if row.report and row.report.delivered else "-"


def _in_red(column: Column) -> Column:
    """The same, in red where it is not 0."""

    def text(row: NodeStats, stats: ProxyStats) -> str:
        shown = column.text(row, stats)
        return Cell(shown, RED) if column.value(row) > 0 else shown

    return column._replace(text=text)


#: By name: the columns that `fabric top --sort` takes, and some that only `fabric status` shows.
TOPIC_COLUMNS = {
    "topic": Column("TOPIC", lambda row, _stats: safe(row.topic), lambda row: row.topic),
    "rate": _counted("rate", "/S", numbers.rate, 9, 1),
    "byte_rate": _counted("byte_rate", "BYTES/S", numbers.size, 9, 2),
    "events": _counted("events", "COUNT", numbers.count, 13, 3),
    "bytes": _counted("bytes", "BYTES", numbers.size, 9, 4),
    "last": _age("last", "AGE", 5),
}
NODE_COLUMNS = {
    "node": Column("NODE", lambda row, _stats: safe(row.node), lambda row: row.node),
    "host": Column("HOST", _host, lambda row: row.host),
    "pid": Column("PID", lambda row, _stats: str(row.pid), lambda row: row.pid, 7, 8),
    "endpoints": Column("EP", lambda row, _stats: numbers.short(row.endpoints), lambda row: row.endpoints),
    "sent": _rate("sent_rate", "SENT/S", 1),
    "delivered": _rate("delivered_rate", "DELIV/S", 2),
    "lost": _in_red(_reported("lost", "LOST", 3, 5)),
    "lag": Column("LAG", _lag, lambda row: row.report.lag if row.report else 0.0, 6, 4),
    "backlog": _reported("backlog", "BACKLOG", 5),
    "waiting": _reported("waiting", "WAITING", 6),
    "subscriptions": _reported("subscriptions", "SUBS", 7, 5),
    "seen": _age("seen", "SEEN", 9),
}

_TOPIC_TABLE = [TOPIC_COLUMNS[name] for name in ("topic", "events", "rate", "bytes", "byte_rate", "last")]


def topic_table(rows: Sequence[TopicStats], stats: ProxyStats, columns: int) -> list[str]:
    """The lines of a table of topics, in the order given; none if there are none."""
    shown = [[column.text(row, stats) for column in _TOPIC_TABLE] for row in rows]
    return table([column.title for column in _TOPIC_TABLE], shown, columns)
