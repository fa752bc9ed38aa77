"""Between the application's endpoints and receipts and the session: who is meant by what the session tells.

node.send, request, endpoint ──▸ Messaging ──▸ session, through the dealer
inboxes, receipts, barriers  ◂── Messaging ◂── outcomes, on the control thread
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from math import inf
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import orjson

from fabric.bus.loop_queue import running_loop
from fabric.errors import Closed, FabricError, MessageError, NotConnected
from fabric.messages.endpoint import Endpoint, Handler, Message
from fabric.messages.receipt import Receipt
from fabric.messages.session import outcomes
from fabric.messages.session.session import Session
from fabric.protocol.bodies import encode_body, encode_value
from fabric.protocol.fields import POLICIES

if TYPE_CHECKING:
    from fabric.messages.session.outcomes import Arrived

logger = logging.getLogger("fabric.endpoint")

#: Seconds that `endpoint()` waits for the proxy's answer, when there is a proxy: a round trip of a millisecond.
REGISTER_WAIT = 1.0
#: Reasons for which a proxy that is there does not take us.
TURNED_AWAY = ("full", "version")


class Messaging:
    """One node's messages. Its public methods may be called on any thread; `outcome` on the control thread."""

    def __init__(self, url: str, call: Callable[..., Any], session: Session, *, may_block: Callable[[], None]) -> None:
        self.url = url
        self.may_block = may_block
        self._call = call
        self._session = session
        self._numbers = itertools.count(1)  # as a generator of ids two threads at once would raise
        # Around the three below; held for look-ups only. Re-entrant: a finaliser or a signal handler may send.
        self._lock = threading.RLock()
        self._receipts: dict[str, Receipt] = {}
        self._futures: dict[str, Future[Any]] = {}
        self._endpoints: dict[int, Endpoint] = {}
        self._retired: list[Endpoint] = []
        #: The first name that was ever asked for here.
        self.first_name = ""
        self._welcome: Future[None] = Future()
        #: Why the proxy will not have us, if it has said so: `full`, `version`.
        self.turned_away = ""
        self._on_ask: Callable[[Any], Any] = lambda question: None
        self._replies: dict[str, list[Any]] = {}
        self._expected: dict[str, int] = {}
        self._partial: set[str] = set()
        self._handlers: dict[type, Callable[[Any], None]] = {
            outcomes.Welcomed: self._welcomed,
            outcomes.Disconnected: self._disconnected,
            outcomes.Arrived: self._arrived,
            outcomes.Delivered: self._delivered,
            outcomes.RequestReplied: self._replied,
            outcomes.CallFailed: self._failed,
            outcomes.NameRegistered: self._registered,
            outcomes.NameRefused: self._not_registered,
            outcomes.NameLost: self._lost,
            outcomes.QueryArrived: self._asked,
            outcomes.QuerySent: self._asked_all,
            outcomes.QueryReply: self._told,
            outcomes.QueryFailed: self._untold,
            outcomes.Listing: self._listed,
            outcomes.RetainedPage: self._listed,
        }

    def outcome(self, outcome: Any) -> None:
        """One of the session's outcomes."""
        if (handler := self._handlers.get(type(outcome))) is not None:
            handler(outcome)

    def welcomed(self) -> Future[None]:
        """Done when the proxy knows us; another one after a disconnect."""
        return self._welcome

    # Endpoints

    def endpoint(
        self, name: str, handler: Handler | None, *, policy: str, max_inbox: int, max_workers: int
    ) -> Endpoint:
        """See `Node.endpoint`."""
        if policy not in POLICIES:
            raise ValueError(f"policy is one of {', '.join(POLICIES)}, not {policy!r}")
        endpoint = Endpoint(name, handler, max_inbox=max_inbox, max_workers=max_workers, answers=self)
        with self._lock:
            # Registered under the lock, so that no outcome finds the key unknown.
            endpoint.key = self._call(self._session.register, name, policy, inf, monotonic())
            self.first_name = self.first_name or name
            self._endpoints[endpoint.key] = endpoint
        if self._welcome.done() and running_loop() is None:
            try:
                self.may_block()
                endpoint.wait_ready(REGISTER_WAIT)
            except (RuntimeError, TimeoutError):
                pass  # it goes on by itself; `wait_ready` says how
        return endpoint

    def release(self, key: int) -> None:
        """See `endpoint.Answers`."""
        with self._lock:
            self._endpoints.pop(key, None)
        self._call(self._session.unregister, key)

    # Sending

    def send(
        self,
        to: str,
        body: Mapping[str, Any],
        *,
        request: bool = False,
        sender: str = "",
        timeout: float = 5.0,
        redeliver: bool = False,
    ) -> Receipt:
        """See `Node.send` and `Node.request`."""
        encoded = encode_body(body, self._session.terms.max_bytes, to)
        receipt = Receipt(self._next_id(), to, request=request, may_block=self.may_block)
        with self._lock:
            self._receipts[receipt.id] = receipt
        now = monotonic()
        try:
            self._call(
                self._session.send,
                receipt.id,
                to,
                encoded,
                ts=time(),
                deadline=now + timeout,
                now=now,
                sender=sender,
                request=request,
                redeliver=redeliver,
            )
        except (FabricError, ValueError):
            with self._lock:
                self._receipts.pop(receipt.id, None)  # closed meanwhile, it is gone already
            raise
        return receipt

    def reply(self, arrived: Arrived, value: Any) -> bool:
        """See `endpoint.Answers`."""
        encoded = encode_value(value, self._session.terms.max_bytes, arrived.message["from"])
        return bool(self._call(self._session.reply, arrived, encoded))

    def reply_error(self, arrived: Arrived, error: BaseException) -> bool:
        """See `endpoint.Answers`."""
        return bool(self._call(self._session.reply_error, arrived, type(error).__name__, str(error)))

    # Other nodes

    def listing(self, timeout: float, *, name: str = "", nodes: bool = True) -> Future[outcomes.Listing]:
        """Ask the proxy who is there; `name` narrows it to the holders of one."""
        id_, future = self._future()
        now = monotonic()
        self._call(self._session.endpoints, id_, now + timeout, now, name=name, nodes=nodes)
        return future

    def last(self, query: dict[str, Any], timeout: float) -> Future[outcomes.RetainedPage]:
        """Ask the proxy for the last events of topics: one page; see `fabric.events.retained`."""
        id_, future = self._future()
        now = monotonic()
        self._call(self._session.last, id_, query, now + timeout, now)
        return future

    def ask_all(self, question: Any, timeout: float, *, partial: bool = False) -> Future[list[Any]]:
        """Ask every other node; the answers, with None for a node that went away.

        With `partial` those that came within `timeout` seconds are enough: a node that is stopped never answers.
        """
        id_, future = self._future()
        with self._lock:
            self._replies[id_] = []
            if partial:
                self._partial.add(id_)
        now = monotonic()
        self._call(self._session.ask, id_, b"*", orjson.dumps(question), now + timeout, now)
        return future

    def ask(self, origin: bytes, question: Any, timeout: float) -> Future[list[Any]]:
        """Ask the node of `origin`: a list with its answer, None if it has gone away, False if it was busy."""
        id_, future = self._future()
        with self._lock:
            self._replies[id_] = []
            self._expected[id_] = 1
        now = monotonic()
        self._call(self._session.ask, id_, origin, orjson.dumps(question), now + timeout, now)
        return future

    def answer_questions(self, answer: Callable[[Any], Any]) -> None:
        """Say how other nodes' questions are answered: `answer(question)` → JSON, on the control thread."""
        self._on_ask = answer

    def retire(self) -> list[Endpoint]:
        """Give all names back: nothing new comes in. The endpoints, whose handlers go on."""
        with self._lock:
            endpoints = list(self._endpoints.values())
        for endpoint in endpoints:
            endpoint.retire()
        self._retired += endpoints
        return endpoints

    def close(self) -> None:
        """What still waits fails with Closed."""
        error = Closed("the node was closed")
        with self._lock:
            receipts, self._receipts = list(self._receipts.values()), {}
            futures, self._futures = list(self._futures.values()), {}
            endpoints, self._endpoints = [*self._retired, *self._endpoints.values()], {}
        for receipt in receipts:
            receipt.failed(error)
        for future in futures:
            if not future.done():
                future.set_exception(error)
        for endpoint in endpoints:
            endpoint.lost(error, "closed")

    def forked(self) -> None:
        """We are a fork's child: these are the parent's names and messages. Nothing of them is sent, or handled, here."""
        self._lock = threading.RLock()
        self._call = lambda *_arguments, **_keywords: False
        error = Closed("it is the parent's, whose fork this process is: make one of its own")
        for endpoint in [*self._retired, *self._endpoints.values()]:
            endpoint.forked(error)

    def _next_id(self) -> str:
        return f"{self._session.origin.hex()}-{next(self._numbers):x}"

    def _future(self) -> tuple[str, Future[Any]]:
        future: Future[Any] = Future()
        id_ = self._next_id()
        with self._lock:
            self._futures[id_] = future
        return id_, future

    # What the session tells

    def _welcomed(self, outcome: outcomes.Welcomed) -> None:
        if not self._welcome.done():
            self._welcome.set_result(None)
        self.turned_away = ""

    def _disconnected(self, outcome: outcomes.Disconnected) -> None:
        if self._welcome.done():
            self._welcome = Future()
        self.turned_away = outcome.reason if outcome.reason in TURNED_AWAY else ""

    def _endpoint(self, key: int, *, forget: bool = False) -> Endpoint | None:
        with self._lock:
            return self._endpoints.pop(key, None) if forget else self._endpoints.get(key)

    def _receipt(self, id_: str, *, forget: bool = True) -> Receipt | None:
        with self._lock:
            return self._receipts.pop(id_, None) if forget else self._receipts.get(id_)

    def _arrived(self, arrived: Arrived) -> None:
        endpoint = self._endpoint(arrived.key)
        if endpoint is None:
            self._call(self._session.refuse, arrived, "closing")
        elif endpoint.put(Message(arrived, self), wake=False):
            # Acknowledged before the handler is woken, which would want the GIL in the middle of that.
            self._call(self._session.accept, arrived)
            endpoint.wake()
        else:
            self._call(self._session.refuse, arrived, "busy")

    def _delivered(self, outcome: outcomes.Delivered) -> None:
        receipt = self._receipt(outcome.id, forget=False)
        if receipt is not None:
            receipt.delivered(outcome.holders)
            if receipt.done:
                self._receipt(outcome.id)

    def _replied(self, outcome: outcomes.RequestReplied) -> None:
        if (receipt := self._receipt(outcome.id)) is not None:
            receipt.replied(outcome.value)

    def _failed(self, outcome: outcomes.CallFailed) -> None:
        if (receipt := self._receipt(outcome.id)) is not None:
            receipt.failed(outcome.error)
            return
        with self._lock:
            future = self._futures.pop(outcome.id, None)
        if future is not None and not future.done():
            future.set_exception(outcome.error)

    def _registered(self, outcome: outcomes.NameRegistered) -> None:
        if (endpoint := self._endpoint(outcome.key)) is not None:
            endpoint.registered(outcome.name, outcome.session)

    def _not_registered(self, outcome: outcomes.NameRefused) -> None:
        if (endpoint := self._endpoint(outcome.key, forget=True)) is not None:
            logger.warning("%s", outcome.error)
            endpoint.lost(outcome.error, "failed")

    def _lost(self, outcome: outcomes.NameLost) -> None:
        if (endpoint := self._endpoint(outcome.key, forget=True)) is not None:
            error = outcome.error or MessageError(
                f"the endpoint {outcome.name!r} is somebody else's now: {outcome.reason}", to=outcome.name
            )
            logger.warning("%s", error)
            endpoint.lost(error, "lost")

    def _asked(self, asked: outcomes.QueryArrived) -> None:
        try:
            answer = self._on_ask(orjson.loads(asked.body))
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            answer = None  # of a version that we do not understand: an answer all the same, so that nobody waits
        self._call(self._session.tell, asked, orjson.dumps(answer))

    def _asked_all(self, outcome: outcomes.QuerySent) -> None:
        self._expected[outcome.id] = outcome.nodes
        self._collect(outcome.id)

    def _told(self, outcome: outcomes.QueryReply) -> None:
        if outcome.id in self._replies:
            try:
                self._replies[outcome.id].append(orjson.loads(outcome.body))
            except orjson.JSONDecodeError:
                self._replies[outcome.id].append(None)
            self._collect(outcome.id)

    def _untold(self, outcome: outcomes.QueryFailed) -> None:
        if outcome.origin:
            if outcome.id in self._replies:
                self._replies[outcome.id].append(None if outcome.reason == "gone" else False)
                self._collect(outcome.id)
            return
        if outcome.reason == "timeout" and outcome.id in self._partial:
            self._finish(outcome.id, self._replies.get(outcome.id, []), None)
            return
        self._finish(outcome.id, None, NotConnected(f"other nodes could not be asked: {outcome.reason}"))

    def _collect(self, id_: str) -> None:
        expected = self._expected.get(id_)
        if expected is not None and len(self._replies.get(id_, ())) >= expected:
            self._finish(id_, self._replies.get(id_, []), None)
            self._call(self._session.cancel, id_, monotonic())

    def _finish(self, id_: str, answers: list[Any] | None, error: FabricError | None) -> None:
        self._replies.pop(id_, None)
        self._expected.pop(id_, None)
        self._partial.discard(id_)
        with self._lock:
            future = self._futures.pop(id_, None)
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answers)

    def _listed(self, outcome: outcomes.Listing | outcomes.RetainedPage) -> None:
        with self._lock:
            future = self._futures.pop(outcome.id, None)
        if future is not None and not future.done():
            future.set_result(outcome)


def with_keys(body: Mapping[str, Any], **conventional: str | None) -> Mapping[str, Any]:
    """`body` with the keys that were given apart from it. ValueError if it has another value for one of them."""
    given = {key: value for key, value in conventional.items() if value is not None}
    if not given or not isinstance(body, Mapping):
        return body
    for key, value in given.items():
        if body.get(key, value) != value:
            raise ValueError(f"the body has the {key} {body[key]!r}, and {key}={value!r} was given as well")
    return {**body, **given}
