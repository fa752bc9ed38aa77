"""Asking the proxy what came last, and waiting until everything before that has been delivered;
`fabric.events.retained` says how.

with Replay(bus, pattern) as replay:       after the subscription that it is for, on the same thread
    last = replay.fetch(ask, deadline)     on a thread that may wait
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from fabric.bus.bus import Bus
from fabric.events.retained import RetainedEvent, RetainedPages
from fabric.messages.session.outcomes import RetainedPage
from fabric.protocol.envelope import Envelope
from fabric.protocol.topics import KEPT_TOPIC

#: Seconds until a place mark that has not passed yet is asked for again, at first and at most: it takes under a
#: millisecond through a proxy that is idle.
AGAIN = 0.002
AGAIN_AT_MOST = 0.1
#: Seconds beyond the deadline that the answer to a question may take, which ends by itself at the deadline.
GRACE = 1.0

#: `ask(query, timeout)`: see `Messaging.last`.
Ask = Callable[[dict[str, Any], float], "Future[RetainedPage]"]


def fetch(pages: RetainedPages, ask: Ask, deadline: float) -> None:
    """Get all pages. Blocks, until `deadline` (monotonic) at most.

    TimeoutError past the deadline, FabricError if the proxy cannot be asked.
    """
    pause = AGAIN
    while not pages.complete:
        left = max(deadline - monotonic(), 0.001)
        if pages.take(ask(pages.query(), left).result(left + GRACE)):
            pause = AGAIN
        elif monotonic() + pause >= deadline:
            raise TimeoutError("the proxy did not say in time what came last")
        else:
            sleep(pause)
            pause = min(2 * pause, AGAIN_AT_MOST)


class RetainedFetch:
    """One question. Its marks come the way of the events that its thread subscribed to, after those before them."""

    def __init__(self, bus: Bus, pattern: str) -> None:
        self._pages = RetainedPages(pattern, os.urandom(8).hex())
        self._changed = threading.Condition()
        self._subscription = bus.subscribe(KEPT_TOPIC, self._on_mark)

    def _on_mark(self, envelope: Envelope) -> None:
        with self._changed:
            if self._pages.marked(envelope):
                self._changed.notify_all()

    def fetch(self, ask: Ask, deadline: float) -> list[RetainedEvent]:
        """What came last and does not come live, once all before it has been delivered here.

        The subscriptions must be live. Blocks, and raises, as `fetch` does.
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
