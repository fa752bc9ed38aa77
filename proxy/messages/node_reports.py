"""What nodes have reported, of those that are here and of those that have gone: a loss stays known.

A node's counts grow for as long as its link lives, over reconnects and restarts of the proxy. So the last report of each
origin is kept, and sums are over origins; a node that comes back goes on where it was. Of the gone only so many are
kept apart, the oldest are added up: an origin that returns after that is counted twice, and 10,000 others came between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fabric.protocol.node_report import MAX_CAUSES, MAX_COUNT, Report

#: Origins that are gone and kept apart: 5 MiB or so.
MAX_DEPARTED = 10_000
#: Where the losses of causes that nobody knows are added up, once strangers have invented too many.
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
    """See the module. One thread writes, any may read."""

    def __init__(self, limit: int = MAX_DEPARTED) -> None:
        self._limit = limit
        self._last: dict[bytes, _Last] = {}
        self._departed: dict[bytes, Report] = {}
        self._evicted = Totals(0, 0, 0, 0, {})

    def __len__(self) -> int:
        """Number of origins whose last report is kept, present or departed."""
        return len(self._last) + len(self._departed)

    def add(self, origin: bytes, report: Report, now: float) -> None:
        """A node that is here has reported."""
        before = self._last.get(origin)
        past = self._departed.pop(origin, None) if before is None else None
        rates = Rates()
        if before is not None and (elapsed := now - before.at) > 0:
            rates = Rates(
                max(report.sent - before.report.sent, 0) / elapsed,
                max(report.delivered - before.report.delivered, 0) / elapsed,
            )
        elif past is not None and report.sent < past.sent:
            self._evict(past)  # its link was opened anew: these counts have begun again
        self._last[origin] = _Last(report, now, rates)

    def node_left(self, origin: bytes) -> None:
        """A node has left, or was lost."""
        if (last := self._last.pop(origin, None)) is not None:
            self._departed[origin] = last.report
            while len(self._departed) > self._limit:
                self._evict(self._departed.pop(next(iter(self._departed))))

    def latest(self, origin: bytes) -> tuple[Report | None, Rates]:
        """What a node that is here has reported last."""
        last = self._last.get(origin)
        return (None, Rates()) if last is None else (last.report, last.rates)

    @property
    def subscriptions(self) -> int:
        """Of the nodes that are here."""
        return min(sum(last.report.subscriptions for last in list(self._last.values())), MAX_COUNT)

    def totals(self) -> Totals:
        """Over all nodes that ever reported."""
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
    """Both, with at most `MAX_CAUSES` causes and `OTHER`."""
    both = dict(total)
    for cause, count in dropped.items():
        known = cause in both or len(both) < MAX_CAUSES
        name = cause if known else OTHER
        both[name] = min(both.get(name, 0) + count, MAX_COUNT)
    return both
