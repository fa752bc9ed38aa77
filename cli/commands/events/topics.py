"""`fabric topics`: counts and rates of the events that pass the proxy, by topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from cli.exits import DONE
from cli.options import PatternParam
from cli.query import address_of, answered, ask_options
from cli.terminal import numbers
from cli.terminal.output import Output
from cli.views.columns import is_estimated, share, topic_table
from fabric.protocol.topics import PatternTable
from fabric.system.terminal import safe, to_json
from proxy import client
from proxy.stats import ProxyStats, TopicStats

#: More topics than any proxy has: asks for all of them.
_ALL = 1_000_000_000
_ORDERS: dict[str, Callable[[TopicStats], Any]] = {
    "rate": lambda row: (-row.rate, -row.events, row.topic),
    "count": lambda row: (-row.events, row.topic),
    "bytes": lambda row: (-row.bytes, row.topic),
    "last": lambda row: (-row.last, row.topic),
    "name": lambda row: row.topic,
}


@click.command(short_help="List topics, with counts and rates.")
@click.argument("pattern", type=PatternParam(), required=False)
@ask_options
@click.option("--limit", type=click.IntRange(min=0), default=20, metavar="N", help="N rows; 0: all.  [default: 20]")
@click.option(
    "--sort",
    type=click.Choice(list(_ORDERS)),
    default="rate",
    help="What is first: the busiest now, the most events or bytes since the start, the latest, or by name.  "
    "[default: rate]",
)
@click.option("--json", "json_", is_flag=True, help="One object a topic and line.")
def topics(pattern: str | None, url: str | None, timeout: float, limit: int, sort: str, json_: bool) -> int:
    """List the topics that pass the proxy, or those that match PATTERN: events and bytes since the proxy's start, both per
    second, and how long ago the last one was. Bytes are those on the wire.

    An event that nobody outside its own process subscribed to never leaves that process, and is not counted here: to see
    everything, run `fabric tap`, which subscribes. Where much passes, the proxy looks at a part of it, and what
    it makes of that is marked with `~`. It remembers 10,000 topics (its setting `topics`), and forgets the longest silent
    first. Rates are those of the last second or so.

    \b
    Examples:
      fabric topics
      fabric topics 'order.**' --sort count
      fabric topics --sort last --limit 5
      fabric topics --json --limit 0 | jq -r .topic
    """
    address = address_of(url)
    # The proxy sorts by rate. For another order, and to filter, all topics are needed here.
    everything = pattern is not None or sort != "rate" or not limit
    with answered(address):
        stats = client.stats(address, timeout, topics=_ALL if everything else limit)
    rows = _matching(stats.busiest, pattern)
    rows.sort(key=_ORDERS[sort])
    shown = rows[: limit or None]
    out = Output()
    if json_:
        out.write("".join(f"{to_json(_facts(row, stats))}\n" for row in shown))
        return DONE
    lines = topic_table(shown, stats, out.size()[0]) or [_none(pattern, stats)]
    total = len(rows) if everything else max(stats.plane.topics, len(rows))
    lines += _notes(total - len(shown), pattern, stats)
    out.write("".join(f"{line}\n" for line in lines))
    return DONE


def _matching(rows: Sequence[TopicStats], pattern: str | None) -> list[TopicStats]:
    if pattern is None:
        return list(rows)
    wanted = PatternTable[bool]().adding(pattern, True)
    return [row for row in rows if wanted.match(row.topic)]


def _facts(row: TopicStats, stats: ProxyStats) -> dict[str, Any]:
    return {
        "topic": row.topic,
        "events": row.events,
        "bytes": row.bytes,
        "rate": round(row.rate, 3),
        "byte_rate": round(row.byte_rate, 3),
        "last": row.last,
        "estimated": is_estimated(stats),
    }


def _none(pattern: str | None, stats: ProxyStats) -> str:
    if pattern is not None and stats.plane.topics:
        return f"none of the {numbers.plural(stats.plane.topics, 'topic')} matches {safe(pattern)}"
    return "nothing has passed yet that somebody subscribed to, or this proxy does not count (--no-count)"


def _notes(more: int, pattern: str | None, stats: ProxyStats) -> list[str]:
    notes = []
    if more > 0:
        notes.append(f"… and {more:,} more: fabric topics{f' {pattern!r}' if pattern else ''} --limit 0")
    if stats.truncated:
        notes.append("… and more than fit into one message")
    if is_estimated(stats):
        notes.append(f"~ estimated: the proxy looked at {share(stats)} of what passed")
    return notes
