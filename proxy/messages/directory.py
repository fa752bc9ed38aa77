"""The message plane of the proxy without I/O: frames and `now` in, frames out.

    receive(peer, frames, now) ──▸ ┌───────────┐ ──▸ outgoing        (peer, frames), to be sent in order
    undeliverable(…, now)      ──▸ │ Directory │ ──▸ announcements   (topic, payload), for the event plane
    tick(now)                  ──▸ └───────────┘ ──▸ routed          messages, for the hooks (if enabled)

`fabric.protocol.verbs` is the protocol; `proxy.messages.registry` and `proxy.messages.sessions` hold nodes and names. This
module defines what is done with each verb, and who may send it: `any` peer, or a `node` only, which has said HELLO on this
connection and missed no answer since. Other peers are refused with `unknown_peer`, and say HELLO.

    verb         from    is answered with                            and passed on as
    ──────────────────────────────────────────────────────────────────────────────────────────────────
    HELLO        any     WELCOME; REGISTERED for names it has
    REGISTER     node    REGISTERED │ ERROR name_taken, full …
    UNREGISTER   node
    FIND         node    FOUND │ GONE │ ERROR no_such_endpoint       (FOUND makes it a watcher: GONE at the end)
    SEND         any     ERROR gone, not_owned, no_such_endpoint …   DELIVER to the holder of the session
     no session          the same; `from` is anonymous:…             DELIVER to the next holder of the name
    GOT          any                                                 ACK to the peer of `back`
    REFUSED      node                                                ERROR about DELIVER
    REPLY        any                                                 REPLIED
    ASK          node    ERROR gone; ACK with a number for `*`       ASK to the node(s)
    TELL         node                                                TELL
    LIST         any     LISTED
    PING         any     PONG, `known` 0 if it must say HELLO
    BYE          node                                                its names are free
    STATS, LAST, STOP    are answered by the shell (see `proxy.messages.plane`)
    anything else        ERROR unknown_verb, malformed

SEND is checked by `MessageRouting.send` itself, which decodes no frame on its fast path: with a session, which only nodes
know, it is refused like the verbs of a `node`; without one it may come from any peer.

No state is kept about a message that was passed on (see `proxy.messages.routing`): that makes a kill -9 harmless.

    a node's life:   HELLO ──▸ known ──▸ silent for the timeout: BYE timeout, `lost`
                        ▴       │ │ └──▸ its connection is gone (EHOSTUNREACH): `lost`
                        └───────┘ └────▸ BYE: `left`
                      HELLO again: the same names

All times are monotonic. A tick that is late by more than a heartbeat (the process was stopped or starved) grants every node
a full timeout before it judges: their messages may be waiting unread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from fabric.errors import WireError
from fabric.protocol.json_fields import Terms
from fabric.protocol.node_report import decode_report
from fabric.protocol.verbs import (
    ASK,
    BYE,
    DELIVER,
    FIND,
    GOT,
    HELLO,
    LIST,
    LISTED,
    PING,
    PONG,
    REFUSED,
    REGISTER,
    REPLY,
    SEND,
    TELL,
    UNREGISTER,
    VERSION,
    Bye,
    Hello,
    List,
    Ping,
    Welcome,
    decode_for_proxy,
)
from proxy.messages.listing import encode_listing, listing
from proxy.messages.node_reports import NodeReports
from proxy.messages.records import Announcements, NodeRecord, Outgoing, Refusal
from proxy.messages.registry import MAX_ENDPOINTS, MAX_NODES, Registry
from proxy.messages.routing import MessageRouting, error

#: Who may send a verb. A handler for `ANY` gets the peer and its frames, one for `NODE` the node and the decoded message.
ANY, NODE = "any", "node"

_Handler = Callable[[bytes, list[bytes], float], None]


class Directory:
    """Routes messages between nodes. `boot` identifies this life of the proxy; `epoch` + `now` is the wall clock.

    `timeout` is the silence in seconds after which a node is lost. With `record` messages are recorded for the hooks.
    """

    def __init__(
        self,
        boot: str,
        now: float,
        *,
        epoch: float = 0.0,
        timeout: float = 15.0,
        max_bytes: int = 10 * 1024 * 1024,
        record: bool = False,
        max_nodes: int = MAX_NODES,
        max_endpoints: int = MAX_ENDPOINTS,
    ) -> None:
        self.outgoing: Outgoing = deque()
        self.announcements: Announcements = deque()
        self.terms = Terms(boot, timeout / 3, timeout, max_bytes)
        #: Nodes and names. To be read only.
        self.registry = Registry(
            boot,
            now + timeout,
            self.outgoing,
            self.announcements,
            max_nodes=max_nodes,
            max_endpoints=max_endpoints,
        )
        self._routing = MessageRouting(self.registry, self.outgoing, max_bytes, epoch, record)
        #: Messages for the hooks; None without `record`.
        self.routed = self._routing.routed
        #: The reports in the nodes' heartbeats.
        self.reports = NodeReports()
        self._nodes = self.registry.nodes
        self._judge_at = now + self.terms.heartbeat
        #: Silence is counted from here on, at the earliest.
        self._grace_start = now
        self._empty_since: float | None = now
        self._counts = dict.fromkeys(("malformed", "refused", "busy", "gone", "lost"), 0)
        table: dict[bytes, tuple[Callable[..., None], str]] = {
            HELLO: (self._hello, ANY),
            SEND: (self._routing.send, ANY),
            GOT: (self._routing.got, ANY),
            REPLY: (self._routing.reply, ANY),
            LIST: (self._list, ANY),
            PING: (self._ping, ANY),
            REGISTER: (self.registry.register, NODE),
            UNREGISTER: (self.registry.unregister, NODE),
            FIND: (self.registry.find, NODE),
            REFUSED: (self._routing.refused, NODE),
            ASK: (self._routing.ask, NODE),
            TELL: (self._routing.tell, NODE),
            BYE: (self._bye, NODE),
        }
        self._handlers: dict[bytes, _Handler] = {
            verb: self._for_node(handler) if who == NODE else handler for verb, (handler, who) in table.items()
        }

    # Called by the shell

    def receive(self, peer: bytes, frames: list[bytes], now: float) -> None:
        """Handle one message from `peer`, without its routing id. Never raises, for any bytes."""
        handler = self._handlers.get(frames[0]) if frames else None
        if handler is None:
            self._refuse_malformed(peer, frames, "unknown_verb", {"verbs": [verb.decode() for verb in self._handlers]})
            return
        try:
            handler(peer, frames, now)
        except Refusal as refusal:
            self._counts["refused"] += 1
            self._error(peer, frames[0], _subject(frames), refusal.code, refusal.detail)
        except WireError as fault:
            self._refuse_malformed(peer, frames, "malformed", {"text": str(fault)[:500]})

    def undeliverable(self, peer: bytes, frames: list[bytes], why: str, now: float) -> None:
        """Frames of `outgoing` could not be sent: `busy` (EAGAIN: the peer's pipe is full) or `gone` (EHOSTUNREACH)."""
        self._counts[why] += 1
        node = self._nodes.get(peer)
        if why == "gone" and node is not None:
            self._drop_lost(node, "gone", now)
        if frames[0] == DELIVER:
            self._routing.undeliverable(frames, why)
        elif frames[0] == ASK:
            self._routing.unasked(frames, why, node)
        elif node is not None:
            node.stale = True

    def tick(self, now: float) -> None:
        """Drop the nodes that have been silent. Call it at `next_deadline`, after receiving all that has arrived."""
        self._routing.broadcasts.tick(now)
        if now < self._judge_at:
            return
        sessions, timeout = self.registry.sessions, self.terms.timeout
        if now - self._judge_at > self.terms.heartbeat:
            self._grace_start = now
            sessions.recover_until = max(sessions.recover_until, now + timeout)
        if sessions.recovering and now >= sessions.recover_until:
            sessions.recovered()
        due = now + self.terms.heartbeat
        for node in list(self._nodes.values()):
            ends = max(node.seen, self._grace_start) + timeout
            if ends <= now:
                self.outgoing.append((node.peer, [BYE, b"timeout", b""]))
                self._drop_lost(node, "timeout", now)
            elif ends < due:
                due = ends
        self._judge_at = min(due, sessions.recover_until) if sessions.recovering else due

    def next_deadline(self) -> float:
        """The latest time for the next `tick`."""
        answer = self._routing.broadcasts.next_deadline()
        return self._judge_at if answer is None else min(self._judge_at, answer)

    def close(self, reason: str = "shutdown") -> None:
        """Say BYE to every node."""
        for peer in self._nodes:
            self.outgoing.append((peer, [BYE, reason.encode(), b""]))

    def idle_for(self, now: float) -> float:
        """Seconds since the last node left or an unregistered peer sent a message; 0 while there is a node."""
        return 0.0 if self._empty_since is None else now - max(self._empty_since, self._routing.last_bare_send)

    def refuse_newcomers(self, newcomers: bool) -> None:
        """Whether new nodes are refused with `full`, because the process has no room for them. Any thread."""
        self.registry.full = newcomers

    def stats(self) -> dict[str, int]:
        """Numbers of nodes, endpoints and pending broadcasts; and all counts since the start."""
        return {
            "nodes": len(self._nodes),
            "endpoints": len(self.registry.sessions.open),
            "broadcasts": len(self._routing.broadcasts),
            **self._routing.counts,
            **self._counts,
        }

    def leftovers(self) -> dict[str, int]:
        """Numbers of what peers still wait for, by kind; empty if everything was answered."""
        sessions = self.registry.sessions
        counts = {**sessions.leftovers(), "broadcasts": len(self._routing.broadcasts)}
        return {kind: count for kind, count in counts.items() if count}

    def members(self, limit: int) -> list[NodeRecord]:
        """At most `limit` nodes, by name. Any thread."""
        return sorted(self._nodes.values(), key=lambda node: node.identity.node)[:limit]

    @property
    def epoch(self) -> float:
        """The wall clock at 0 of the directory's clock."""
        return self._routing.epoch

    def listing(self, endpoint: str = "", *, nodes: bool = True) -> dict[str, Any]:
        """Endpoints (all, or those called `endpoint`) and nodes; see `proxy.messages.listing`."""
        return listing(self.registry, self.terms.proxy, self._routing.epoch, endpoint, nodes=nodes)

    # Handlers

    def _for_node(self, handler: Callable[[NodeRecord, Any, float], None]) -> _Handler:
        """A handler that decodes the message, and refuses it if it is not from a node."""

        def handle(peer: bytes, frames: list[bytes], now: float) -> None:
            message = decode_for_proxy(frames)
            node = self._nodes.get(peer)
            if node is None or node.stale:
                raise Refusal("unknown_peer")
            node.seen = now
            handler(node, message, now)

        return handle

    def _hello(self, peer: bytes, frames: list[bytes], now: float) -> None:
        message: Hello = decode_for_proxy(frames)
        if message.version != VERSION:
            raise Refusal("version", version=VERSION, yours=message.version)
        self.registry.hello(peer, message.identity, Welcome(VERSION, message.attempt, self.terms), now)
        self._empty_since = None

    def _list(self, peer: bytes, frames: list[bytes], now: float) -> None:
        message: List = decode_for_proxy(frames)
        if (node := self._nodes.get(peer)) is not None:
            node.seen = now
        endpoint = message.query.get("endpoint")
        found = self.listing(
            endpoint if isinstance(endpoint, str) else "", nodes=message.query.get("nodes") is not False
        )
        data = encode_listing(found, self.terms.max_bytes)
        self.outgoing.append((peer, [LISTED, message.id.encode(), data]))

    def _ping(self, peer: bytes, frames: list[bytes], now: float) -> None:
        message: Ping = decode_for_proxy(frames)
        node = self._nodes.get(peer)
        known = node is not None and not node.stale
        if known and node is not None:
            node.seen = now
            if message.report:
                self.reports.add(node.origin, decode_report(message.report), now)
        self.outgoing.append((peer, [PONG, frames[1], b"1" if known else b"0"]))

    def _bye(self, node: NodeRecord, message: Bye, now: float) -> None:
        self.registry.drop(node, "left", message.reason)
        self._dropped(node, now)

    def _drop_lost(self, node: NodeRecord, reason: str, now: float) -> None:
        self._counts["lost"] += 1
        self.registry.drop(node, "lost", reason)
        self._dropped(node, now)

    def _dropped(self, node: NodeRecord, now: float) -> None:
        self.reports.node_left(node.origin)
        if not self._nodes:
            self._empty_since = now

    def _refuse_malformed(self, peer: bytes, frames: Sequence[bytes], code: str, detail: dict[str, Any]) -> None:
        self._counts["malformed"] += 1
        self._error(peer, frames[0] if frames else b"", _subject(frames), code, detail)

    def _error(self, peer: bytes, about: bytes, subject: bytes, code: str, detail: dict[str, Any]) -> None:
        known = about if about in self._handlers or about == DELIVER else b"unknown"
        self.outgoing.append((peer, error(known, subject, code, detail)))


def _subject(frames: Sequence[bytes]) -> bytes:
    """The subject of an ERROR: the id, name or key after the verb, if it is short and valid UTF-8."""
    subject = frames[1] if len(frames) > 1 and len(frames[1]) <= 255 else b""
    try:
        subject.decode()
    except ValueError:
        return b""
    return subject
