"""Readiness: waits until a link or a subscription is live, and the queries between nodes that this takes.

    node.wait_ready()                        the proxy has welcomed us, and a probe of ours has gone round
    subscription.wait_ready()                the same, begun after the subscription: it is live at the proxy
    subscription.wait_ready(everyone=True)   … and every other node has confirmed that it knows the subscription
    node.trace(topic)                        every other node has listed its subscriptions for the topic

Each wait has a blocking form and an awaitable one, over the same futures.

The queries of other nodes are answered here, too. They are JSON objects:

    {"interest": [prefix, …]}           whether this node knows that the prefixes are subscribed
    {"trace": topic}                    see `fabric.node.trace`
    {"age": true}                       {"age": seconds since the link was opened}
    {"recover": [topic, first, last]}   {"events": …, "more": …}: the events that are still in the retransmit buffer
    any other                           null
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from time import monotonic, sleep
from typing import Any

from fabric.bus.bus import Bus
from fabric.bus.subscription import Subscription
from fabric.errors import FabricError, NotConnected, NotReady
from fabric.events.recovery import ANSWER_TIMEOUT
from fabric.messages.messaging import Messaging
from fabric.node.link import Link
from fabric.node.trace import Trace, answer, trace
from fabric.protocol.events import prefixes
from fabric.protocol.topics import check_topic

logger = logging.getLogger("fabric.node")

#: Seconds between queries to all nodes until all know a subscription, which takes them under a millisecond.
RETRY_INTERVAL = 0.002


class Readiness:
    """The waits and the queries of one link. Any thread."""

    def __init__(self, url: str, bus: Bus, link: Link, messaging: Messaging) -> None:
        self._url = url
        self._bus = bus
        self._link = link
        self._messaging = messaging
        self._opened_at = monotonic()  # the age of the origin
        messaging.queries.answer_with(self._answer)
        link.receiver.delivery.ask = self._ask_origin

    def wait(self, what: str, timeout: float, live: Subscription | None = None, *, everyone: bool = False) -> None:
        """Block until the link is ready, and the subscription `live`, if given. NotReady about `what` after `timeout` s.

        RuntimeError on threads that must not block: that of a running event loop, and those that run callbacks.
        """
        self._link.may_block()
        if self._link.receiver.on_delivery_thread:
            raise RuntimeError("wait_ready inside a callback would wait for the thread it blocks")
        deadline = monotonic() + timeout
        try:
            with self._link.barriers.round_trip() as done:
                done.result(timeout)
            self._messaging.welcomed().result(_left(deadline))
            if live is not None and everyone:
                while not _all_know(self._query_interest(live, deadline).result(_left(deadline))):
                    sleep(RETRY_INTERVAL)
                self._link.receiver.delivery.ready(live)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise self._not_ready(what, timeout) from None

    async def wait_async(
        self, what: str, timeout: float, live: Subscription | None = None, *, everyone: bool = False
    ) -> None:
        """The awaitable twin of `wait`."""
        import asyncio

        deadline = monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                with self._link.barriers.round_trip() as done:
                    await asyncio.wrap_future(done)
                await asyncio.shield(asyncio.wrap_future(self._messaging.welcomed()))
                if live is not None and everyone:
                    while not _all_know(await asyncio.wrap_future(self._query_interest(live, deadline))):
                        await asyncio.sleep(RETRY_INTERVAL)
                    self._link.receiver.delivery.ready(live)
        except (TimeoutError, NotConnected):
            raise self._not_ready(what, timeout) from None

    def _not_ready(self, what: str, waited: float) -> NotReady:
        return NotReady(what, url=self._url, waited=waited, reason=self._messaging.rejection)

    def _query_interest(self, subscription: Subscription, deadline: float) -> Future[list[Any]]:
        question = {"interest": [prefix.decode("latin-1") for prefix in prefixes(subscription.pattern)]}
        return self._messaging.queries.ask_all(question, max(_left(deadline), 0.001))

    def trace(self, topic: str, timeout: float) -> Trace:
        """See `Node.trace`. If a node does not answer, this takes half of `timeout`."""
        self.wait(f"the trace of {topic!r}", timeout)
        asked = self._messaging.queries.ask_all({"trace": topic}, timeout / 2, partial=True)
        listed = self._messaging.queries.listing(timeout)
        try:
            replies = [self._trace_here(topic), *asked.result(timeout)]
            nodes = listed.result(timeout).nodes
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady(f"the trace of {topic!r}", url=self._url, waited=timeout) from None
        return trace(topic, replies, nodes, self._link.sender.interest.has)

    def _trace_here(self, topic: str) -> dict[str, Any]:
        session = self._link.dealer.session
        return answer(check_topic(topic), list(self._bus), node=session.node, origin=session.origin)

    def _ask_origin(self, origin: bytes, question: Any, answered: Callable[[Any], None]) -> None:
        """Query one node: `answered` is called with its answer, or with None if there is none. See `EventDelivery.ask`."""

        def done(future: Future[list[Any]]) -> None:
            answered(None if future.exception() is not None else future.result()[0])

        try:
            self._messaging.queries.ask(origin, question, ANSWER_TIMEOUT).add_done_callback(done)
        except FabricError:  # closed meanwhile, or too many queries are open
            answered(None)

    def _answer(self, question: Any) -> Any:
        """Answer the query of another node. On the control thread."""
        if "trace" in question:
            return self._trace_here(question["trace"])
        if "age" in question:
            return {"age": monotonic() - self._opened_at}
        if "recover" in question:
            topic, first, last = question["recover"]
            found = self._link.sender.outbox.retransmit.find(topic, first, last)
            return {"events": found.events, "more": found.more}
        interest = self._link.sender.interest
        if not interest.up:
            return True  # our events wait in the outbox until we have read all subscriptions
        return all(interest.has(prefix.encode("latin-1")) for prefix in question["interest"])


def _all_know(answers: list[Any]) -> bool:
    """Whether every node has confirmed. None is the answer of a node that has left meanwhile."""
    return all(answer is None or answer is True for answer in answers)


def _left(deadline: float) -> float:
    return max(deadline - monotonic(), 0.0)
