"""A node's messages: its endpoints and receipts, between the application and the session.

node.send, request, endpoint ──▸ Messaging ──▸ session, through the dealer
inboxes, receipts            ◂── Messaging ◂── outcomes, on the control thread

Queries are a part of their own, `fabric.messages.queries`.
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

from fabric.bus.loop_queue import running_loop
from fabric.errors import Closed, FabricError, MessageError
from fabric.messages.endpoint import Endpoint
from fabric.messages.message import Handler, Message
from fabric.messages.queries import QueryFutures
from fabric.messages.receipt import Receipt
from fabric.messages.session import outcomes
from fabric.messages.session.session import Session
from fabric.protocol.bodies import encode_body, encode_value
from fabric.protocol.fields import POLICIES

if TYPE_CHECKING:
    from fabric.messages.session.outcomes import Arrived

logger = logging.getLogger("fabric.endpoint")

#: Seconds that `endpoint()` waits for the proxy's answer, if there is a proxy: a round trip of a millisecond.
REGISTER_TIMEOUT = 1.0
#: Codes with which a proxy rejects our HELLO.
REJECTIONS = ("full", "version")


class Messaging:
    """One node's messages. Its public methods may be called on any thread; `outcome` on the control thread."""

    def __init__(self, url: str, call: Callable[..., Any], session: Session, *, may_block: Callable[[], None]) -> None:
        self.url = url
        self.may_block = may_block
        self._call = call
        self._session = session
        self._numbers = itertools.count(1)  # a generator of ids would raise if two threads used it at once
        self.queries = QueryFutures(call, session, self._next_id)
        # Around `_receipts` and `_endpoints`: for look-ups, and while a name is asked for. Re-entrant: a finaliser or a
        # signal handler may interrupt its holder.
        self._lock = threading.RLock()
        self._receipts: dict[str, Receipt] = {}
        self._endpoints: dict[int, Endpoint] = {}
        self._retired: list[Endpoint] = []
        #: The first name that was ever asked for here.
        self.first_name = ""
        self._welcome: Future[None] = Future()
        #: The code with which the proxy rejected our HELLO, one of REJECTIONS, or empty.
        self.rejection = ""
        self._handlers: dict[type, Callable[[Any], None]] = {
            outcomes.Welcomed: self._welcomed,
            outcomes.Disconnected: self._disconnected,
            outcomes.Arrived: self._arrived,
            outcomes.Delivered: self._delivered,
            outcomes.RequestReplied: self._replied,
            outcomes.CallFailed: self._failed,
            outcomes.NameRegistered: self._registered,
            outcomes.NameRefused: self._refused,
            outcomes.NameLost: self._lost,
            **self.queries.handlers,
        }

    def outcome(self, outcome: Any) -> None:
        """Handle one of the session's outcomes."""
        self._handlers[type(outcome)](outcome)

    def welcomed(self) -> Future[None]:
        """A future that is done while the proxy knows us; a new one after a disconnect."""
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
            # Registered under the lock, so that its outcome finds the key.
            endpoint.key = self._call(self._session.register, name, policy, inf, monotonic())
            self.first_name = self.first_name or name
            self._endpoints[endpoint.key] = endpoint
        if self._welcome.done() and running_loop() is None:
            try:
                self.may_block()
                endpoint.wait_ready(REGISTER_TIMEOUT)
            except (RuntimeError, TimeoutError):
                pass  # the registration goes on; `wait_ready` raises its error
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
        type: str | None = None,
        channel: str | None = None,
        sender: str = "",
        timeout: float = 5.0,
        redeliver: bool = False,
    ) -> Receipt:
        """See `Node.send` and `Node.request`."""
        body = _with_keys(body, type=type, channel=channel)
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
                self._receipts.pop(receipt.id, None)  # if closed meanwhile, it is gone already
            raise
        return receipt

    def reply(self, arrived: Arrived, value: Any) -> bool:
        """See `endpoint.Answers`."""
        encoded = encode_value(value, self._session.terms.max_bytes, arrived.message["from"])
        return bool(self._call(self._session.reply, arrived, encoded))

    def reply_error(self, arrived: Arrived, error: BaseException) -> bool:
        """See `endpoint.Answers`."""
        return bool(self._call(self._session.reply_error, arrived, type(error).__name__, str(error)))

    # Leaving

    def retire(self) -> list[Endpoint]:
        """Release all names, so that no new messages come in. Returns the endpoints, whose handlers go on."""
        with self._lock:
            endpoints = list(self._endpoints.values())
        for endpoint in endpoints:
            endpoint.retire()
        self._retired += endpoints
        return endpoints

    def close(self) -> None:
        """Open receipts and queries fail with Closed; endpoints are closed."""
        error = Closed("the node was closed")
        with self._lock:
            receipts, self._receipts = list(self._receipts.values()), {}
            endpoints, self._endpoints = [*self._retired, *self._endpoints.values()], {}
        for receipt in receipts:
            receipt.failed(error)
        self.queries.close(error)
        for endpoint in endpoints:
            endpoint.lost(error, "closed")

    def forked(self) -> None:
        """This process is a fork's child: names and messages are the parent's. None is sent or handled here."""
        self._lock = threading.RLock()
        self._call = lambda *_arguments, **_keywords: False
        self.queries.forked()
        error = Closed("it is the parent's, whose fork this process is: make one of its own")
        for endpoint in [*self._retired, *self._endpoints.values()]:
            endpoint.forked(error)

    def _next_id(self) -> str:
        return f"{self._session.origin.hex()}-{next(self._numbers):x}"

    # Outcomes

    def _welcomed(self, outcome: outcomes.Welcomed) -> None:
        if not self._welcome.done():
            self._welcome.set_result(None)
        self.rejection = ""

    def _disconnected(self, outcome: outcomes.Disconnected) -> None:
        if self._welcome.done():
            self._welcome = Future()
        self.rejection = outcome.reason if outcome.reason in REJECTIONS else ""

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
            # Acknowledged before the handler is woken, whose thread would take the GIL before the acknowledgement is sent.
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
        else:
            self.queries.failed(outcome)

    def _registered(self, outcome: outcomes.NameRegistered) -> None:
        if (endpoint := self._endpoint(outcome.key)) is not None:
            endpoint.registered(outcome.name, outcome.session)

    def _refused(self, outcome: outcomes.NameRefused) -> None:
        self._end(outcome.key, outcome.error, "failed")

    def _lost(self, outcome: outcomes.NameLost) -> None:
        text = f"the endpoint {outcome.name!r} is somebody else's now: {outcome.reason}"
        self._end(outcome.key, outcome.error or MessageError(text, to=outcome.name), "lost")

    def _end(self, key: int, error: MessageError, state: str) -> None:
        if (endpoint := self._endpoint(key, forget=True)) is not None:
            logger.warning("%s", error)
            endpoint.lost(error, state)


def _with_keys(body: Mapping[str, Any], **conventional: str | None) -> Mapping[str, Any]:
    """`body` with the keys that were given as arguments. ValueError if it has another value for one of them."""
    given = {key: value for key, value in conventional.items() if value is not None}
    if not given or not isinstance(body, Mapping):
        return body
    for key, value in given.items():
        if body.get(key, value) != value:
            raise ValueError(f"the body has the {key} {body[key]!r}, and {key}={value!r} was given as well")
    return {**body, **given}
