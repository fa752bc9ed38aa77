"""What one subscriber makes of what arrives: every event of every origin is delivered, reported missing, or unexplained.

A publisher numbers its events per topic from 0, so a subscriber can tell what it did not get. Whatever is missing must
have been announced (`fabric.gap`) or counted where it was dropped: `delivered + gaps` is all there was, exactly.

    while joining      the account of a topic begins anew with each event: nothing is promised yet
    settled            at the first event of a topic after `settle`: from here on every event counts

A topic's account begins with the first event seen of it: what came before that (`first`) nobody could have noticed.
"""

from __future__ import annotations

from typing import Any


class Account:
    """One topic of one origin, since the event numbered `first`."""

    __slots__ = ("count", "first", "gaps", "last", "settled")

    def __init__(self, first: int, settled: bool) -> None:
        self.first = self.last = first
        self.count = 1
        self.gaps = 0
        self.settled = settled

    def unexplained(self, published: int) -> int:
        """How many of the events up to number `published` became of nothing that anybody said. Negative: said too much."""
        return published - self.first - self.count - self.gaps


class Track:
    """One subscription of one process. One thread calls it."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self.settled = False
        #: Events that came twice, or after a later one of their topic.
        self.disorder = 0
        self.delivered = 0
        #: Events that gaps were about, whatever their topic.
        self.missed = 0

    def settle(self) -> None:
        """The subscription is ready for everyone: from each topic's next event on everything counts."""
        self.settled = True

    def event(self, origin: str, topic: str, number: int) -> None:
        """An event was delivered."""
        self.delivered += 1
        account = self.accounts.get((origin, topic))
        if account is None:
            self.accounts[origin, topic] = Account(number, self.settled)
        elif number <= account.last:
            self.disorder += 1
        elif account.settled:
            account.last = number
            account.count += 1
        else:
            self.accounts[origin, topic] = Account(number, self.settled)

    def gap(self, origin: str, topic: str, missed: int) -> None:
        """A gap was reported."""
        self.missed += missed
        account = self.accounts.get((origin, topic))
        if account is not None:  # else it is about what came before the first event
            account.gaps += missed

    def report(self) -> dict[str, Any]:
        """As JSON: `accounts` by origin and topic."""
        accounts: dict[str, dict[str, list[int]]] = {}
        for (origin, topic), each in self.accounts.items():
            accounts.setdefault(origin, {})[topic] = [each.first, each.last, each.count, each.gaps]
        return {
            "accounts": accounts,
            "disorder": self.disorder,
            "delivered": self.delivered,
            "missed": self.missed,
            "settled": self.settled,
        }


def unexplained(accounts: dict[str, list[int]], published: dict[str, int]) -> tuple[int, int]:
    """(events of one origin that nobody explained, events before the first one seen); `accounts` as in a report.

    A topic of which nothing was seen and nothing was said counts as before its first event.
    """
    lost = before = 0
    for topic, count in published.items():
        account = accounts.get(topic)
        if account is None:
            before += count
            continue
        first, _, delivered, gaps = account
        lost += count - first - delivered - gaps
        before += first
    return lost, before
