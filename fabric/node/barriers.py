"""Round trips through the proxy: proof that both directions of a link work, and that earlier events have passed.

    begin ──▸ subscribe a fresh prefix ──▸ its subscription shows in our own interest ──▸ send it ──▸ it returns ──▸ settle
                   (Receiver)                          (Sender)                                       (Receiver)

The prefix is subscribed after all present subscriptions, and sent after all present events. So when it has returned, every
subscription made before `begin` is live at the proxy, and every event sent before has passed it.

A probe that was lost with its link is sent again, until the barrier ends. (A probe with a fixed prefix returned too early
in 15 of 200 trials.)
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from fabric.events.receiver import Receiver
from fabric.events.sender import Sender
from fabric.protocol.events import PROBE

#: Seconds until a probe that has not returned is sent again.
RESEND_INTERVAL = 0.25


class Barriers:
    """The round trips of one link. Methods are called on the threads that the comments name."""

    def __init__(self, sender: Sender, receiver: Receiver, wake: Callable[[], None]) -> None:
        self._sender = sender
        self._receiver = receiver
        self._wake = wake
        self._lock = threading.RLock()  # around `_pending`
        self._pending: dict[bytes, Future[None]] = {}
        self._returned: deque[bytes] = deque()
        self._resend_at = 0.0

    def __len__(self) -> int:
        """Number of barriers that have not ended."""
        return len(self._pending)

    # Any thread

    @contextmanager
    def round_trip(self) -> Iterator[Future[None]]:
        """A round trip. The future is done when it is over; while the link is not up, that does not happen."""
        prefix, done = self.begin()
        try:
            yield done
        finally:
            self.end(prefix)

    def begin(self) -> tuple[bytes, Future[None]]:
        """As `round_trip`. The caller calls `end` with the prefix."""
        prefix = PROBE + os.urandom(8)
        done: Future[None] = Future()
        with self._lock:
            self._pending[prefix] = done
        self._receiver.subscribe_probe(prefix)
        self._sender.begin_probe(prefix)
        self._wake()
        return prefix, done

    def end(self, prefix: bytes) -> None:
        """End a barrier, whether or not its probe has returned."""
        with self._lock:
            self._pending.pop(prefix, None)
        self._sender.end_probe(prefix)
        self._receiver.unsubscribe_probe(prefix)

    # The delivery thread

    def returned(self, prefix: bytes) -> None:
        """A probe has returned. Only noted, because the receiver's lock is held: the control thread settles it.

        It changes the state of the link first, so that a node that is ready is up.
        """
        self._returned.append(prefix)
        self._wake()

    # The control thread

    def take_returned(self) -> Iterator[bytes]:
        """The prefixes of the probes that have returned."""
        while self._returned:
            yield self._returned.popleft()

    def link_lost(self) -> None:
        """Forget the probes that have returned: they went round on the link that was lost."""
        self._returned.clear()

    def settle(self, prefix: bytes) -> None:
        """Complete the future of a barrier."""
        with self._lock:
            done = self._pending.get(prefix)
        if done is not None and not done.done():
            done.set_result(None)

    def service(self, now: float) -> None:
        """Send again the probes that have not returned."""
        with self._lock:
            pending = bool(self._pending)
        if not pending:
            self._resend_at = 0.0
        elif now >= self._resend_at:
            if self._resend_at:
                self._sender.resend_probes()
            self._resend_at = now + RESEND_INTERVAL

    def forked(self) -> None:
        """In a fork's child: replace the lock, whose holder may be a thread of the parent."""
        self._lock = threading.RLock()
