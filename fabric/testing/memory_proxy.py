"""Proxy of a fabric in memory: does for nodes of one process what libzmq and the ROUTER loop do for processes.

    MemoryXPub ─pass_on──▸ ┌─────────────┐ ──▸ MemorySub      by byte prefix, as XSUB → XPUB do
               ◂─frames─── │ MemoryProxy │ ◂── subscribed     passed on to every MemoryXPub
    MemoryDealer ─receive▸ │  Directory  │ ──▸ MemoryDealer   the real one of `proxy.messages.directory`
                           └─────────────┘

It has no thread: the sending thread puts frames into the sockets of the receivers, under one lock that is never held while
an application's code runs. A link that is cut is gone at both ends, like a broken connection: unsent events stay in the
node, and the directory notices when it next sends to the node.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any

import orjson

from fabric.protocol.envelope import stamp
from fabric.protocol.events import (
    END,
    ORIGIN_BYTES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    UP,
    encode_event,
    encode_event_head,
    encode_pack,
    encode_topic,
    prefixes,
)
from fabric.protocol.sequence import Counter
from fabric.protocol.topics import KEPT_TOPIC
from fabric.protocol.verbs import KEPT, LAST, Last, decode_for_proxy
from fabric.system.wakeup import Wakeup

#: Bounds of the queue of one receiver: bytes of events (the default of the proxy), messages.
PEER_BYTES = 64 * 1024 * 1024
PIPE_MESSAGES = 1_000
#: Topics whose last event is retained: the default of the proxy.
RETAINED_TOPICS = 10_000


class MemorySocket:
    """Replaces a ZeroMQ socket: a queue of messages, and a descriptor that is readable while some wait."""

    closed = False
    connected = False

    def __init__(self, proxy: MemoryProxy) -> None:
        self.proxy = proxy
        self._incoming: deque[list[bytes]] = deque()
        self._wakeup = Wakeup()

    def setsockopt(self, option: int, value: object) -> None:
        """No-op: sockets in memory have no options."""

    def connect(self, address: str) -> None:
        """Join the proxy, the only one there is."""
        self.proxy.join(self)

    def fileno(self) -> int:
        """The descriptor to poll for messages."""
        return self._wakeup.descriptor

    def put(self, frames: list[bytes]) -> bool:
        """Queue a message; False if the queue is full. Under the proxy's lock."""
        self._incoming.append(frames)
        self._wakeup.set()
        return True

    def clear(self) -> None:
        """Call before taking all messages: a later one makes the descriptor readable again."""
        self._wakeup.clear()

    def take(self) -> list[bytes] | None:
        """The oldest message, None if there is none."""
        try:
            return self._incoming.popleft()
        except IndexError:
            return None

    def close(self, linger: int = 0) -> None:
        """Disconnect. By the thread that owns it."""
        if not self.closed:
            self.closed = True
            self.proxy.leave(self)
            self._wakeup.close()


class MemoryXPub(MemorySocket):
    """The socket of a publisher: sends events, receives subscriptions.

    `read` is called when subscriptions arrive, so that a publisher knows all that were made before.
    """

    def __init__(self, proxy: MemoryProxy) -> None:
        super().__init__(proxy)
        self.read: Callable[[], None] = lambda: None

    def tell(self, verb: bytes, prefixes: list[bytes]) -> None:
        """Deliver subscriptions that begin or end together. Under the proxy's lock."""
        self._incoming.extend([verb + prefix] for prefix in prefixes)
        self.read()

    def send(self, frames: list[bytes]) -> None:
        """Send to every subscriber with a prefix that matches the first frame."""
        self.proxy.pass_on(self, frames)


class MemorySub(MemorySocket):
    """The socket of a subscriber. A prefix may be subscribed several times, and ends with its last `unsubscribe`."""

    def __init__(self, proxy: MemoryProxy) -> None:
        super().__init__(proxy)
        self.prefixes: dict[bytes, int] = {}
        #: The prefixes as a tuple, for `bytes.startswith`.
        self.matching: tuple[bytes, ...] = ()
        self._put_bytes = 0  # each of the two is changed by one side only
        self._taken_bytes = 0

    def subscribe(self, prefix: bytes) -> None:
        """Subscribe to a prefix."""
        self.proxy.subscribe(self, prefix)

    def unsubscribe(self, prefix: bytes) -> None:
        """Undo one `subscribe`."""
        self.proxy.unsubscribe(self, prefix)

    def put(self, frames: list[bytes]) -> bool:
        """As for any socket; over the byte budget events are dropped, as by the proxy."""
        if self._put_bytes - self._taken_bytes >= self.proxy.peer_bytes:
            return False
        self._put_bytes += len(frames[-1])
        return super().put(frames)

    def take(self) -> list[bytes] | None:
        """The oldest message, None if there is none."""
        frames = super().take()
        if frames is not None:
            self._taken_bytes += len(frames[-1])
        return frames


