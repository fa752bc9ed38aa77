"""Whether everything is accounted for, and the table that says so.

    per subscriber and origin alive at the end    published = delivered + gaps + what the publisher counted as dropped
    per subscriber                                nothing twice, nothing out of order per origin and topic
    per message                                   what its receipt says is what its holder did

A publisher that was killed is judged by what its last delivery proves: up to there its events were numbered, and a hole
in them is a gap like any other. What a topic's first event seen had before it nobody can know, unless the subscriber was
ready before the publisher began: that is `before`, and printed.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.chaos.ledger import unexplained

#: A receipt that says so says that no handler has run.
NOT_DELIVERED = {"NoSuchEndpoint", "EndpointBusy", "Refused", "NotConnected"}


class Published(NamedTuple):
    """One life of a publisher, at the end."""

    name: str
    origin: str
    topics: dict[str, int]
    stats: dict[str, object]

    @property
    def total(self):
        return sum(self.topics.values())

    @property
    def uncounted(self):
        """Events that never were numbered: dropped, refused, or wanted by nobody outside."""
        return self.total - self.stats["sent"]


class Row(NamedTuple):
    """What became of everything, for one subscriber."""

    name: str
    published: int
    delivered: int
    missed: int
    recovered: int
    joining: int
    before: int
    #: Counted as dropped: in its inbox, on its loop, and by publishers before they were sent.
    inbox: int
    handlers: int
    outbox: int
    #: Neither delivered nor reported as a gap: these must be the dropped ones.
    left: int
    disorder: int

    @property
    def dropped(self):
        """By whomever."""
        return self.inbox + self.handlers + self.outbox

    @property
    def unexplained(self):
        """Events that nobody has said anything about; negative: of which too much was said."""
        return max(self.left - self.dropped, 0) or min(self.left, 0)


def row(name, report, publishers):
    """The account of one subscriber over the origins alive at the end."""
    track, stats = report["track"], report["stats"]
    lost = before = delivered = published = missed = 0
    for each in publishers:
        accounts = track["accounts"].get(each.origin, {})
        more, earlier = unexplained(accounts, each.topics)
        lost += more
        before += earlier
        published += each.total
        delivered += sum(account[2] for account in accounts.values())
        missed += sum(account[3] for account in accounts.values())
    return Row(
        name,
        published,
        delivered,
        missed,
        stats["recovered"],
        stats["joining"],
        before,
        stats["inbox_dropped"],
        stats["handlers_dropped"],
        sum(each.uncounted for each in publishers),
        lost,
        track["disorder"],
    )


def problems_of(row, *, from_the_start):
    """What is wrong with an account, in sentences. `from_the_start`: it and all publishers were there all the while."""
    found = []
    if row.disorder:
        found.append(f"{row.name}: {row.disorder} events twice or out of order")
    if row.unexplained:
        found.append(f"{row.name}: {row.unexplained} events unexplained")
    elif from_the_start and row.before + row.left != row.dropped:
        found.append(f"{row.name}: {row.before + row.left} events missing, {row.dropped} counted as dropped")
    return found


def problems_of_messages(outcomes, lives, *, killed):
    """What is wrong with receipts: `outcomes` by number, `lives` the numbers that each life of the holder handled."""
    found = []
    for number, handled in enumerate(lives):
        if len(handled) != len(set(handled)):
            found.append(f"life {number} of the holder handled a message twice")
    everything = [number for handled in lives for number in handled]
    if len(everything) != len(set(everything)):
        found.append("two lives of the holder handled the same message, and nobody asked for that")
    handled = set(everything)
    for number, outcome in outcomes:
        if outcome in NOT_DELIVERED and number in handled:
            found.append(f"message {number} ended as {outcome}, and was handled")
        if outcome == "never settled":
            found.append(f"message {number} has no outcome, long after its deadline")
        if outcome == "delivered" and number not in handled and not killed:
            found.append(f"message {number} was delivered, and never handled")
    return found


def table(rows):
    """The rows of NamedTuples, aligned."""
    if not rows:
        return ""
    head = [name.replace("_", " ") for name in rows[0]._fields]
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in each] for each in rows]
    widths = [max(len(line[column]) for line in [head, *cells]) for column in range(len(head))]
    lines = []
    for line in [head, *cells]:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)
