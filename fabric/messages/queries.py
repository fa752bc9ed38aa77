"""The queries of a node, as futures: to other nodes, and to the proxy.

node, barriers  ──▸ QueryFutures ──▸ session, through the dealer
futures         ◂── QueryFutures ◂── outcomes, on the control thread

    to the proxy      listing, last   one outcome ends the query: Listing, RetainedPage or CallFailed
    to one node       ask             one reply
    to all nodes      ask_all         as many replies as nodes were asked (QuerySent)
    of other nodes    answer_with     answered on the control thread

A node's reply is JSON; None stands for a node that has gone away or whose reply is no JSON, False for a busy one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any

import orjson

from fabric.errors import FabricError, NotConnected
from fabric.messages.session import outcomes
from fabric.messages.session.session import Session


class _Query:
    """One open query. Once it is open only the control thread uses it, except for `close`, which takes it away first."""

    __slots__ = ("expected", "future", "partial", "replies")

    def __init__(self, *, expected: int | None = None, partial: bool = False) -> None:
        self.future: Future[Any] = Future()
        # It cannot be cancelled: an asyncio task that gives up would race with the control thread that sets the result.
        self.future.set_running_or_notify_cancel()
        self.replies: list[Any] = []
        #: Number of replies that end it. None: not known yet, or a query to the proxy.
        self.expected = expected
        #: At its deadline the replies that have come are the result.
        self.partial = partial


class QueryFutures:
    """One node's queries. Public methods may be called on any thread; the handlers of outcomes on the control thread."""

    def __init__(self, call: Callable[..., Any], session: Session, new_id: Callable[[], str]) -> None:
        self._call = call
        self._session = session
        self._new_id = new_id
        # Around `_open`, for look-ups only. Re-entrant: a finaliser or a signal handler may interrupt its holder.
        self._lock = threading.RLock()
        self._open: dict[str, _Query] = {}
        self._answer: Callable[[Any], Any] = lambda question: None
        #: Type of outcome → its handler.
        self.handlers: dict[type, Callable[[Any], None]] = {
            outcomes.QueryArrived: self._arrived,
            outcomes.QuerySent: self._sent,
            outcomes.QueryReply: self._replied,
            outcomes.QueryFailed: self._not_replied,
            outcomes.Listing: self._answered,
            outcomes.RetainedPage: self._answered,
        }

    def __len__(self) -> int:
        """Number of open queries."""
        return len(self._open)

    def listing(self, timeout: float, *, name: str = "", nodes: bool = True) -> Future[outcomes.Listing]:
        """Ask the proxy for the endpoints and nodes that are present; with `name` only its holders."""
        return self._ask(_Query(), self._session.endpoints, timeout=timeout, name=name, nodes=nodes)

    def last(self, query: dict[str, Any], timeout: float) -> Future[outcomes.RetainedPage]:
        """Ask the proxy for one page of retained events; see `fabric.events.retained`."""
        return self._ask(_Query(), self._session.last, query, timeout=timeout)

    def ask(self, origin: bytes, question: Any, timeout: float) -> Future[list[Any]]:
        """Ask the node of `origin`. The result is a list with its reply."""
        return self._ask(_Query(expected=1), self._session.ask, origin, orjson.dumps(question), timeout=timeout)

    def ask_all(self, question: Any, timeout: float, *, partial: bool = False) -> Future[list[Any]]:
        """Ask every other node. The result is the list of their replies.

        With `partial` it is the replies that came within `timeout` seconds: a node that is stopped never replies. Without,
        a missing reply is NotConnected.
        """
        return self._ask(_Query(partial=partial), self._session.ask, b"*", orjson.dumps(question), timeout=timeout)

    def answer_with(self, answer: Callable[[Any], Any]) -> None:
        """Set the function that answers the queries of other nodes: `answer(question)` → JSON, on the control thread."""
        self._answer = answer

    def failed(self, outcome: outcomes.CallFailed) -> None:
        """For the handler of CallFailed, which may be about a message instead. The control thread."""
        self._fail(outcome.id, outcome.error)

    def close(self, error: FabricError) -> None:
        """Open queries fail with `error`."""
        with self._lock:
            queries, self._open = list(self._open.values()), {}
        for query in queries:
            query.future.set_exception(error)

    def forked(self) -> None:
        """This process is a fork's child: the queries are the parent's."""
        self._lock = threading.RLock()
        self._call = lambda *_arguments, **_keywords: None

    def _ask(
        self, query: _Query, method: Callable[..., None], *arguments: Any, timeout: float, **keywords: Any
    ) -> Future[Any]:
        id_, now = self._new_id(), monotonic()
        with self._lock:
            self._open[id_] = query
        try:
            self._call(method, id_, *arguments, now + timeout, now, **keywords)
        except (FabricError, ValueError):
            self._take(id_)
            raise
        return query.future

    def _get(self, id_: str) -> _Query | None:
        with self._lock:
            return self._open.get(id_)

    def _take(self, id_: str) -> _Query | None:
        with self._lock:
            return self._open.pop(id_, None)

    # Outcomes

    def _arrived(self, query: outcomes.QueryArrived) -> None:
        try:
            answer = self._answer(orjson.loads(query.body))
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            answer = None  # a question of another version: answered all the same, so that its node does not wait
        self._call(self._session.tell, query, orjson.dumps(answer))

    def _answered(self, outcome: outcomes.Listing | outcomes.RetainedPage) -> None:
        self._finish(outcome.id, outcome)

    def _sent(self, outcome: outcomes.QuerySent) -> None:
        if (query := self._get(outcome.id)) is not None:
            query.expected = outcome.nodes
            self._check(outcome.id, query)

    def _replied(self, outcome: outcomes.QueryReply) -> None:
        try:
            reply = orjson.loads(outcome.body)
        except orjson.JSONDecodeError:
            reply = None
        self._add(outcome.id, reply)

    def _not_replied(self, outcome: outcomes.QueryFailed) -> None:
        if outcome.origin:
            self._add(outcome.id, None if outcome.reason == "gone" else False)
        elif outcome.reason == "timeout" and (query := self._get(outcome.id)) is not None and query.partial:
            self._finish(outcome.id, query.replies)
        else:
            self._fail(outcome.id, NotConnected(f"other nodes could not be asked: {outcome.reason}"))

    def _add(self, id_: str, reply: Any) -> None:
        if (query := self._get(id_)) is not None:
            query.replies.append(reply)
            self._check(id_, query)

    def _check(self, id_: str, query: _Query) -> None:
        """End a query that has all of its replies."""
        if query.expected is not None and len(query.replies) >= query.expected:
            self._finish(id_, query.replies)
            self._call(self._session.cancel, id_, monotonic())

    def _finish(self, id_: str, result: Any) -> None:
        if (query := self._take(id_)) is not None:
            query.future.set_result(result)

    def _fail(self, id_: str, error: FabricError) -> None:
        if (query := self._take(id_)) is not None:
            query.future.set_exception(error)
