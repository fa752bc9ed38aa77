"""Who is there, as a table: for `fabric ls` and `fabric proxy status`. No I/O.

What comes from other programs is escaped here, and is shown whatever its type: a proxy that answers nonsense is looked
at with the same commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cli.terminal import numbers
from cli.terminal.text import bare, cells, fit

Facts = dict[str, Any]

_ENDPOINTS = ("ENDPOINT", "NODE", "PID", "HOST", "AGE", "SESSION")
_NODES = ("NODE", "PID", "HOST", "PROGRAM", "ENDPOINTS", "AGE")


def endpoints(found: Iterable[Facts], now: float) -> list[str]:
    """The lines of a table of endpoints; none if there are none."""
    rows = [
        (
            bare(each.get("endpoint")) + (" (shared)" if each.get("shared") is True else ""),
            *(bare(each.get(name)) for name in ("node", "pid", "host")),
            age(each.get("since"), now),
            bare(each.get("session")),
        )
        for each in found
    ]
    return table(_ENDPOINTS, sorted(rows))


def nodes(found: Iterable[Facts], now: float) -> list[str]:
    """The lines of a table of nodes; none if there are none."""
    rows = [
        (
            *(bare(each.get(name)) for name in ("node", "pid", "host", "program", "endpoints")),
            age(each.get("since"), now),
        )
        for each in found
    ]
    return table(_NODES, sorted(rows))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows` below `header`, in columns as wide as they have to be."""
    if not rows:
        return []
    lines = [header, *rows]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(header))]
    return ["  ".join(fit(text, width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def age(since: Any, now: float) -> str:
    """How long ago `since` (unix seconds) was."""
    if isinstance(since, bool) or not isinstance(since, int | float):
        return "?"
    return numbers.duration(now - since)
