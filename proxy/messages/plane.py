"""Messages through the proxy: a ROUTER loop around the directory. The only Python in the proxy that runs per message.

    ┌─▸ receive what has arrived, at most `BATCH` messages, into the directory
    │   send its answers
    │   tick, when it is due; presence to the event plane, routed messages to the hooks
    └── nothing received: wait on the socket's descriptor and a wake-up pipe

Every send and receive is NOBLOCK. A full pipe (EAGAIN) and a peer that is gone (EHOSTUNREACH, with MANDATORY) are ordinary
results, reported to the directory. The loop continues to receive while sends fail; else it would never notice dead peers.

Three verbs are not about messages and are answered here: STATS with `stats(query)`, LAST with `last(query)`, and STOP,
which is accepted from peers on this machine only.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import select
import threading
from collections.abc import Callable
from time import monotonic, time
from typing import Any

import zmq
from zmq.backend import Socket as _Backend

from fabric.config.address import Address
from fabric.errors import ProxyError, WireError
from fabric.protocol.verbs import BYE, KEPT, LAST, RECORD, STATS, STOP, decode_for_proxy
from proxy.events.plane import MAX_OVERHEAD, Announcer, set_common_options
from proxy.events.retained import NOTHING, RetainedAnswer
from proxy.messages.directory import Directory
from proxy.messages.routing import Routed, error

logger = logging.getLogger("fabric.proxy")

#: Messages received before answers are sent: enough to spread the cost of a step, few enough to answer within 1 ms.
BATCH = 64
#: Frames of the longest verb, and its routing id.
MAX_FRAMES = 16
#: Seconds: the longest wait between two steps.
MAX_WAIT = 0.5

#: Verbs answered here: the directory does not know its process.
_PLANE_VERBS = (STATS, LAST, STOP)

_send: Callable[..., Any] = _Backend.send
_recv: Callable[..., Any] = _Backend.recv
_NOBLOCK = int(zmq.NOBLOCK)
_MORE_NOBLOCK = int(zmq.SNDMORE | zmq.NOBLOCK)


class MessagePlane:
    """Runs the plane in its own thread. `stop` says BYE to every node and ends the thread.

    `routed`, `stats`, `last` and `stop` are called on that thread, and must not block.
    """

    def __init__(
        self,
        address: Address,
        *,
        boot: str,
        timeout: float,
        max_bytes: int,
        make_announcer: Callable[[], Announcer],
        routed: Callable[[Routed], None] | None = None,
        stats: Callable[[dict[str, Any]], bytes] = lambda _query: b"{}",
        last: Callable[[dict[str, Any]], RetainedAnswer] = lambda _query: RetainedAnswer(NOTHING),
        stop: Callable[[str], None] | None = None,
    ) -> None:
        self.directory = Directory(
            boot,
            monotonic(),
            epoch=time() - monotonic(),
            timeout=timeout,
            max_bytes=max_bytes,
            record=routed is not None,
        )
        #: Why the plane ended by itself, if it has.
        self.failure: str | None = None
        self._address = address
        self._routed = routed
        self._stats = stats
        self._last = last
        self._stop = stop
        self._make_announcer = make_announcer
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        set_common_options(self._socket, address)
        self._socket.router_mandatory = True
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
        self._socket.sndhwm = 1_000
        self._socket.rcvhwm = 10_000
        self._socket.maxmsgsize = max_bytes + MAX_OVERHEAD
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="fabric-messages", daemon=True)

    def start(self) -> None:
        """Bind and start the thread. ProxyError if the address cannot be bound."""
        try:
            self._socket.bind(self._address.messages)
        except zmq.ZMQError as error:
            self._socket.close(linger=0)
            self._context.term()
            raise ProxyError(f"cannot listen on {self._address.messages}: {error.strerror}") from None
        self._thread.start()

    def stop(self) -> None:
        """End the plane. Nodes get BYE, so that they need not detect it by silence."""
        self._stopping = True
        os.write(self._wake_write, b"\0")
        if self._thread.ident is not None:  # else the bind failed
            self._thread.join()
        self._context.term()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def idle_for(self) -> float:
        """Seconds without a node; see `Directory.idle_for`. Any thread."""
        return self.directory.idle_for(monotonic())

    # The plane's thread

    def _run(self) -> None:
        announcer = self._make_announcer()
        poller = select.poll()
        poller.register(self._socket.get(zmq.FD), select.POLLIN)  # type: ignore[arg-type]  # an int for FD
        poller.register(self._wake_read, select.POLLIN)
        try:
            while not self._stopping:
                if not self._step(announcer):
                    wait = min(max(self.directory.next_deadline() - monotonic(), 0.0), MAX_WAIT)
                    poller.poll(wait * 1_000 + 1)
            self.directory.close()
            self._send_outgoing()
            self._socket.close(linger=500)  # time for the BYEs to reach the kernel
        except Exception as error:
            self.failure = f"the message plane ended: {error!r}"
            logger.exception("the message plane failed")
            self._socket.close(linger=0)
        finally:
            announcer.close()

    def _step(self, announcer: Announcer) -> bool:
        """Whether anything was received or sent. Then the descriptor, which is edge-triggered, may be silent about more."""
        received = self._receive()
        now = monotonic()
        if received < BATCH and now >= self.directory.next_deadline():
            self.directory.tick(now)
        sent = self._send_outgoing()
        announcements = self.directory.announcements
        while announcements:
            announcer.announce(*announcements.popleft())
        if self._routed is not None and self.directory.routed:
            while self.directory.routed:
                self._routed(self.directory.routed.popleft())
        return bool(received or sent)

    def _receive(self) -> int:
        socket = self._socket
        receive = self.directory.receive
        for count in range(BATCH):
            try:
                frame = _recv(socket, _NOBLOCK, False)
            except zmq.Again:
                return count
            peer = frame.bytes
            frames: list[bytes] = []
            # zmq.Frames know whether more follow; reading RCVMORE of the socket costs as much as receiving a frame.
            while frame.more:
                frame = _recv(socket, _NOBLOCK, False)
                if len(frames) < MAX_FRAMES:
                    frames.append(frame.bytes)
            if frames and frames[0] in _PLANE_VERBS:
                self._handle_own_verb(peer, frames, frame)
            else:
                receive(peer, frames, monotonic())
        return BATCH

    def _handle_own_verb(self, peer: bytes, frames: list[bytes], frame: zmq.Frame) -> None:
        outgoing = self.directory.outgoing
        try:
            message = decode_for_proxy(frames)
        except WireError as fault:
            outgoing.append((peer, error(frames[0], b"", "malformed", {"text": str(fault)[:500]})))
            return
        id_ = message.id.encode()
        if frames[0] == STATS:
            outgoing.append((peer, [RECORD, id_, self._stats(message.query)]))
        elif frames[0] == LAST:
            self._answer_last(peer, id_, message.query)
        elif self._stop is None or not is_local(self._address, frame):
            outgoing.append((peer, error(STOP, id_, "not_local", {})))
        else:
            outgoing.append((peer, [BYE, b"shutdown", b""]))
            self._stop("asked to")

    def _answer_last(self, peer: bytes, id_: bytes, query: dict[str, Any]) -> None:
        try:
            data, mark = self._last(query)
        except WireError as fault:
            self.directory.outgoing.append((peer, error(LAST, id_, "malformed", {"text": str(fault)[:500]})))
            return
        self.directory.outgoing.append((peer, [KEPT, id_, data]))
        if mark is not None:
            self.directory.announcements.append(mark)  # published at the end of this step

    def _send_outgoing(self) -> int:
        outgoing = self.directory.outgoing
        sent = 0
        socket = self._socket
        while outgoing:
            peer, frames = outgoing.popleft()
            sent += 1
            try:
                # With MANDATORY only the routing id can fail; the frames after it cannot.
                _send(socket, peer, _MORE_NOBLOCK)
                for frame in frames[:-1]:
                    _send(socket, frame, _MORE_NOBLOCK)
                _send(socket, frames[-1], _NOBLOCK)
            except zmq.ZMQError as error:
                why = "busy" if error.errno == zmq.EAGAIN else "gone"
                self.directory.undeliverable(peer, frames, why, monotonic())
        return sent


def is_local(address: Address, frame: zmq.Frame) -> bool:
    """Whether a message that came in at `address` is from this machine. At an ipc address every peer is."""
    if address.directory is not None:
        return True
    try:
        peer = ipaddress.ip_address(str(frame.get("Peer-Address")))
    except (ValueError, zmq.ZMQError):
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    return (mapped or peer).is_loopback
