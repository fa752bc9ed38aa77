"""What came last, before what comes live: reading a proxy's pages, and joining the two without a seam.

    proxy    place mark ──▸ among the events ──▸ `marked`   all that had passed before it has been delivered here
             LAST, KEPT ──▸ pages            ──▸ `take`     what came last on each topic, as of that mark

Whatever passes after the mark arrives live and is in no page. What passed before it is in a page if it was the last of
its topic, and may have been delivered live as well, just before: `unseen` leaves that out. So it takes both, the pages
and the mark, and nothing is told twice, or before what it came after.

Pure; `proxy.events.retained` is the other half.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from fabric.messages.session.outcomes import RetainedPage
from fabric.protocol.envelope import Envelope


class RetainedEvent(NamedTuple):
    """The last event of a topic, as the proxy has it; its envelope says `replayed`."""

    topic: str
    envelope: Envelope


class RetainedPages:
    """The answer to one question, page by page. Without a token it is how things stand, and joins to nothing."""

    def __init__(self, pattern: str, token: str = "") -> None:
        self._pattern = pattern
        self._token = token
        self._after = 0
        self._mark: int | None = None
        self._marked: set[int] = set()
        self._found: list[RetainedEvent] = []
        #: Whether the last page is here.
        self.complete = False

    def query(self) -> dict[str, Any]:
        """What to ask next."""
        query = {"pattern": self._pattern, "after": self._after}
        return query | {"mark": self._token} if self._token else query

    def take(self, page: RetainedPage) -> bool:
        """The answer to it. False if the proxy has nothing to say yet: ask again in a moment."""
        if self._token and page.mark is None and page.more:
            # Its mark is on its way; or this is another proxy than the one before, which has places of its own.
            self._after, self._mark, self._found = 0, None, []
            return False
        self._mark = page.mark
        self._after = page.after
        self._found += [RetainedEvent(topic, {**envelope, "replayed": True}) for topic, _, _, envelope in page.events]
        self.complete = not page.more
        return True

    def marked(self, envelope: Envelope) -> bool:
        """A place mark that was delivered here. Whether it is one of ours."""
        number = envelope.get("mark")
        if envelope.get("token") != self._token or type(number) is not int:
            return False
        self._marked.add(number)
        return True

    @property
    def joined(self) -> bool:
        """Whether all that passed before the mark has been delivered here; a proxy that keeps nothing makes none."""
        return self.complete and (self._mark is None or self._mark in self._marked)

    @property
    def found(self) -> list[RetainedEvent]:
        """What came last, the topic that was silent longest first."""
        return self._found


def unseen(last: Iterable[Envelope], live: Iterable[Envelope]) -> list[Envelope]:
    """Those of `last` that are not in `live`: what was delivered since subscribing."""
    last = list(last)
    if not last:
        return []
    # By their JSON: what was published here has tuples and datetimes where what has travelled has lists and strings.
    # All of an envelope is compared only where its head is the same.
    heads: dict[bytes, list[Envelope]] = {}
    for envelope in live:
        try:
            heads.setdefault(_head(envelope), []).append(envelope)
        except TypeError:  # no JSON: it never was at a proxy
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
