"""The queries of a session: to other nodes (ASK, answered by TELL), and to the proxy (LIST by LISTED, LAST by KEPT).

    ask  ──▸ open ──TELL──▸ QueryReply, and open still: there may be more answers
              ├─ ACK ─────▸ QuerySent (of a query to all nodes: their number)
              ├─ ERROR ───▸ QueryFailed gone, busy: of one node
              ├─ link lost, deadline ──▸ QueryFailed without an origin: no more answers follow
              └─ cancel
    endpoints ──▸ open ──LISTED──▸ Listing
                   └─ deadline ──▸ CallFailed      a lost link does not end it: it is asked again
    last ──▸ open ──KEPT──▸ RetainedPage           else the same

A query to other nodes is not repeated after a reconnect: only its caller knows what an answer is worth then. A query to
the proxy is.

Queries of other nodes arrive as QueryArrived, and are answered by `tell`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.errors import Closed, DeliveryTimeout, EndpointBusy, FabricError, NotConnected, Refused, WireError
from fabric.messages.session.outcomes import (
    CallFailed,
    Listing,
    QueryArrived,
    QueryFailed,
    QueryReply,
    QuerySent,
    RetainedPage,
)
from fabric.messages.session.refusals import refusal
from fabric.protocol import verbs

#: Open queries.
MAX_QUERIES = 10_000


class _Query:
    __slots__ = ("asked_at", "deadline", "frames", "to_proxy", "verb")

    def __init__(self, frames: list[bytes], asked_at: float, deadline: float) -> None:
        self.frames = frames
        self.asked_at = asked_at
        self.deadline = deadline
        self.verb = frames[0]
        self.to_proxy = self.verb != verbs.ASK


class Queries:
    """The open queries of a session. Frames go to `outgoing`, results to `outcomes`."""

    def __init__(self, outgoing: deque[list[bytes]], outcomes: deque[Any], *, max_queries: int = MAX_QUERIES) -> None:
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._max_queries = max_queries
        self._up = False
        self._open: dict[str, _Query] = {}

    # Called by the session

    def ask(self, id: str, origin: bytes, body: bytes, deadline: float, now: float) -> None:
        """Query a node, or all others (`b"*"`)."""
        frames = verbs.encode(verbs.Ask(id, origin, body))
        if self._up:
            self._begin(id, frames, deadline, now)
        else:
            self._outcomes.append(QueryFailed(id, b"", "disconnected"))

    def tell(self, query: QueryArrived, body: bytes) -> None:
        """Answer a query of another node."""
        self._outgoing.append([verbs.TELL, query.id.encode(), query.back, body])

    def endpoints(self, id: str, query: dict[str, Any], deadline: float, now: float) -> None:
        """Ask the proxy for the endpoints and nodes that are present."""
        self._begin(id, verbs.encode(verbs.List(id, query)), deadline, now)

    def last(self, id: str, query: dict[str, Any], deadline: float, now: float) -> None:
        """Ask the proxy for retained events."""
        self._begin(id, verbs.encode(verbs.Last(id, query)), deadline, now)

    def cancel(self, id: str) -> bool:
        """End a query without an outcome. False if the id is not open."""
        return self._open.pop(id, None) is not None

    def up(self) -> None:
        """The proxy has welcomed us: repeat the open queries."""
        self._up = True
        self._outgoing.extend(query.frames for query in self._open.values())

    def down(self) -> None:
        """The link is lost: queries to other nodes fail."""
        self._up = False
        for id_, query in list(self._open.items()):
            if not query.to_proxy:
                self._end(id_, QueryFailed(id_, b"", "disconnected"))

    def close(self) -> None:
        """All open queries fail: those to other nodes as when the link is lost, those to the proxy with Closed."""
        self.down()
        for id_ in list(self._open):
            self._end(id_, CallFailed(id_, Closed("the node was closed before the proxy answered")))

    def next_deadline(self) -> float | None:
        """The time at which `tick` is due; None: never."""
        return min((query.deadline for query in self._open.values()), default=None)

    def tick(self, now: float) -> None:
        """End the queries that have reached their deadline."""
        for id_, query in [item for item in self._open.items() if item[1].deadline <= now]:
            if query.to_proxy:
                self._end(id_, CallFailed(id_, self._overdue(query, now)))
            else:
                self._end(id_, QueryFailed(id_, b"", "timeout"))

    def leftovers(self) -> dict[str, int]:
        """See `Session.leftovers`."""
        return {"queries": len(self._open)}

    # Verbs of the proxy

    def arrived(self, message: verbs.Asking, now: float) -> None:
        """ASK: another node queries us."""
        self._outcomes.append(QueryArrived(*message))

    def sent(self, ack: verbs.Ack) -> None:
        """ACK: the number of nodes that a query to all has gone to."""
        if ack.id in self._open:
            self._outcomes.append(QuerySent(ack.id, ack.delivered))

    def told(self, message: verbs.Telling, now: float) -> None:
        """TELL: the answer of one node."""
        if message.id in self._open:
            self._outcomes.append(QueryReply(message.id, message.origin, message.body))

    def listed(self, message: verbs.Listed, now: float) -> None:
        """LISTED: the answer to LIST. WireError if it is malformed."""
        query = self._open.get(message.id)
        if query is None or query.verb != verbs.LIST:
            return
        endpoints, nodes = message.listing.get("endpoints"), message.listing.get("nodes")
        if not isinstance(endpoints, list) or not isinstance(nodes, list):
            raise WireError("a listing has endpoints and nodes")
        self._end(message.id, Listing(message.id, endpoints, nodes, message.listing.get("truncated") is True))

    def retained(self, message: verbs.Kept, now: float) -> None:
        """KEPT: the answer to LAST. WireError if it is malformed."""
        query = self._open.get(message.id)
        if query is None or query.verb != verbs.LAST:
            return
        facts = message.kept
        events, after, mark = facts.get("events"), facts.get("after"), facts.get("mark")
        if not isinstance(events, list) or type(after) is not int or not (mark is None or type(mark) is int):
            raise WireError("a page of last events has events, after and mark")
        for event in events:
            if not isinstance(event, list) or [type(part) for part in event] != [str, str, int, dict]:
                raise WireError("a last event is [topic, origin, number, envelope]")
        self._end(message.id, RetainedPage(message.id, events, facts.get("more") is True, after, mark))

    def refused(self, error: verbs.Error, now: float) -> None:
        """ERROR about ASK, LIST or LAST, or about a verb that the proxy does not know."""
        query = self._open.get(error.subject)
        if query is None:
            return
        if query.to_proxy:
            self._end(error.subject, CallFailed(error.subject, _refusal(query, error)))
            return
        try:
            origin = bytes.fromhex(str(error.detail.get("origin", "")))
        except ValueError:
            raise WireError("an origin is hexadecimal") from None
        self._outcomes.append(QueryFailed(error.subject, origin, error.code))

    def _begin(self, id: str, frames: list[bytes], deadline: float, now: float) -> None:
        if id in self._open:
            raise ValueError(f"id {id!r} is being asked already: ids are used once")
        if len(self._open) >= self._max_queries:
            raise EndpointBusy(f"{self._max_queries:,} questions wait for an answer, no more are asked")
        self._open[id] = _Query(frames, now, deadline)
        if self._up:
            self._outgoing.append(frames)

    def _end(self, id: str, outcome: QueryFailed | CallFailed | Listing | RetainedPage) -> None:
        del self._open[id]
        self._outcomes.append(outcome)

    def _overdue(self, query: _Query, now: float) -> FabricError:
        waited = round(now - query.asked_at, 3)
        if self._up:
            return DeliveryTimeout("the proxy", waited)
        asked = "who is there" if query.verb == verbs.LIST else "what came last"
        return NotConnected(f"no proxy was there for {waited:g} s to say {asked}")


def _refusal(query: _Query, error: verbs.Error) -> FabricError:
    if error.code == "unknown_verb":
        return Refused("the proxy", error.code, f"it is of a version that does not know {query.verb.decode()}")
    return refusal("", error.code, error.detail)
