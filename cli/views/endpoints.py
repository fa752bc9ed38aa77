"""Who is there, as a table: for `fabric ls` and `fabric proxy status`. No I/O.

What comes from other programs is escaped here, and is shown whatever its type: a proxy that answers nonsense is looked
at with the same commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cli.terminal import numbers
from cli.terminal.table import table
from cli.terminal.text import bare

Facts = dict[str, Any]

_ENDPOINTS = ("ENDPOINT", "NODE", "PID", "HOST", "AGE", "SESSION")
_NODES = ("NODE", "PID", "HOST", "PROGRAM", "ENDPOINTS", "AGE")


def endpoint_table(found: Iterable[Facts], now: float) -> list[str]:
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
    return table(_ENDPOINTS, sorted(rows), texts=len(_ENDPOINTS))


def node_table(found: Iterable[Facts], now: float) -> list[str]:
    """The lines of a table of nodes; none if there are none."""
    rows = [
        (
            *(bare(each.get(name)) for name in ("node", "pid", "host", "program", "endpoints")),
            age(each.get("since"), now),
        )
        for each in found
    ]
    return table(_NODES, sorted(rows), texts=len(_NODES))


def age(since: Any, now: float) -> str:
    """How long ago `since` (unix seconds) was."""
    if isinstance(since, bool) or not isinstance(since, int | float):
        return "?"
    return numbers.duration(now - since)
