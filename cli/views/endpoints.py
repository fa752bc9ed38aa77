"""The tables of endpoints and nodes: for `fabric ls` and `fabric proxy status`. Pure.

Facts come from other programs: they are escaped here, and may have any type, because a proxy that answers nonsense is
examined with the same commands.
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
    """The lines of the table of endpoints, none if there are none. `now` is unix seconds."""
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
    """The lines of the table of nodes, none if there are none. `now` is unix seconds."""
    rows = [
        (
            *(bare(each.get(name)) for name in ("node", "pid", "host", "program", "endpoints")),
            age(each.get("since"), now),
        )
        for each in found
    ]
    return table(_NODES, sorted(rows), texts=len(_NODES))


def age(since: Any, now: float) -> str:
    """The time from `since` to `now`, both unix seconds; `?` if `since` is no time."""
    if isinstance(since, bool) or not isinstance(since, int | float):
        return "?"
    return numbers.duration(now - since)
