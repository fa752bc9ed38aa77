"""The last event of each topic, for late subscribers.

    packs off the event plane ──take──▸ ┌──────────┐ ──answer──▸ the answer to LAST, page by page
                                        │ topic →  │
       at most `topics`, `max_bytes`    └──────────┘ ──▸ the row updated longest ago is evicted, and counted

A row is the last event of its topic, of any origin: origin, number, and the envelope as JSON. Rows are in the order of
their updates, and each update has a **place**, a number that only grows. So a page begins where the last one ended,
whatever changed in between.

Retained events and live events must join without a gap or a repeat. So the asker names a *token*, and the proxy publishes
a **place mark** for it among the events: `KEPT_TOPIC` with token and number. When the mark passes here, the
answer for the token is fixed: the events before it. The asker reads the mark, too; the events after it arrive there anyway.

    LAST   {"pattern": "state.**", "mark": token?, "after": place?}
    KEPT   {"events": [[topic, origin, number, envelope], …], "more": bool, "after": place, "mark": number │ null}

`more` with a `mark` of null: the place mark has not passed yet, ask again.

Pure: no socket, no clock, no lock; see `proxy.events.retainer`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError
from fabric.protocol.events import MAX_HOPS, decode_events, decode_topic
from fabric.protocol.node_report import MAX_COUNT
from fabric.protocol.sequence import DUPLICATE, Ledger
from fabric.protocol.topics import KEPT_TOPIC, PatternTable, check_pattern, check_topic, is_reserved

#: Rows scanned and bytes written for one answer: about a millisecond of the message plane's thread.
MAX_SCANNED = 1_000
PAGE_BYTES = 256 * 1024
#: Place marks remembered: concurrent askers.
MAX_MARKS = 1_000
#: Topics for which the match with the patterns is cached.
MATCH_CACHE_SIZE = 20_000
_MAX_TOKEN = 64

#: The answer of a proxy that retains nothing.
NOTHING = b'{"events":[],"more":false,"after":0,"mark":null}'


class RetainedAnswer(NamedTuple):
    """The answer to LAST as JSON, and the place mark to publish for it, if any: topic and payload."""

    data: bytes
    mark: tuple[str, dict[str, Any]] | None = None


class _Row(NamedTuple):
    place: int
    origin: bytes
    number: int
    envelope: bytes


class Retained:
    """All rows of one proxy. `patterns` are valid patterns."""

    def __init__(self, patterns: Iterable[str], *, topics: int, max_bytes: int, max_scanned: int = MAX_SCANNED) -> None:
        table: PatternTable[bool] = PatternTable()
        for pattern in patterns:
            table = table.adding(pattern, True)
        self._patterns = table
        self._max_topics, self._max_bytes, self._max_scanned = topics, max_bytes, max_scanned
        self._rows: OrderedDict[str, _Row] = OrderedDict()  # in the order of their places
        self._ledger = Ledger()
        self._match_cache: dict[str, bool] = {}
        self._place = 0
        self._marks: OrderedDict[str, tuple[int, int]] = OrderedDict()  # token → number of the mark, place
        self._marks_made = 0
        #: Bytes of topics and envelopes over all rows.
        self.bytes = 0
        #: Rows evicted because there were too many, or because one was too large.
        self.evicted = 0
        #: Events of retained topics that were sent and did not arrive here.
        self.missed = 0

    def __len__(self) -> int:
        return len(self._rows)

    # Events that pass

    def take(self, first: bytes, pack: bytes) -> None:
        """Read one message of the event plane. WireError if it is not our protocol."""
        _, hops, origin = decode_topic(first)
        if hops > MAX_HOPS:
            return  # no node accepts it, either
        seen = self._ledger.of(origin)
        latest: dict[str, tuple[int, dict[str, Any]]] = {}
        for topic, number, envelope in decode_events(pack):
            wanted = self._match_cache.get(topic)
            if wanted is None:
                if topic == KEPT_TOPIC:
                    # The events before the mark in this message count as before it.
                    self._keep_all(origin, latest)
                    latest = {}
                    self._note_mark(envelope or {})
                    continue
                wanted = self._is_retained(topic)
            if not wanted:
                continue
            if envelope is None:
                self._count_missed(self._ledger.judge_mark(seen, topic, number))
                continue
            missed = self._ledger.judge(seen, topic, number)
            if missed == DUPLICATE:
                continue
            if missed:
                self._count_missed(missed)
            latest.pop(topic, None)  # so that it is inserted at the end
            latest[topic] = (abs(number), envelope)
        self._keep_all(origin, latest)

    def _count_missed(self, count: int) -> None:
        self.missed = min(self.missed + count, MAX_COUNT)  # publishers can send any number

    def _is_retained(self, topic: str) -> bool:
        try:
            check_topic(topic)
            wanted = not is_reserved(topic) and bool(self._patterns.match(topic))
        except ValueError:
            wanted = False
        if len(self._match_cache) >= MATCH_CACHE_SIZE:
            self._match_cache.clear()
        self._match_cache[topic] = wanted
        return wanted

    def _keep_all(self, origin: bytes, latest: dict[str, tuple[int, dict[str, Any]]]) -> None:
        # Only the last event of a topic in a message is encoded: of a busy topic one event in eighty.
        for topic, (number, envelope) in latest.items():
            try:
                self._keep(topic, origin, number, orjson.dumps(envelope))
            except TypeError:  # nested deeper than orjson writes; the older row is not the last event any more
                self._drop(topic)

    def _keep(self, topic: str, origin: bytes, number: int, envelope: bytes) -> None:
        if (old := self._rows.pop(topic, None)) is not None:
            self.bytes -= _size(topic, old)
        self._place += 1
        row = self._rows[topic] = _Row(self._place, origin, number, envelope)
        self.bytes += _size(topic, row)
        if _size(topic, row) > self._max_bytes:
            self._drop(topic)  # else it would evict all others first
        while len(self._rows) > self._max_topics or self.bytes > self._max_bytes:
            self._drop(next(iter(self._rows)))

    def _drop(self, topic: str) -> None:
        self.evicted += 1
        if (row := self._rows.pop(topic, None)) is not None:
            self.bytes -= _size(topic, row)

    def _note_mark(self, envelope: dict[str, Any]) -> None:
        token, number = envelope.get("token"), envelope.get("mark")
        if not isinstance(token, str) or len(token) > _MAX_TOKEN or type(number) is not int or token in self._marks:
            return
        while len(self._marks) >= MAX_MARKS:
            self._marks.popitem(last=False)
        self._marks[token] = (number, self._place)

    # Queries

    def answer(self, query: dict[str, Any]) -> RetainedAnswer:
        """The answer to LAST, of at most `PAGE_BYTES` or one event. WireError for a malformed query."""
        pattern, token, after = query.get("pattern"), query.get("mark"), query.get("after", 0)
        try:
            check_pattern(pattern)  # type: ignore[arg-type]  # it raises for other types
        except (ValueError, TypeError) as error:
            raise WireError(f"`pattern`: {error}") from None
        if type(after) is not int or not (token is None or (isinstance(token, str) and 0 < len(token) <= _MAX_TOKEN)):
            raise WireError(f"`after` is a number, `mark` a text of at most {_MAX_TOKEN} characters")
        assert isinstance(pattern, str)
        if token is None:
            return RetainedAnswer(self._page(pattern, after, self._place, None))
        if (known := self._marks.get(token)) is None:
            self._marks_made += 1
            waiting = b'{"events":[],"more":true,"after":0,"mark":null}'
            return RetainedAnswer(waiting, (KEPT_TOPIC, {"token": token, "mark": self._marks_made}))
        number, until = known
        return RetainedAnswer(self._page(pattern, after, until, number))

    def _page(self, pattern: str, after: int, until: int, mark: int | None) -> bytes:
        match = PatternTable[bool]().adding(pattern, True).match
        events: list[bytes] = []
        size = scanned = 0
        more = False
        for topic, row in self._rows.items():
            if row.place <= after:
                continue
            if row.place > until:
                break
            if scanned >= self._max_scanned or (events and size + len(row.envelope) > PAGE_BYTES):
                more = True
                break
            scanned += 1
            after = row.place
            if match(topic):
                events.append(
                    b'[%b,"%b",%d,%b]' % (orjson.dumps(topic), row.origin.hex().encode(), row.number, row.envelope)
                )
                size += len(events[-1])
        facts = orjson.dumps({"more": more, "after": after, "mark": mark})
        return b'{"events":[%b],%b' % (b",".join(events), facts[1:])


def _size(topic: str, row: _Row) -> int:
    return len(topic) + len(row.envelope)
