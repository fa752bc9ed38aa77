"""Keeps the last event of each retained topic: an ordinary subscriber, inside the proxy.

    publishers ──▸ XSUB ══ zmq.proxy ══▸ XPUB ──inproc──▸ SUB ── retainer thread ──take──▸ Retained
                                          └──▸ everybody else                                  ▴
                                                      LAST ── message plane's thread ──answer──┘

It is subscribed to the prefixes of the retained patterns only, so the rest of the traffic costs it nothing; and it is
interest like any other: publishers send what is retained although nobody else may listen. It sees what passes in the
order in which every subscriber does. If it does not keep up, the plane drops for it as for any subscriber, and what it
missed is counted.

Without patterns there is none. What it keeps is in memory, and gone with the proxy.
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
#: Messages taken before the lock is let go: whoever answers LAST waits for it, some ten milliseconds at worst.
BATCH = 32
#: Messages that may wait here, besides those that the plane holds for a peer.
QUEUE_LENGTH = 1_000
#: Seconds between log lines about bytes that are not our protocol.
WARNING_INTERVAL = 10.0


class Retainer:
    """A thread beside the event plane, in its context; it ends when that is terminated."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], patterns: Iterable[str], *, topics: int, max_bytes: int
    ) -> None:
        self.patterns = tuple(patterns)
        self._retained = Retained(self.patterns, topics=topics, max_bytes=max_bytes)
        self._lock = threading.Lock()  # around it
        self._next_warning = 0.0
        self._socket = context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = QUEUE_LENGTH
        self._thread = threading.Thread(target=self._run, name="fabric-retainer", daemon=True)

    def start(self) -> None:
        """Begin to keep; the plane has bound `EVENTS_OUT`."""
        for prefix in {each for pattern in (*self.patterns, KEPT_TOPIC) for each in prefixes(pattern)}:
            self._socket.subscribe(prefix)
        self._socket.connect(EVENTS_OUT)
        self._thread.start()

    def close_unstarted(self) -> None:
        """Let go of the socket; the thread never ran."""
        self._socket.close(linger=0)

    def answer(self, query: dict[str, Any]) -> RetainedAnswer:
        """The answer to LAST; see `proxy.events.retained`. Any thread. WireError for a query that is none."""
        with self._lock:
            return self._retained.answer(query)

    def stats(self) -> dict[str, int]:
        """What `proxy.stats` says of it. Any thread."""
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
                continue  # a greeting or a probe, which whoever subscribes to everything gets
            try:
                self._retained.take(frames[0], frames[1])
            except WireError as error:
                self._warn(error)

    def _warn(self, error: WireError) -> None:
        now = monotonic()
        if now >= self._next_warning:
            self._next_warning = now + WARNING_INTERVAL
            logger.warning("cannot retain what is none of our protocol: %s", error)
