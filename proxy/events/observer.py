"""Looks at what passes the event plane, without holding it up.

    zmq.proxy_steerable ── capture: PUB ──▸ SUB ──┐
          │                                       observer thread ──▸ Traffic
          └── control: PAIR ── STATISTICS ────────┘

The totals are libzmq's own (STATISTICS: frames and bytes in each direction), exact, and free. Topics are inside packs and
come from a sample. The capture socket must be a PUB: a PAIR that nobody reads stops the whole plane, a PUB drops; and
its pipe is short, so that little is copied that will not be looked at.

`proxy_steerable` of libzmq 4.3.5 has PAUSE and RESUME the wrong way round, and ends on a control socket that cannot
answer. STATISTICS over a PAIR is all that is used of it; see docs/decisions/0006.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import NamedTuple

import zmq

from proxy.events.topic_counts import TopicCounts

logger = logging.getLogger("fabric.proxy")

#: Seconds between looks.
TURN = 0.1
#: Messages that the capture's pipe holds (half of them at either end), and JSON that is parsed in one turn: together
#: they cost about a hundredth of a core while the plane is busy, and nothing while it is calm.
PIPE = 200
PARSED = 200 * 1024
#: Milliseconds that an answer is waited for; it takes some 50 µs.
ANSWER_MS = 20
CAPTURE = "inproc://capture"
CONTROL = "inproc://control"


class FrameTotals(NamedTuple):
    """What libzmq has counted. A message on the event plane has two frames."""

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0


class Observer:
    """A thread beside the event plane, in its context; it ends when that is terminated."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], topics: int) -> None:
        self.counted = FrameTotals()
        self._before = FrameTotals()
        self._begun_again = False
        #: The table of topics; `last` is monotonic. Any thread may read.
        self.topic_counts = TopicCounts(topics, monotonic())
        #: The two ends that `zmq.proxy_steerable` gets, and closes.
        self.capture = context.socket(zmq.PUB)
        self.control = context.socket(zmq.PAIR)
        self.capture.sndhwm = PIPE // 2
        self.capture.bind(CAPTURE)
        self.control.bind(CONTROL)
        self._asking = context.socket(zmq.PAIR)
        self._looking = context.socket(zmq.SUB)
        self._looking.rcvhwm = PIPE // 2
        for made in (self.capture, self.control, self._asking, self._looking):
            made.linger = 0
        self._asking.connect(CONTROL)
        self._looking.connect(CAPTURE)
        self._looking.subscribe(b"")
        self._asked = False
        self._thread = threading.Thread(target=self._run, name="fabric-observer", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def begin_again(self) -> None:
        """The plane has, and libzmq counts from zero again. On the plane's thread."""
        self._begun_again = True

    def close_unstarted(self) -> None:
        """Let go of all sockets; neither the thread nor the plane ever ran."""
        for made in (self.capture, self.control, self._asking, self._looking):
            made.close(linger=0)

    # The observer's thread

    def _run(self) -> None:
        try:
            while True:
                left_out = self._look()
                self.topic_counts.turn(self._ask() // 2, left_out, monotonic())
                self._asking.poll(int(TURN * 1_000))  # a sleep that the end of the context ends
        except (zmq.ContextTerminated, zmq.Again):  # the plane has ended, and does not take questions any more
            pass
        except zmq.ZMQError as error:
            logger.error("what passes the event plane is not counted any more: %s", error)
        finally:
            self._asking.close(linger=0)
            self._looking.close(linger=0)

    def _look(self) -> bool:
        """Take what the pipe holds; whether more has passed than was looked at."""
        parsed = read = 0
        looking = self._looking
        try:
            while read <= 4 * PIPE:
                frames = looking.recv_multipart(zmq.NOBLOCK)
                if len(frames) != 2:
                    continue  # a subscription on its way to the publishers, or a probe
                read += 1
                if parsed < PARSED:
                    parsed += len(frames[1])
                    self.topic_counts.seen(frames[0], frames[1])
        except zmq.Again:
            pass
        # A pipe that was full takes nothing until half of it has been read.
        return read >= PIPE // 2 or parsed >= PARSED

    def _ask(self) -> int:
        """Frames that have come in, as far as libzmq has told; while the plane settles nobody answers."""
        if not self._asked:
            self._asking.send(b"STATISTICS", zmq.NOBLOCK)
            self._asked = True
        if self._asking.poll(ANSWER_MS):
            # Received and sent, each in frames and bytes: at the XSUB, then at the XPUB.
            values = [int.from_bytes(each, "little") for each in self._asking.recv_multipart(zmq.NOBLOCK)]
            told = FrameTotals(values[0], values[1], values[6], values[7])
            if self._begun_again:
                self._begun_again = False
                self._before = self.counted
            self.counted = FrameTotals(*(map(sum, zip(self._before, told, strict=True))))
            self._asked = False
        return self.counted.frames_in
