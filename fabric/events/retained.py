"""Retained events: the last event of each topic, read from the proxy page by page and joined with live events.

    proxy    place mark ──▸ among the events ──▸ `marked`   every event that passed before it has been delivered here
             LAST, KEPT ──▸ pages            ──▸ `take`     the last event of each topic, as of that mark

An event that passes after the mark arrives live and is in no page. An event that passed before it is in a page if it was
the last of its topic, and may have been delivered live as well, just before: `unseen` leaves that one out. So a join needs
both, the pages and the mark. Then no event is delivered twice, or before an earlier one of its topic.

    RetainedPages   the protocol, without I/O and clock; `proxy.events.retained` is the other half
    RetainedFetch   one fetch with its mark, for `subscribe(last=True)`: made after the subscription that it is for, on
                    the same thread; its `fetch` blocks, on a thread that may wait
    fetch           pages alone: the state as of now, joined to nothing
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from time import monotonic, sleep
from types import TracebackType
from typing import Any, NamedTuple

import orjson

from fabric.bus.bus import Bus
from fabric.messages.session.outcomes import RetainedPage
from fabric.protocol.envelope import Envelope
from fabric.protocol.topics import KEPT_TOPIC

#: Seconds until a page is asked for again whose place mark has not passed yet, at first and at most: it takes under a
#: millisecond through a proxy that is idle.
RETRY_INTERVAL = 0.002
MAX_RETRY_INTERVAL = 0.1
#: Seconds beyond the deadline that the answer to a question may take, which ends by itself at the deadline.
ANSWER_MARGIN = 1.0

#: `ask(query, timeout)`: see `Messaging.last`.
Ask = Callable[[dict[str, Any], float], "Future[RetainedPage]"]


class RetainedEvent(NamedTuple):
    """The last event of a topic, as the proxy has it; its envelope says `replayed`."""

    topic: str
    envelope: Envelope


class RetainedPages:
    """The pages of one query. Without a token there is no place mark, and nothing to join with."""

    def __init__(self, pattern: str, token: str = "") -> None:
        self._pattern = pattern
        self._token = token
        self._after = 0
        self._mark: int | None = None
        self._marked: set[int] = set()
        self._found: list[RetainedEvent] = []
        #: Whether the last page has arrived.
        self.complete = False

    def query(self) -> dict[str, Any]:
        """The next query."""
        query = {"pattern": self._pattern, "after": self._after}
        return query | {"mark": self._token} if self._token else query

    def take(self, page: RetainedPage) -> bool:
        """The answer to `query`. False if the proxy cannot answer yet: ask again in a moment."""
        if self._token and page.mark is None and page.more:
            # The mark has not passed yet; or this is another proxy than the one before, which has places of its own.
            self._after, self._mark, self._found = 0, None, []
            return False
        self._mark = page.mark
        self._after = page.after
        self._found += [RetainedEvent(topic, {**envelope, "replayed": True}) for topic, _, _, envelope in page.events]
        self.complete = not page.more
        return True

    def marked(self, envelope: Envelope) -> bool:
        """A place mark was delivered here. Returns whether it is one of this query."""
        number = envelope.get("mark")
        if envelope.get("token") != self._token or type(number) is not int:
            return False
        self._marked.add(number)
        return True

    @property
    def joined(self) -> bool:
        """Whether every event that passed before the mark has been delivered here. A proxy without `retain` sends none."""
        return self.complete and (self._mark is None or self._mark in self._marked)

    @property
    def found(self) -> list[RetainedEvent]:
        """The retained events, in the order of their last updates."""
        return self._found


def fetch(pages: RetainedPages, ask: Ask, deadline: float) -> None:
    """Get all pages. Blocks, at most until `deadline` (monotonic seconds).

    TimeoutError past the deadline, FabricError if the proxy cannot be asked.
    """
    pause = RETRY_INTERVAL
    while not pages.complete:
        left = max(deadline - monotonic(), 0.001)
        if pages.take(ask(pages.query(), left).result(left + ANSWER_MARGIN)):
            pause = RETRY_INTERVAL
        elif monotonic() + pause >= deadline:
            raise TimeoutError("the proxy did not say in time what came last")
        else:
            sleep(pause)
            pause = min(2 * pause, MAX_RETRY_INTERVAL)


class RetainedFetch:
    """One query with a place mark, which arrives on the way of the events, after those that passed before it.

    A context manager: it has a subscription of its own, to the place marks.
    """

    def __init__(self, bus: Bus, pattern: str) -> None:
        self._pages = RetainedPages(pattern, os.urandom(8).hex())
        self._changed = threading.Condition()
        self._subscription = bus.subscribe(KEPT_TOPIC, self._on_mark)

    def _on_mark(self, envelope: Envelope) -> None:
        with self._changed:
            if self._pages.marked(envelope):
                self._changed.notify_all()

    def fetch(self, ask: Ask, deadline: float) -> list[RetainedEvent]:
        """The retained events, after every event that passed before the place mark has been delivered here.

        The subscriptions must be live. Blocks, and raises, as the function `fetch` does.
        """
        pages = self._pages
        fetch(pages, ask, deadline)
        with self._changed:
            if not self._changed.wait_for(lambda: pages.joined, max(deadline - monotonic(), 0.0)):
                raise TimeoutError("what came before was not delivered in time")
            return pages.found

    def close(self) -> None:
        """End its own subscription."""
        self._subscription.cancel()

    def __enter__(self) -> RetainedFetch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def unseen(last: Iterable[Envelope], live: Iterable[Envelope]) -> list[Envelope]:
    """Those of `last` that are not in `live`, the events delivered since subscribing."""
    last = list(last)
    if not last:
        return []
    # Compared as JSON: an envelope published here has tuples and datetimes where one that has travelled has lists and
    # strings. Whole envelopes are compared only where their heads are equal.
    heads: dict[bytes, list[Envelope]] = {}
    for envelope in live:
        try:
            heads.setdefault(_head(envelope), []).append(envelope)
        except TypeError:  # not encodable: it was never sent
            continue
    return [envelope for envelope in last if not _is_in(envelope, heads.get(_head(envelope), ()))]


def _head(envelope: Envelope) -> bytes:
    return orjson.dumps([envelope.get("type"), envelope.get("src"), envelope.get("ts")])


def _is_in(last: Envelope, live: Iterable[Envelope]) -> bool:
    same = _encoded(last)
    return any(_encoded(envelope) == same for envelope in live)


def _encoded(envelope: Envelope) -> bytes:
    try:
        return orjson.dumps({key: value for key, value in envelope.items() if key != "replayed"})
    except TypeError:
        return b""
