"""Messages through the proxy: SEND → DELIVER, GOT → ACK, REFUSED → ERROR, REPLY → REPLIED; and queries: ASK, TELL.

This is the hot path: two look-ups and a few checks on raw frames for each message (decoding would cost as much as all the
rest). It can be that short because no state is kept about a message that was passed on, broadcasts apart: a SEND names the
session it goes to, and a DELIVER carries a **return address**, which the holder repeats in GOT, REFUSED and REPLY. An ASK
carries one, too, for its TELL.

    back                     addresses
    ──────────────────────────────────────────────────────────────────────────────────────
    8 bytes                  the node of that origin, over its present connection
    bare-peer + routing id   a peer that never said HELLO
    broadcast + number       no peer: counted, and acknowledged once (`proxy.messages.broadcasts`)
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError
from fabric.protocol.fields import MAX_ID, is_id
from fabric.protocol.names import ANONYMOUS, EVERYBODY, check_claim
from fabric.protocol.verbs import (
    ACK,
    ASK,
    DELIVER,
    ERROR,
    REPLIED,
    SEND,
    TELL,
    Ask,
    RefusedByHolder,
    Send,
    Tell,
    decode_for_proxy,
)
from proxy.messages import broadcasts
from proxy.messages.broadcasts import Broadcasts
from proxy.messages.records import NodeRecord, Outgoing, Refusal
from proxy.messages.registry import Registry

#: Prefix of the return addresses of peers that never said HELLO. Longer than an origin, so none is taken for an origin.
BARE = b"bare-peer"
#: Checked claims that are remembered for a node, beside its names.
MAX_CLAIMS = 64
MAX_META = 4_096
#: Messages recorded for the hooks and not taken yet. The oldest are dropped: messages never wait for hooks.
MAX_ROUTED = 10_000
_EVERYBODY = EVERYBODY.encode()
_ANONYMOUS = ANONYMOUS.encode()


class Routed(NamedTuple):
    """A message that was passed on to `holders` holders."""

    id: bytes
    to: bytes
    sender: bytes
    meta: bytes
    body: bytes
    holders: int


class MessageRouting:
    """Passes messages on between the peers of a registry. Frames go to `outgoing`; `epoch` + `now` is the wall clock.

    `send`, `got` and `reply` raise Refusal and WireError, which the directory answers with ERROR.
    """

    def __init__(self, registry: Registry, outgoing: Outgoing, max_bytes: int, epoch: float, record: bool) -> None:
        self.epoch = epoch
        self.routed: deque[Routed] | None = deque(maxlen=MAX_ROUTED) if record else None
        self.counts = dict.fromkeys(("messages", "acknowledged", "replies", "unrouted"), 0)
        self.broadcasts = self._broadcasts = Broadcasts(outgoing)
        #: Time of the last SEND of a peer that never said HELLO.
        self.last_bare_send = 0.0
        self._registry = registry
        self._outgoing = outgoing
        self._max_bytes = max_bytes
        self._nodes = registry.nodes
        self._origins = registry.origins
        self._open = registry.sessions.open

    def send(self, peer: bytes, frames: list[bytes], now: float) -> None:
        """SEND: pass the message on to the session it names, or refuse it."""
        if len(frames) != 7:
            raise WireError("SEND has 6 frames after the verb")
        _, id_, to, session, sender, meta, body = frames
        node = self._nodes.get(peer)
        if node is None or node.stale:
            self._send_bare(peer, frames, now)
            return
        node.seen = now
        if sender not in node.senders:
            self._accept_claim(node, sender)
        target = self._open.get(session)
        if target is None or target.name != to or not 0 < len(id_) <= MAX_ID or len(meta) > MAX_META:
            self._send_checked(node.peer, node.origin, node, frames, now)
            return
        if len(body) > self._max_bytes:
            raise Refusal("too_large", size=len(body), limit=self._max_bytes)
        if b'"ts":' not in meta or b"null" in meta:
            meta = self._stamped(meta, now)
        self.counts["messages"] += 1
        self._outgoing.append((target.node.peer, [DELIVER, id_, session, to, sender, node.origin, meta, body]))
        if self.routed is not None:
            self.routed.append(Routed(id_, to, sender, meta, body, 1))

    def got(self, peer: bytes, frames: list[bytes], now: float) -> None:
        """GOT: the message is in an inbox; acknowledge it to its sender."""
        if len(frames) != 4 or not is_id(frames[1]):
            raise WireError("GOT has 3 frames after the verb: id, session, back")
        if (node := self._nodes.get(peer)) is not None:
            node.seen = now
        _, id_, session, back = frames
        if (asker := self._origins.get(back)) is not None:
            self.counts["acknowledged"] += 1
            self._outgoing.append((asker.peer, [ACK, id_, b"1"]))
        elif back.startswith(broadcasts.PREFIX):
            self._broadcasts.answered(back, session, True)
        elif (bare := self.peer_of(back)) is not None:
            self.counts["acknowledged"] += 1
            self._outgoing.append((bare, [ACK, id_, b"1"]))

    def reply(self, peer: bytes, frames: list[bytes], now: float) -> None:
        """REPLY: pass the answer on to the sender of the request."""
        if len(frames) != 5 or not is_id(frames[1]) or len(frames[3]) > MAX_META:
            raise WireError("REPLY has 4 frames after the verb: id, back, meta, body")
        if (node := self._nodes.get(peer)) is not None:
            node.seen = now
        _, id_, back, meta, body = frames
        if len(body) > self._max_bytes:
            raise Refusal("too_large", size=len(body), limit=self._max_bytes)
        if (asker := self.peer_of(back)) is not None:
            self.counts["replies"] += 1
            self._outgoing.append((asker, [REPLIED, id_, meta, body]))

    def refused(self, node: NodeRecord, message: RefusedByHolder, now: float) -> None:
        """REFUSED: the holder refused the message; tell its sender."""
        if message.back.startswith(broadcasts.PREFIX):
            self._broadcasts.answered(message.back, message.session.encode(), False)
        elif (asker := self.peer_of(message.back)) is not None:
            self._outgoing.append((asker, error(DELIVER, message.id.encode(), message.code, message.detail)))

    def undeliverable(self, frames: list[bytes], why: str) -> None:
        """A DELIVER could not be sent; its sender gets `busy` or `gone`."""
        _, id_, session, _, _, back, _, _ = frames
        if back.startswith(broadcasts.PREFIX):
            self._broadcasts.answered(back, session, False)
        elif (asker := self.peer_of(back)) is not None:
            self._outgoing.append((asker, error(SEND, id_, why, {})))

    def ask(self, node: NodeRecord, message: Ask, now: float) -> None:
        """ASK: pass a query on to the node of an origin, or to all other nodes."""
        id_ = message.id.encode()
        if message.origin == b"*":
            others = [other.peer for other in self._nodes.values() if other is not node]
            # The number goes first: the asker counts the answers against it.
            self._outgoing.append((node.peer, [ACK, id_, b"%d" % len(others)]))
        elif (other := self._origins.get(message.origin)) is None:
            raise Refusal("gone", origin=message.origin.hex())
        else:
            others = [other.peer]
        for peer in others:
            self._outgoing.append((peer, [ASK, id_, node.origin, message.body]))

    def tell(self, node: NodeRecord, message: Tell, now: float) -> None:
        """TELL: pass the answer to a query on to its asker."""
        if (asker := self.peer_of(message.back)) is not None:
            self._outgoing.append((asker, [TELL, message.id.encode(), node.origin, message.body]))

    def unasked(self, frames: list[bytes], why: str, node: NodeRecord | None) -> None:
        """An ASK to `node` could not be sent; its asker gets `busy` or `gone`, with the origin that was asked."""
        if (asker := self.peer_of(frames[2])) is not None:
            origin = node.origin.hex() if node is not None else ""
            self._outgoing.append((asker, error(ASK, frames[1], why, {"origin": origin})))

    def peer_of(self, back: bytes) -> bytes | None:
        """The peer of a return address; None, counted as unrouted, if it is gone."""
        if (node := self._origins.get(back)) is not None:
            return node.peer
        if back.startswith(BARE) and len(back) <= MAX_ID:
            return back[len(BARE) :]
        self.counts["unrouted"] += 1
        return None

    def _send_bare(self, peer: bytes, frames: list[bytes], now: float) -> None:
        if frames[3] or peer in self._nodes or len(peer) > MAX_ID - len(BARE):
            # A node that must say HELLO first: it repeats what was not acknowledged, and what it sends now, or had queued
            # for a former proxy, must not overtake that.
            raise Refusal("unknown_peer")
        if not frames[4].startswith(_ANONYMOUS):
            frames = [*frames[:4], _ANONYMOUS + frames[4], *frames[5:]]
        self.last_bare_send = now
        self._send_checked(peer, BARE + peer, None, frames, now)

    def _send_checked(self, peer: bytes, back: bytes, node: NodeRecord | None, frames: list[bytes], now: float) -> None:
        message: Send = decode_for_proxy(frames)
        _, id_, to, session, sender, meta, body = frames
        if len(body) > self._max_bytes:
            raise Refusal("too_large", size=len(body), limit=self._max_bytes)
        if to == _EVERYBODY:
            targets = [target for target in self._open.values() if target.node is not node]
            back = self._broadcasts.begin(peer, id_, (target.session for target in targets), message.meta.ttl, now)
        elif session:
            # The session has ended for good. Another holder of the name, if any, is not the addressee.
            raise Refusal("gone")
        elif (holders := self._registry.names.get(to)) is None:
            raise Refusal("no_such_endpoint", similar=self._registry.similar(message.to))
        else:
            targets = [holders.next()]
        if message.meta.ts is None:
            meta = self._stamped(meta, now)
        for target in targets:
            self._outgoing.append((target.node.peer, [DELIVER, id_, target.session, to, sender, back, meta, body]))
        self.counts["messages"] += 1
        if self.routed is not None:
            self.routed.append(Routed(id_, to, sender, meta, body, len(targets)))

    def _accept_claim(self, node: NodeRecord, sender: bytes) -> None:
        """Check a `from` that is not one of the node's names. Refusal unless it is marked as a claim."""
        try:
            check_claim(sender.decode())
        except ValueError:
            raise Refusal("not_owned", sender=sender[:255].decode(errors="replace")) from None
        if len(node.senders) - len(node.registrations) < MAX_CLAIMS:
            node.senders[sender] = 1

    def _stamped(self, meta: bytes, now: float) -> bytes:
        try:
            facts = orjson.loads(meta) if meta else {}
        except ValueError as error:
            raise WireError(f"meta: {error}") from None
        if not isinstance(facts, dict):
            raise WireError("meta is no object")
        if facts.get("ts") is None:
            facts["ts"] = self.epoch + now
        try:
            return orjson.dumps(facts)
        except TypeError:  # orjson reads four times deeper than it writes
            raise WireError("meta nests too deep") from None


def error(about: bytes, subject: bytes, code: str, detail: dict[str, Any]) -> list[bytes]:
    """The frames of an ERROR."""
    return [ERROR, about, subject, code.encode(), orjson.dumps(detail) if detail else b""]
