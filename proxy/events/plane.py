"""Events through the proxy: XSUB in, XPUB out, and `zmq.proxy` between them, inside libzmq.

    publishers' XPUB ──▸ XSUB ══ zmq.proxy ══▸ XPUB ──▸ subscribers' SUB
                             ◂── subscriptions ──

No Python runs per event: a forwarding loop in Python has a third of the throughput. libzmq counts what passes, and a thread
beside the plane observes a sample (see `proxy.events.observer`).

Start order. Events-out is bound first and events-in `settle` seconds later, so that after a restart the subscribers are
back before the publishers send the events that they held: 2 events lost at a kill -9 instead of 1,300. Until then this
module's thread forwards subscriptions by itself.

The proxy has two subscriptions of its own: `␀up`, and `\\xff`, which sorts last. They show a publisher that the link is up
and that it has read all subscriptions (see `fabric.events.interest`). A new subscriber receives `␀up` + boot id.

Never set `XPUB_NODROP` here: one subscriber that stops reading would stop all of them.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from time import monotonic, time
from typing import Any

import orjson
import zmq

from fabric.config.address import Address
from fabric.errors import ProxyError
from fabric.protocol.envelope import stamp
from fabric.protocol.events import END, SUBSCRIBE, UP, encode_event, encode_event_head, encode_pack, encode_topic
from fabric.protocol.sequence import Counter
from proxy.events.observer import Observer
from proxy.events.retainer import EVENTS_OUT, Retainer
from proxy.health.socket_guard import backlog, limit_of_descriptors

logger = logging.getLogger("fabric.proxy")

#: Bytes of a subscription: a topic of at most 255 bytes and a few more. Without a limit one subscriber with a topic of
#: 150 kB crashes any ZeroMQ proxy: the trie of subscriptions is freed recursively.
MAX_SUBSCRIPTION = 512
#: Bytes of a typical large pack; converts a budget in bytes into a number of messages.
MESSAGE_BYTES = 8 * 1024
#: Bytes of a message beside an event of the largest size: its topic, the brackets.
MAX_OVERHEAD = 4 * 1024
_INPROC_IN = "inproc://events-in"


def set_common_options(opened: zmq.Socket[bytes], address: Address) -> None:
    """Set the options that all sockets of the proxy share, before the bind. Keepalive detects a half-open tcp connection
    in 11 s. ZMTP heartbeats stay off: combined with a full pipe they abort libzmq 4.3.5 at either end."""
    opened.linger = 0
    opened.handshake_ivl = 3_000
    opened.ipv6 = ":" in address.host
    opened.setsockopt(zmq.BACKLOG, backlog(limit_of_descriptors()))
    if address.directory is None:
        opened.tcp_keepalive = 1
        opened.tcp_keepalive_idle = 5
        opened.tcp_keepalive_intvl = 2
        opened.tcp_keepalive_cnt = 3
        opened.setsockopt(zmq.TCP_MAXRT, 10_000)


class EventPlane:
    """Runs the plane in its own thread, with its own context. `stop` ends both."""

    def __init__(
        self,
        address: Address,
        *,
        boot: bytes,
        settle: float,
        max_bytes: int,
        peer_bytes: int,
        topics: int = 0,
        retain: Sequence[str] = (),
        retain_topics: int = 10_000,
        retain_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._address = address
        self._settle = settle
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._in = self._socket(zmq.XSUB)
        self._out = self._socket(zmq.XPUB)
        self._in.rcvhwm = 4_096
        self._in.sndhwm = 0  # subscriptions only: a limit here loses them silently
        self._in.maxmsgsize = max_bytes + MAX_OVERHEAD
        self._out.sndhwm = max(peer_bytes // MESSAGE_BYTES, 1)
        self._out.rcvhwm = 0
        self._out.maxmsgsize = MAX_SUBSCRIPTION
        self._out.setsockopt(zmq.XPUB_WELCOME_MSG, UP + boot)
        for each in (self._in, self._out):
            # Without it the second frame of a subscriber's message can cancel the subscriptions of others.
            each.setsockopt(zmq.ONLY_FIRST_SUBSCRIBE, 1)
        #: Counts events by topic; None if `topics` is 0.
        self.observer = Observer(self._context, topics) if topics else None
        #: Keeps the last event of matching topics; None without patterns.
        self.retainer = (
            Retainer(self._context, retain, topics=retain_topics, max_bytes=retain_bytes) if retain else None
        )
        #: Why the plane ended by itself, if it has.
        self.failure: str | None = None
        self.bound = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fabric-events", daemon=True)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        opened = self._context.socket(kind)
        set_common_options(opened, self._address)
        return opened

    def start(self) -> None:
        """Bind events-out now, events-in after the settle time. ProxyError if an address cannot be bound."""
        self._check_port_is_free()
        try:
            self._in.bind(_INPROC_IN)
            self._out.bind(EVENTS_OUT)
            self._out.bind(self._address.events_out)
        except zmq.ZMQError as error:
            self.close_unstarted()
            raise ProxyError(f"cannot listen on {self._address.events_out}: {error.strerror}") from None
        for prefix in (UP, END):
            self._in.send(SUBSCRIBE + prefix)
        self._thread.start()
        if self.observer is not None:
            self.observer.start()
        if self.retainer is not None:
            self.retainer.start()

    def _check_port_is_free(self) -> None:
        """Check that the port of events-in is free: it is bound later, in the thread. ProxyError if it is not."""
        if self._address.directory is not None or self._address.host == "*":
            return
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((self._address.host.strip("[]"), self._address.port + 1))
            except OSError as error:
                self.close_unstarted()
                raise ProxyError(f"cannot listen on {self._address.events_in}: {error.strerror}") from None

    def close_unstarted(self) -> None:
        """Close all sockets; the thread never ran."""
        self._in.close(linger=0)
        self._out.close(linger=0)
        if self.observer is not None:
            self.observer.close_unstarted()
        if self.retainer is not None:
            self.retainer.close_unstarted()
        self._context.term()

    def announcer(self, origin: bytes, source: str) -> Announcer:
        """A publisher for the proxy's own events. The caller's thread owns it and must close it before `stop`."""
        return Announcer(self._context.socket(zmq.PUB), origin, source)

    def stop(self) -> None:
        """Terminate the context, at which `zmq.proxy` returns and the thread closes its sockets; wait for the thread."""
        self._context.term()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._forward_subscriptions(monotonic() + self._settle)
            self._in.bind(self._address.events_in)
            self.bound.set()
            while self._forward_until_torn():
                pass
        except zmq.ContextTerminated:
            pass
        except zmq.ZMQError as error:
            self.failure = f"the event plane ended: {error}"
            logger.error(self.failure)
        finally:
            self._in.close(linger=0)
            self._out.close(linger=0)
            if self.observer is not None:
                self.observer.capture.close(linger=0)
                self.observer.control.close(linger=0)

    def _forward_until_torn(self) -> bool:
        """Forward everything until the context ends. True if `zmq.proxy` ended before, and must be entered again.

        If a subscriber sends a message of several frames, and the first and the last are subscriptions, libzmq's XPUB
        consumes these two. The frames between have no end then, and `zmq.proxy` returns EAGAIN while it waits for it.
        """
        try:
            if (observer := self.observer) is None:
                zmq.proxy(self._in, self._out)
            else:
                zmq.proxy_steerable(self._in, self._out, observer.capture, observer.control)
        except zmq.Again:
            # End the torn message; else the next subscription would be taken for its last frame.
            self._in.send(b"")
            if self.observer is not None:
                self.observer.capture.send(b"")
                self.observer.plane_restarted()
            return True
        return False

    def _forward_subscriptions(self, until: float) -> None:
        while (left := until - monotonic()) > 0:
            if self._out.poll(int(left * 1_000) + 1):
                # Frame by frame: a message may have no end (see above). Subscriptions have one frame.
                frame = self._out.recv(zmq.NOBLOCK, copy=False)
                if not frame.more:
                    self._in.send(frame.bytes)


class Announcer:
    """Publishes the proxy's own events (`fabric.…`) as an ordinary publisher. One thread uses it."""

    def __init__(self, opened: zmq.Socket[bytes], origin: bytes, source: str) -> None:
        self._socket = opened
        self._socket.linger = 0
        self._socket.sndhwm = 0  # unlimited: libzmq's thread in this process reads it at once
        self._socket.connect(_INPROC_IN)
        self._origin = origin
        self._source = source
        self._counter = Counter()

    def announce(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish one event."""
        envelope = orjson.dumps(stamp(topic, payload, self._source, time()))
        event = encode_event(encode_event_head(topic), self._counter.next(topic), envelope)
        self._socket.send_multipart([encode_topic(topic, self._origin), encode_pack([event])])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