class MemoryDealerSocket(MemorySocket):
    """The socket of a node for messages. Messages sent without a connection wait here, as in the pipe of a DEALER."""

    def __init__(self, proxy: MemoryProxy) -> None:
        super().__init__(proxy)
        self.peer = b""
        self.pipe: deque[list[bytes]] = deque()

    def send(self, frames: list[bytes]) -> bool:
        """Send to the directory; False if the pipe is full."""
        return self.proxy.receive(self, frames)

    def put(self, frames: list[bytes]) -> bool:
        """As for any socket; False past `PIPE_MESSAGES`."""
        return len(self._incoming) < PIPE_MESSAGES and super().put(frames)


class MemoryProxy:
    """See the module. `timeout`, `max_bytes`, `retain` (valid patterns) as in the settings of the proxy. Any thread.

    `peer_bytes`: bytes of events that may wait for one subscriber.
    """

    def __init__(
        self, *, timeout: float, max_bytes: int, retain: Sequence[str] = (), peer_bytes: int = PEER_BYTES
    ) -> None:
        # Imported here only: applications that embed the fabric do not need the proxy.
        try:
            from proxy.events.retained import NOTHING, Retained, RetainedAnswer
            from proxy.messages.directory import Directory
        except ImportError as error:
            raise ImportError(
                f"the fabric's package `proxy` cannot be imported ({error}): a module `proxy` of another project, or "
                "of the directory that the tests run in, hides it"
            ) from error

        self.peer_bytes = peer_bytes
        self._make_directory: Callable[[str], Directory] = lambda boot: Directory(
            boot, monotonic(), epoch=time() - monotonic(), timeout=timeout, max_bytes=max_bytes
        )
        self._make_retained: Callable[[], Retained] = lambda: Retained(
            retain, topics=RETAINED_TOPICS, max_bytes=PEER_BYTES
        )
        self._nothing = RetainedAnswer(NOTHING)
        self._retained_prefixes = tuple(prefix for pattern in retain for prefix in prefixes(pattern))
        if retain:
            self._retained_prefixes += prefixes(KEPT_TOPIC)
        #: Prefixes that the proxy itself subscribes to.
        self._own = {UP, END, *self._retained_prefixes}
        #: Around all state here, and around sending by the publishers of this fabric. Re-entrant: a finaliser that runs in
        #: the middle of that may publish.
        self.lock = threading.RLock()
        self._publishers: list[MemoryXPub] = []
        self._subscribers: list[MemorySub] = []
        self._prefixes: dict[bytes, int] = {}
        self._peers: dict[bytes, MemoryDealerSocket] = {}
        self._connections = 0
        self._begin()

    def _begin(self) -> None:
        self.boot = os.urandom(8)
        self._origin = os.urandom(ORIGIN_BYTES)
        self._counter = Counter()
        self._directory = self._make_directory(self.boot.hex())
        self._retained = self._make_retained()

    # Connections

    def join(self, socket: MemorySocket) -> None:
        """Connect a socket, for the first time or again."""
        with self.lock:
            if socket.connected or socket.closed:
                return
            socket.connected = True
            if isinstance(socket, MemorySub):
                self._subscribers.append(socket)
                socket.put([UP + self.boot])
                for prefix in socket.prefixes:
                    self._add(prefix)
            elif isinstance(socket, MemoryXPub):
                self._publishers.append(socket)
                socket.tell(SUBSCRIBE, self._replayed())
            elif isinstance(socket, MemoryDealerSocket):
                self._connections += 1
                socket.peer = b"peer-%d" % self._connections  # like a ROUTER, a new id for every connection
                self._peers[socket.peer] = socket
                while socket.pipe:
                    self._hand_in(socket.peer, socket.pipe.popleft())
                self._answer()

    def leave(self, socket: MemorySocket) -> None:
        """Break the connection of a socket, in both directions."""
        with self.lock:
            if not socket.connected:
                return
            socket.connected = False
            if isinstance(socket, MemorySub):
                self._subscribers.remove(socket)
                for prefix in socket.prefixes:
                    self._remove(prefix)
            elif isinstance(socket, MemoryXPub):
                self._publishers.remove(socket)
                if not socket.closed:
                    socket.tell(UNSUBSCRIBE, self._replayed())
            elif isinstance(socket, MemoryDealerSocket):
                del self._peers[socket.peer]

    def restart(self) -> None:
        """Begin anew, without any state. Break all connections before."""
        with self.lock:
            self._begin()

    def _replayed(self) -> list[bytes]:
        return sorted({*self._prefixes, *self._own})

    # Events

    def subscribe(self, socket: MemorySub, prefix: bytes) -> None:
        """See `MemorySub.subscribe`."""
        with self.lock:
            socket.prefixes[prefix] = socket.prefixes.get(prefix, 0) + 1
            if socket.prefixes[prefix] == 1:
                socket.matching = tuple(socket.prefixes)
                if socket.connected:
                    self._add(prefix)

    def unsubscribe(self, socket: MemorySub, prefix: bytes) -> None:
        """See `MemorySub.unsubscribe`."""
        with self.lock:
            socket.prefixes[prefix] -= 1
            if not socket.prefixes[prefix]:
                del socket.prefixes[prefix]
                socket.matching = tuple(socket.prefixes)
                if socket.connected:
                    self._remove(prefix)

    def pass_on(self, publisher: MemoryXPub | None, frames: list[bytes]) -> None:
        """Pass an event or a probe on; `publisher` None: the proxy's own."""
        with self.lock:
            if publisher is None or publisher.connected:
                for subscriber in self._subscribers:
                    if frames[0].startswith(subscriber.matching):
                        subscriber.put(frames)
                if frames[0].startswith(self._retained_prefixes) and len(frames) == 2:
                    self._retained.take(frames[0], frames[1])

    def _add(self, prefix: bytes) -> None:
        self._prefixes[prefix] = self._prefixes.get(prefix, 0) + 1
        if self._prefixes[prefix] == 1 and prefix not in self._own:
            self._tell(SUBSCRIBE, prefix)

    def _remove(self, prefix: bytes) -> None:
        self._prefixes[prefix] -= 1
        if not self._prefixes[prefix]:
            del self._prefixes[prefix]
            if prefix not in self._own:
                self._tell(UNSUBSCRIBE, prefix)

    def _tell(self, verb: bytes, prefix: bytes) -> None:
        for publisher in self._publishers:
            publisher.tell(verb, [prefix])

    # Messages

    def receive(self, socket: MemoryDealerSocket, frames: list[bytes]) -> bool:
        """See `MemoryDealerSocket.send`."""
        with self.lock:
            if socket.connected:
                self._hand_in(socket.peer, frames)
                self._answer()
                return True
            if len(socket.pipe) >= PIPE_MESSAGES:
                return False
            socket.pipe.append(frames)
            return True

    def tick(self, now: float) -> float:
        """Run the timers that are due; returns the time of the next one."""
        with self.lock:
            if now >= self._directory.next_deadline():
                self._directory.tick(now)
                self._answer()
            return self._directory.next_deadline()

    def _hand_in(self, peer: bytes, frames: list[bytes]) -> None:
        if frames[0] == LAST:
            last: Last = decode_for_proxy(frames)
            data, mark = self._retained.answer(last.query) if self._retained_prefixes else self._nothing
            self._directory.outgoing.append((peer, [KEPT, last.id.encode(), data]))
            if mark is not None:
                self._directory.announcements.append(mark)
            return
        self._directory.receive(peer, list(frames), monotonic())

    def _answer(self) -> None:
        outgoing, announcements = self._directory.outgoing, self._directory.announcements
        while outgoing:
            peer, frames = outgoing.popleft()
            socket = self._peers.get(peer)
            if socket is None or not socket.put(frames):
                why = "gone" if socket is None else "busy"
                self._directory.undeliverable(peer, frames, why, monotonic())
        while announcements:
            self._announce(*announcements.popleft())

    def _announce(self, topic: str, payload: dict[str, Any]) -> None:
        envelope = orjson.dumps(stamp(topic, payload, "proxy", time()))
        event = encode_event(encode_event_head(topic), self._counter.next(topic), envelope)
        self.pass_on(None, [encode_topic(topic, self._origin), encode_pack([event])])
