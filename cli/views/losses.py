"""Losses by cause and node, from the statistics record. Pure.

    events     every cause that a node has reported; see `fabric.protocol.node_report`
    messages   `busy`: the receiver's pipe was full, so the proxy could not pass it on; its sender got an error
    hooks      `dropped`: more messages waited for a hook's program than its queue holds

Not counted: refusals (a wrong name, a taken one), and receipts for senders that had gone. Nothing that was accepted was
lost there.
"""

from __future__ import annotations

from typing import NamedTuple

from proxy.stats import ProxyStats

#: The meaning of each cause, in words that name the place to look at.
_CAUSES = {
    "outbox": "that waited for a proxy too long, or with too many others",
    "unencodable": "with a payload that is no JSON",
    "missed": "that left another node and never arrived",
    "handlers": "for async subscribers without a loop, or with one that is stuck",
}


class Loss(NamedTuple):
    """A number of losses of one kind, with one cause."""

    number: int
    #: `event` or `message`.
    what: str
    cause: str
    why: str
    #: Connected nodes that have counted some of them, the most first: name and number.
    where: tuple[tuple[str, int], ...] = ()

    @property
    def elsewhere(self) -> int:
        """The number of events that no node in `where` has counted: that node has gone, or was not listed."""
        return max(self.number - sum(count for _, count in self.where), 0) if self.what == "event" else 0


def losses(stats: ProxyStats) -> list[Loss]:
    """All losses since the proxy's start: events first, the most first."""
    found = [
        Loss(count, "event", cause, _CAUSES.get(cause, "for a reason that a newer version knows"), _where(stats, cause))
        for cause, count in stats.dropped.items()
        if count
    ]
    found.sort(key=lambda loss: (-loss.number, loss.cause))
    if busy := stats.messages.get("busy", 0):
        found.append(Loss(busy, "message", "busy", "for nodes that did not read; senders were told"))
    if dropped := stats.hooks.get("dropped", 0):
        found.append(Loss(dropped, "message", "hooks", "for hooks that too many were waiting for"))
    return found


def _where(stats: ProxyStats, cause: str) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for member in stats.members:
        if member.report is not None and (count := member.report.dropped.get(cause, 0)):
            counts[member.node] = counts.get(member.node, 0) + count
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
