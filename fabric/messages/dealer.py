"""The session's socket: owns the DEALER towards the proxy.

    any thread       calls the session, under `_state`, and sends its frames unless another thread is sending
    control thread   (in `link`) is woken by the descriptor and by timers: receives, ticks, hands out the outcomes

Two locks. `_state` is around the session, which computes and never waits. It is re-entrant: a signal handler or a
finaliser may send while the same thread does. `_wire` is around the socket. Threads only try for it, except for the
control thread when it receives: its holder checks the outgoing frames again after releasing it, so that no frame is left
behind and no thread waits for a holder that waits for the GIL.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import zmq
from zmq.backend import Socket as _Backend

from fabric.messages.session.session import Session
from fabric.system.interrupts import interrupts

logger = logging.getLogger("fabric.link")

#: Messages received before outcomes are handed out.
BATCH = 256

_send: Callable[..., Any] = _Backend.send
_recv: Callable[..., Any] = _Backend.recv
_get: Callable[..., Any] = _Backend.get
_NOBLOCK = int(zmq.NOBLOCK)
_MORE_NOBLOCK = int(zmq.SNDMORE | zmq.NOBLOCK)

_Result = TypeVar("_Result")


class Dealer:
    """The message half of a link. `outcome(value)` is called on the control thread, without a lock held."""

    def __init__(
        self, socket: zmq.Socket[bytes], session: Session, *, outcome: Callable[[Any], None], wake: Callable[[], None]
    ) -> None:
        self.session = session
        self.descriptor: int = socket.fileno()
        self._socket = socket
        self._outcome = outcome
        self._wake = wake
        self._state = threading.RLock()
        self._wire = threading.Lock()
        self._planned = 0.0  # the time at which the control thread calls `service` without being woken
        self._closed = False

    def call(self, function: Callable[..., _Result], *arguments: Any, **keywords: Any) -> _Result:
        """Call a method of the session, and send the frames that it leaves. Any thread."""
        with self._state:
            result = function(*arguments, **keywords)
            due = self.session.next_deadline()
        self._pump()
        if self.session.outcomes or due < self._planned:
            self._wake()  # only the control thread hands out outcomes: in order
        return result

    def service(self, now: float) -> float:
        """Receive, tick, hand out outcomes. Returns the time of the next call, at the latest. The control thread only."""
        session = self.session
        while True:
            batch = self._receive()
            with self._state:
                for frames in batch:
                    session.receive(frames, now)
                if len(batch) < BATCH and now >= session.next_deadline():
                    session.tick(now)
            self._pump()
            self._hand_out()
            if len(batch) < BATCH:
                break
        with self._state:
            self._planned = session.next_deadline()
        return self._planned

    def _hand_out(self) -> None:
        outcomes = self.session.outcomes
        while outcomes:
            outcome = outcomes.popleft()
            try:
                self._outcome(outcome)
            except Exception:
                logger.exception("handling %r failed", outcome)

    def _receive(self) -> list[list[bytes]]:
        batch: list[list[bytes]] = []
        socket = self._socket
        with self._wire:
            if self._closed:
                return batch
            try:
                while len(batch) < BATCH:
                    frame = _recv(socket, _NOBLOCK, False)
                    frames = [frame.bytes]
                    while frame.more:
                        frame = _recv(socket, _NOBLOCK, False)
                        frames.append(frame.bytes)
                    batch.append(frames)
            except zmq.Again:
                pass
        return batch

    def _pump(self) -> None:
        outgoing = self.session.outgoing
        socket = self._socket
        while outgoing and not self._closed:
            if not self._wire.acquire(blocking=False):
                return  # its holder checks `outgoing` again
            try:
                while not self._closed:
                    try:
                        frames = outgoing.popleft()
                    except IndexError:
                        break
                    try:
                        _send(socket, frames[0], _MORE_NOBLOCK if len(frames) > 1 else _NOBLOCK)
                    except zmq.Again:
                        outgoing.appendleft(frames)  # the pipe is full: the control thread tries again
                        return
                    for frame in frames[1:-1]:
                        _send(socket, frame, _MORE_NOBLOCK)
                    if len(frames) > 1:
                        _send(socket, frames[-1], _NOBLOCK)
                # A send can consume the readiness edge of ZMQ_FD, so check ZMQ_EVENTS here.
                if not self._closed and _get(socket, zmq.EVENTS) & zmq.POLLIN:
                    self._wake()
            finally:
                self._wire.release()

    @property
    def held_up(self) -> bool:
        """Whether frames wait because the pipe is full."""
        return bool(self.session.outgoing)

    def close(self, linger: float) -> bool:
        """Close the socket. Frames that were sent last may take `linger` seconds to leave.

        False, and it stays open, if this is a signal handler that interrupts a holder of the socket's lock.
        """
        self._pump()
        self._closed = True
        if not self._wire.acquire(not interrupts(_HOLDERS)):
            return False
        try:
            self._socket.close(linger=int(linger * 1_000))
        finally:
            self._wire.release()
        return True

    def forked(self) -> None:
        """This process is a fork's child: the socket is the parent's."""
        self._closed = True
        self._state, self._wire = threading.RLock(), threading.Lock()


#: The code that holds `_wire`; see `fabric.system.interrupts`.
_HOLDERS = frozenset((Dealer._pump.__code__, Dealer._receive.__code__))
