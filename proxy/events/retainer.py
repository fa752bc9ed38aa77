"""Feeds the retained events: an ordinary subscriber, inside the proxy.

    publishers ──▸ XSUB ══ zmq.proxy ══▸ XPUB ──inproc──▸ SUB ── retainer thread ──take──▸ Retained
                                          └──▸ other subscribers                                ▴
                                                      LAST ── message plane's thread ──answer──┘

It subscribes only to the prefixes of the retained patterns, so other traffic costs it nothing. Its subscriptions count as
interest like any other: publishers send retained topics even if no other node is subscribed. It receives events in the
same order as every subscriber. If it is too slow, the plane drops events for it as for any subscriber, and it counts them
as missed.

Without patterns there is no retainer. The retained events are in memory and end with the proxy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any

import zmq

from fabric.errors import WireError
from fabric.protocol.events import prefixes
from fabric.protocol.topics import KEPT_TOPIC
from proxy.events.retained import Retained, RetainedAnswer

logger = logging.getLogger("fabric.proxy")

EVENTS_OUT = "inproc://events-out"
#: Messages taken before the lock is released. An answer to LAST waits for it, some ten milliseconds at worst.
BATCH = 32
#: Messages that may wait in our socket, besides those that the plane queues for a peer.
QUEUE_LENGTH = 1_000
#: Seconds between two warnings about bytes that are not our protocol.
WARNING_INTERVAL = 10.0


class Retainer:
    """A thread beside the event plane, in its context; it ends when the context is terminated."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], patterns: Iterable[str], *, topics: int, max_bytes: int
    ) -> None:
        self.patterns = tuple(patterns)
        self._retained = Retained(self.patterns, topics=topics, max_bytes=max_bytes)
        self._lock = threading.Lock()  # around `_retained`
        self._next_warning = 0.0
        self._socket = context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = QUEUE_LENGTH
        self._thread = threading.Thread(target=self._run, name="fabric-retainer", daemon=True)

    def start(self) -> None:
        """Subscribe and start the thread. The plane has bound `EVENTS_OUT`."""
        for prefix in {each for pattern in (*self.patterns, KEPT_TOPIC) for each in prefixes(pattern)}:
            self._socket.subscribe(prefix)
        self._socket.connect(EVENTS_OUT)
        self._thread.start()

    def close_unstarted(self) -> None:
        """Close the socket; the thread never ran."""
        self._socket.close(linger=0)

    def answer(self, query: dict[str, Any]) -> RetainedAnswer:
        """The answer to LAST; see `proxy.events.retained`. Any thread. WireError for a malformed query."""
        with self._lock:
            return self._retained.answer(query)

    def stats(self) -> dict[str, int]:
        """The `retained…` fields of `proxy.stats.PlaneStats`. Any thread."""
        retained = self._retained
        return {
            "retained": len(retained),
            "retained_bytes": retained.bytes,
            "retained_evicted": retained.evicted,
            "retained_missed": retained.missed,
        }

    # The retainer's thread

    def _run(self) -> None:
        try:
            while True:
                self._socket.poll()
                with self._lock:
                    self._take()
        except zmq.ContextTerminated:
            pass
        except zmq.ZMQError as error:
            logger.error("what passes the event plane is not retained any more: %s", error)
        finally:
            self._socket.close(linger=0)

    def _take(self) -> None:
        for _ in range(BATCH):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) != 2 or frames[0][:1] == b"\0":
                continue  # a greeting or a probe: a subscriber of the empty prefix receives them
            try:
                self._retained.take(frames[0], frames[1])
            except WireError as error:
                self._warn(error)

    def _warn(self, error: WireError) -> None:
        now = monotonic()
        if now >= self._next_warning:
            self._next_warning = now + WARNING_INTERVAL
            logger.warning("cannot retain what is none of our protocol: %s", error)
