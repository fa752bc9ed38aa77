"""Observes the event plane without delaying it: exact totals, and a sample for the counts by topic.

    zmq.proxy_steerable ── capture: PUB ──▸ SUB ──┐
          │                                       observer thread ──▸ TopicCounts
          └── control: PAIR ── STATISTICS ────────┘

The totals (frames and bytes in each direction) are libzmq's own, read with STATISTICS: exact, at no cost. Topics are inside
the packs and are estimated from a sample. The capture socket must be a PUB: a PAIR that nobody reads stops the whole plane,
a PUB drops. Its pipe is short, so that few messages are copied that are not read.

In libzmq 4.3.5 `proxy_steerable` has PAUSE and RESUME swapped, and ends on a control socket that cannot answer. Only
STATISTICS over a PAIR is used; see docs/decisions/0006.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import NamedTuple

import zmq

from proxy.events.topic_counts import TopicCounts

logger = logging.getLogger("fabric.proxy")

#: Seconds between two samples.
POLL_INTERVAL = 0.1
#: Messages in the capture's pipe (half of them at either end), and bytes of JSON parsed for one sample: together they cost
#: about a hundredth of a core while the plane is busy, and nothing while it is idle.
QUEUE_LENGTH = 200
MAX_PARSED_BYTES = 200 * 1024
#: Milliseconds to wait for an answer to STATISTICS; it takes some 50 µs.
ANSWER_TIMEOUT_MS = 20
CAPTURE = "inproc://capture"
CONTROL = "inproc://control"


class FrameTotals(NamedTuple):
    """Counts of libzmq. A message on the event plane has two frames."""

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0


class Observer:
    """A thread beside the event plane, in its context; it ends when the context is terminated."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], topics: int) -> None:
        self.counted = FrameTotals()
        self._base = FrameTotals()
        self._restarted = False
        #: Counts by topic; `last` is monotonic. Any thread may read.
        self.topic_counts = TopicCounts(topics, monotonic())
        #: The ends for `zmq.proxy_steerable`; the plane closes them.
        self.capture = context.socket(zmq.PUB)
        self.control = context.socket(zmq.PAIR)
        self.capture.sndhwm = QUEUE_LENGTH // 2
        self.capture.bind(CAPTURE)
        self.control.bind(CONTROL)
        self._control_client = context.socket(zmq.PAIR)
        self._capture_reader = context.socket(zmq.SUB)
        self._capture_reader.rcvhwm = QUEUE_LENGTH // 2
        for each in (self.capture, self.control, self._control_client, self._capture_reader):
            each.linger = 0
        self._control_client.connect(CONTROL)
        self._capture_reader.connect(CAPTURE)
        self._capture_reader.subscribe(b"")
        self._query_pending = False
        self._thread = threading.Thread(target=self._run, name="fabric-observer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def plane_restarted(self) -> None:
        """`zmq.proxy_steerable` was entered again and counts from zero. Called on the plane's thread."""
        self._restarted = True

    def close_unstarted(self) -> None:
        """Close all sockets; neither the thread nor the plane ever ran."""
        for each in (self.capture, self.control, self._control_client, self._capture_reader):
            each.close(linger=0)

    # The observer's thread

    def _run(self) -> None:
        try:
            while True:
                incomplete = self._sample()
                self.topic_counts.end_sample(self._query_totals() // 2, incomplete, monotonic())
                self._control_client.poll(int(POLL_INTERVAL * 1_000))  # a sleep that ends with the context
        except (zmq.ContextTerminated, zmq.Again):  # the plane has ended and takes no more queries
            pass
        except zmq.ZMQError as error:
            logger.error("what passes the event plane is not counted any more: %s", error)
        finally:
            self._control_client.close(linger=0)
            self._capture_reader.close(linger=0)

    def _sample(self) -> bool:
        """Read the pipe; whether more messages may have passed than were parsed."""
        parsed = read = 0
        reader = self._capture_reader
        try:
            while read <= 4 * QUEUE_LENGTH:
                frames = reader.recv_multipart(zmq.NOBLOCK)
                if len(frames) != 2:
                    continue  # a subscription for the publishers, or a probe
                read += 1
                if parsed < MAX_PARSED_BYTES:
                    parsed += len(frames[1])
                    self.topic_counts.observe(frames[0], frames[1])
        except zmq.Again:
            pass
        # A pipe that was full takes nothing until half of it has been read.
        return read >= QUEUE_LENGTH // 2 or parsed >= MAX_PARSED_BYTES

    def _query_totals(self) -> int:
        """Incoming frames at the last answer of libzmq; while the plane settles there is none."""
        if not self._query_pending:
            self._control_client.send(b"STATISTICS", zmq.NOBLOCK)
            self._query_pending = True
        if self._control_client.poll(ANSWER_TIMEOUT_MS):
            # Received and sent, each in frames and bytes: at the XSUB, then at the XPUB.
            values = [int.from_bytes(each, "little") for each in self._control_client.recv_multipart(zmq.NOBLOCK)]
            totals = FrameTotals(values[0], values[1], values[6], values[7])
            if self._restarted:
                self._restarted = False
                self._base = self.counted
            self.counted = FrameTotals(*(map(sum, zip(self._base, totals, strict=True))))
            self._query_pending = False
        return self.counted.frames_in
