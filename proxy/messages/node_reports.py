"""The nodes' reports: the last one of each origin, present or departed, so that a loss stays known.

A node's counts grow for as long as its link lives, over reconnects and restarts of the proxy. So the last report of each
origin is kept, sums are over origins, and a node that comes back continues its counts. Of departed origins a bounded number
is kept; older ones are added up in one total. An origin that returns after that is counted twice, but only after 10,000
others have departed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fabric.protocol.node_report import MAX_CAUSES, MAX_COUNT, Report

#: Departed origins kept, some 5 MiB.
MAX_DEPARTED = 10_000
#: The cause under which further unknown causes are added up, beyond `MAX_CAUSES`.
OTHER = "other"


class Rates(NamedTuple):
    """Events per second between a node's last two reports."""

    sent: float = 0.0
    delivered: float = 0.0


class Totals(NamedTuple):
    """Sums over all nodes that ever reported."""

    published: int
    sent: int
    delivered: int
    gaps: int
    dropped: dict[str, int]


class _Last(NamedTuple):
    report: Report
    at: float
    rates: Rates


class NodeReports:
    """Reports by origin; at most `limit` departed ones. One thread writes, any may read."""

    def __init__(self, limit: int = MAX_DEPARTED) -> None:
        self._limit = limit
        self._last: dict[bytes, _Last] = {}
        self._departed: dict[bytes, Report] = {}
        self._evicted = Totals(0, 0, 0, 0, {})

    def __len__(self) -> int:
        """Number of origins whose last report is kept, present or departed."""
        return len(self._last) + len(self._departed)

    def add(self, origin: bytes, report: Report, now: float) -> None:
        """Store the report of a connected node. `now` is monotonic."""
        before = self._last.get(origin)
        past = self._departed.pop(origin, None) if before is None else None
        rates = Rates()
        if before is not None and (elapsed := now - before.at) > 0:
            rates = Rates(
                max(report.sent - before.report.sent, 0) / elapsed,
                max(report.delivered - before.report.delivered, 0) / elapsed,
            )
        elif past is not None and report.sent < past.sent:
            self._evict(past)  # its link was opened anew, and its counts began at 0
        self._last[origin] = _Last(report, now, rates)

    def node_left(self, origin: bytes) -> None:
        """A node has left or was lost; keep its last report."""
        if (last := self._last.pop(origin, None)) is not None:
            self._departed[origin] = last.report
            while len(self._departed) > self._limit:
                self._evict(self._departed.pop(next(iter(self._departed))))

    def latest(self, origin: bytes) -> tuple[Report | None, Rates]:
        """The last report of a connected node, None before the first, and the rates between the last two."""
        last = self._last.get(origin)
        return (None, Rates()) if last is None else (last.report, last.rates)

    @property
    def subscriptions(self) -> int:
        """Sum of the subscriptions of the connected nodes."""
        return min(sum(last.report.subscriptions for last in list(self._last.values())), MAX_COUNT)

    def totals(self) -> Totals:
        """Sums over all nodes that ever reported."""
        total = self._evicted
        for report in [last.report for last in list(self._last.values())] + list(self._departed.values()):
            total = _added(total, report)
        return total

    def _evict(self, report: Report) -> None:
        self._evicted = _added(self._evicted, report)


def _added(total: Totals, report: Report) -> Totals:
    return Totals(
        min(total.published + report.published, MAX_COUNT),
        min(total.sent + report.sent, MAX_COUNT),
        min(total.delivered + report.delivered, MAX_COUNT),
        min(total.gaps + report.gaps, MAX_COUNT),
        _with_causes(total.dropped, report.dropped) if report.dropped else total.dropped,
    )


def _with_causes(total: Mapping[str, int], dropped: Mapping[str, int]) -> dict[str, int]:
    """The sum of both, with at most `MAX_CAUSES` causes and `OTHER`."""
    both = dict(total)
    for cause, count in dropped.items():
        known = cause in both or len(both) < MAX_CAUSES
        name = cause if known else OTHER
        both[name] = min(both.get(name, 0) + count, MAX_COUNT)
    return both
