"""Waiting until something is true of a link: that it is ready, that a subscription is live, that everything has left.

    node.wait_ready()                        the proxy knows us, and a probe of ours has gone round
    subscription.wait_ready()                the same, begun after the subscription: it is live at the proxy
    subscription.wait_ready(everyone=True)   … and every other node says that it knows of the subscription

One shell with two faces: each wait has a blocking form and an awaitable one, over the same futures.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from time import monotonic, sleep
from typing import Any

from fabric.bus import Subscription
from fabric.errors import NotConnected, NotReady
from fabric.link import Link
from fabric.messaging import Messaging
from fabric.wire import prefixes

logger = logging.getLogger("fabric.node")

#: Seconds between questions to everyone until everyone knows of a subscription: it takes them under a millisecond.
ASK_AGAIN = 0.002
#: Seconds between looks at what a closing node still has to send.
LOOK = 0.001


class Readiness:
    """Of one link and its messages."""

    def __init__(self, url: str, link: Link, messaging: Messaging) -> None:
        self._url = url
        self._link = link
        self._messaging = messaging
        messaging.answer_questions(self._answer)

    def wait(self, what: str, timeout: float, live: Subscription | None = None, *, everyone: bool = False) -> None:
        """Block until ready; NotReady about `what` when `timeout` seconds are over.

        RuntimeError on threads that must not block: a running event loop's, and those that run callbacks.
        """
        self._link.may_block()
        if self._link.receiver.on_delivery_thread:
            raise RuntimeError("wait_ready inside a callback would wait for the thread it blocks")
        deadline = monotonic() + timeout
        try:
            with self._link.barrier() as done:
                done.result(timeout)
            self._messaging.welcomed().result(_left(deadline))
            if live is not None and everyone:
                while not _all_know(self._ask_everyone(live, deadline).result(_left(deadline))):
                    sleep(ASK_AGAIN)
                self._link.receiver.ready(live)
        except (TimeoutError, FutureTimeout, NotConnected):
            raise NotReady(what, url=self._url, waited=timeout) from None

    async def wait_async(
        self, what: str, timeout: float, live: Subscription | None = None, *, everyone: bool = False
    ) -> None:
        """The awaitable twin of `wait`."""
        import asyncio

        deadline = monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                with self._link.barrier() as done:
                    await asyncio.wrap_future(done)
                await asyncio.shield(asyncio.wrap_future(self._messaging.welcomed()))
                if live is not None and everyone:
                    while not _all_know(await asyncio.wrap_future(self._ask_everyone(live, deadline))):
                        await asyncio.sleep(ASK_AGAIN)
                    self._link.receiver.ready(live)
        except (TimeoutError, NotConnected):
            raise NotReady(what, url=self._url, waited=timeout) from None

    def drain(self, timeout: float) -> None:
        """Block until messages are settled and events have passed the proxy, at most `timeout` seconds.

        A probe is sent after the last event: when it is back, all of them have passed.
        """
        deadline = monotonic() + timeout
        link, outbox = self._link, self._link.sender.outbox
        while (link.dealer.session.pending or outbox) and monotonic() < deadline:
            sleep(LOOK)
        if outbox or not outbox.sent or link.receiver.on_delivery_thread:
            return
        with link.barrier() as done:
            try:
                done.result(_left(deadline))
            except (TimeoutError, FutureTimeout):
                logger.warning("closed before the proxy confirmed the last events")

    def _ask_everyone(self, subscription: Subscription, deadline: float) -> Future[list[Any]]:
        question = {"interest": [prefix.decode("latin-1") for prefix in prefixes(subscription.pattern)]}
        return self._messaging.ask_all(question, max(_left(deadline), 0.001))

    def _answer(self, question: Any) -> Any:
        """Another node asks; on the control thread."""
        interest = self._link.sender.interest
        if not interest.up:
            return True  # what we publish is held until we have read everybody's subscriptions
        return all(interest.has(prefix.encode("latin-1")) for prefix in question["interest"])


def _all_know(answers: list[Any]) -> bool:
    """Whether every node has said yes; None is a node that has gone away meanwhile."""
    return all(answer is None or answer is True for answer in answers)


def _left(deadline: float) -> float:
    return max(deadline - monotonic(), 0.0)
