"""A node's half of the message plane, sans I/O: frames, calls and `now` in, frames and outcomes out.

    register  send  ask  reply …  ──▸ ┌─────────┐ ──▸ outgoing    frames for the DEALER, to be sent in order
    receive(frames, now)          ──▸ │ Session │ ──▸ outcomes    values for the shell, to be handled in order
    tick(now)                     ──▸ └─────────┘                 (`fabric.messages.session.outcomes`)
    link_lost, link_back

The protocol is `fabric.protocol.verbs`. Each part of a session handles its own verbs: `handshake` (HELLO, WELCOME, PING),
`registrations` (our names), `outbound` (messages we send), `inbound` (messages we get) and `queries`. The table in
`Session.__init__` says which part handles a verb, and in which states the verb is legal; elsewhere it is ignored. Here
are the calls of the shell, and the verbs that concern several parts:

    WELCOME   sent after it, in this order: our names, messages pinned to a session, waiting messages, queries
    BYE       of one session: its name is lost. Of the node: `replaced` is the end, any other reason leads to HELLO
    ACK       of a message, or of a query to all nodes
    PONG      with `known` 0: HELLO again
    ERROR     to the part that sent what it is about; `unknown_peer`: HELLO again

All times are monotonic; `now` never decreases. The shell passes the frames that have arrived before it calls `tick`.

Calls come from one thread at a time: there are no locks here. `outgoing` and `outcomes` are deques, from which another
thread may take at the left meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from fabric.errors import Closed, MessageTooLarge, SenderNotOwned, WireError
from fabric.messages.session.handshake import CLOSED, CONNECTING, NEW, WELCOMED, Handshake
from fabric.messages.session.inbound import MAX_REPLY_BYTES, MAX_SEEN, Inbound
from fabric.messages.session.outbound import MAX_OPEN, MAX_OPEN_BYTES, Outbound
from fabric.messages.session.outcomes import Arrived, Disconnected, QueryArrived, Welcomed
from fabric.messages.session.queries import MAX_QUERIES, Queries
from fabric.messages.session.registrations import MAX_RELEASED, Registrations
from fabric.messages.session.send_queue import MAX_QUEUES, OutboundMessage
from fabric.protocol import verbs
from fabric.protocol.fields import MAX_TTL, check_id, check_word, encode_to
from fabric.protocol.json_fields import Identity, Terms, encode_error
from fabric.protocol.names import ANONYMOUS, EVERYBODY, check_name

#: A verb's handler, called with the decoded message (DELIVER: with its frames) and the time.
_Handler = Callable[[Any, float], None]


class SessionLimits(NamedTuple):
    """How much one session keeps; see the constants."""

    open_messages: int = MAX_OPEN
    open_bytes: int = MAX_OPEN_BYTES
    send_queues: int = MAX_QUEUES
    seen_ids: int = MAX_SEEN
    reply_bytes: int = MAX_REPLY_BYTES
    queries: int = MAX_QUERIES
    released_names: int = MAX_RELEASED


class Session:
    """One node's membership in the message plane.

    `report()` makes the payload of its heartbeats (`fabric.protocol.node_report`).
    """

    def __init__(
        self,
        node: str,
        origin: bytes,
        *,
        pid: int = 0,
        host: str = "",
        program: str = "",
        report: Callable[[], bytes] = bytes,
        limits: SessionLimits = SessionLimits(),  # noqa: B008 - immutable
    ) -> None:
        self.outgoing: deque[list[bytes]] = deque()
        self.outcomes: deque[Any] = deque()
        self.node = check_name(node, "node")
        self.origin = origin
        self._anonymous = f"{ANONYMOUS}{node}".encode()
        self._counts = dict.fromkeys(("sent", "malformed", "strays"), 0)
        effects = self.outgoing, self.outcomes
        self._handshake = Handshake(Identity(node, origin, pid, host, program), self.outgoing, report)
        registrations = self._registrations = Registrations(*effects, max_released=limits.released_names)
        outbound = self._outbound = Outbound(
            *effects, max_open=limits.open_messages, max_bytes=limits.open_bytes, max_queues=limits.send_queues
        )
        inbound = self._inbound = Inbound(
            *effects, registrations.by_session, max_seen=limits.seen_ids, max_reply_bytes=limits.reply_bytes
        )
        queries = self._queries = Queries(*effects, max_queries=limits.queries)

        connecting, welcomed, open_ = {CONNECTING}, {WELCOMED}, {NEW, CONNECTING, WELCOMED}
        #: Verb → its handler, and the states in which it is legal.
        self._handlers: dict[bytes, tuple[_Handler, Collection[str]]] = {
            verbs.DELIVER: (inbound.deliver, open_),
            verbs.ACK: (self._acknowledged, open_),
            verbs.REPLIED: (outbound.replied, open_),
            verbs.FOUND: (outbound.found, welcomed),
            verbs.GONE: (outbound.gone, welcomed),
            verbs.ERROR: (self._failed, open_),
            verbs.WELCOME: (self._welcomed, connecting),
            verbs.REGISTERED: (registrations.registered, welcomed),
            verbs.ASK: (queries.arrived, open_),
            verbs.TELL: (queries.told, open_),
            verbs.LISTED: (queries.listed, open_),
            verbs.KEPT: (queries.retained, open_),
            verbs.PONG: (self._pong, welcomed),
            verbs.BYE: (self._bye, open_),
        }
        #: The verb that an ERROR is about → its handler, while welcomed.
        self._error_handlers: dict[bytes, _Handler] = {
            verbs.SEND: outbound.refused,
            verbs.DELIVER: outbound.refused,
            verbs.FIND: outbound.not_found,
            verbs.REGISTER: registrations.refused,
            verbs.ASK: queries.refused,
            verbs.LIST: queries.refused,
            verbs.LAST: queries.refused,
        }

    # The link

    @property
    def state(self) -> str:
        """`new`, `connecting`, `welcomed` or `closed`."""
        return self._handshake.state

    @property
    def terms(self) -> Terms:
        """The proxy's terms; defaults before the first WELCOME."""
        return self._handshake.terms

    def start(self, now: float) -> None:
        """There is a socket: send HELLO."""
        if self.state == NEW:
            self._handshake.connect(now)

    def link_lost(self, now: float) -> None:
        """The shell has seen the link go down. Without this call the proxy's silence shows it, later."""
        if self.state == WELCOMED:
            self._disconnect("link", now)

    def link_back(self, now: float, proxy: str = "") -> None:
        """The shell has seen the link come up; `proxy`: the boot id of the proxy, if known."""
        if self.state == CONNECTING:
            self._handshake.connect(now)
        elif self.state == WELCOMED and proxy != self.terms.proxy:
            self._disconnect("link", now)

    def close(self, now: float, reason: str = "close") -> None:
        """Send BYE. Messages without an acknowledgement fail with Closed; names are free at once."""
        if self.state == CLOSED:
            return
        if self.state == WELCOMED:
            self._handshake.ping()  # the last report: the losses of a short life are counted, too
            self.outgoing.append(verbs.encode(verbs.Bye(reason)))
        self._end()

    def receive(self, frames: list[bytes], now: float) -> None:
        """One message from the proxy. It never raises, whatever the bytes."""
        row = self._handlers.get(frames[0]) if frames else None
        if row is None or self._handshake.state == CLOSED:
            self._counts["strays"] += 1
            return
        self._handshake.received(now)
        handler, states = row
        try:
            message = frames if frames[0] == verbs.DELIVER else verbs.decode_for_node(frames)
            if self._handshake.state in states:
                handler(message, now)
        except WireError:
            self._counts["malformed"] += 1

    def tick(self, now: float) -> None:
        """Do what is due. To be called at `next_deadline`, after `receive` of all frames that have arrived."""
        if self.state == CLOSED:
            return
        self._inbound.tick(now, self._handshake.is_late(now), self.terms.timeout)
        self._outbound.tick(now)
        self._registrations.tick(now)
        self._queries.tick(now)
        if not self._handshake.tick(now):
            self._disconnect("silence", now)

    def next_deadline(self) -> float:
        """The time by which `tick` is to be called next."""
        due = (
            self._handshake.next_deadline(),
            self._outbound.next_deadline(),
            self._registrations.next_deadline(),
            self._queries.next_deadline(),
        )
        return min(at for at in due if at is not None)

    # Names

    def register(self, name: str, policy: str, deadline: float, now: float) -> int:
        """Ask for an endpoint's name. Returns the key that NameRegistered, NameRefused, NameLost and Arrived carry."""
        self._check_open()
        return self._registrations.register(name, policy, deadline, now)

    def unregister(self, key: int) -> None:
        """Release a name. Messages that arrive for it from now on are refused as `gone`."""
        self._registrations.unregister(key)

    @property
    def names(self) -> dict[int, str]:
        """Key → granted name (empty while it is not granted) of every registration."""
        return self._registrations.names()

    # Messages

    def send(
        self,
        id: str,
        to: str,
        body: bytes,
        *,
        ts: float,
        deadline: float,
        now: float,
        sender: str = "",
        request: bool = False,
        redeliver: bool = False,
    ) -> None:
        """Send `body` (from `encode_body`) to an endpoint, or `*`; a `request` ends with its handler's answer.

        Without a `sender` it is from `anonymous:` and the node's name. The deadline is at most MAX_TTL seconds from now.
        Raises SenderNotOwned, MessageTooLarge, Closed, ValueError, and NotConnected or EndpointBusy if too many are open.
        """
        self._check_open()
        if sender and sender not in self._registrations.owned:
            raise SenderNotOwned(sender, to=to)
        if len(body) > self.terms.max_bytes:
            raise MessageTooLarge(to, len(body), self.terms.max_bytes)
        if request and to == EVERYBODY:
            raise ValueError("a request to everybody would have many answers: ask one endpoint")
        deadline = min(deadline, now + MAX_TTL)
        from_ = sender.encode() if sender else self._anonymous
        message = OutboundMessage(check_id(id).encode(), encode_to(to), from_, body, ts, now, deadline)
        message.request, message.redeliver = request, redeliver
        self._outbound.send(message, now)
        self._counts["sent"] += 1

    def cancel(self, id: str, now: float) -> bool:
        """End a message or query without an outcome. False if the id is not open."""
        return self._queries.cancel(id) or self._outbound.cancel(id.encode(), now)

    def accept(self, arrived: Arrived) -> None:
        """The message is in its inbox."""
        self._inbound.accept(arrived)

    def refuse(self, arrived: Arrived, code: str, text: str = "") -> None:
        """The endpoint does not accept the message: `busy`, `closing`, or another word, and a sentence."""
        self._inbound.refuse(arrived, check_word(code), text)

    def reply(self, arrived: Arrived, value: bytes) -> bool:
        """Answer a request with JSON (from `encode_value`). False if it was answered, or is too old."""
        return self._inbound.reply(arrived, b"", value)

    def reply_error(self, arrived: Arrived, type: str, text: str) -> bool:
        """Answer a request with its handler's exception. False as for `reply`."""
        return self._inbound.reply(arrived, encode_error(type, text), b"null")

    # Queries

    def ask(self, id: str, origin: bytes, body: bytes, deadline: float, now: float) -> None:
        """Query the node of that origin, or all others (`b"*"`). QuerySent, QueryReply, QueryFailed follow, until `cancel`.

        The query is not repeated after a reconnect: it ends as QueryFailed `disconnected`.
        """
        self._check_open()
        self._queries.ask(id, origin, body, deadline, now)

    def tell(self, query: QueryArrived, body: bytes) -> None:
        """Answer a query of another node."""
        self._queries.tell(query, body)

    def endpoints(self, id: str, deadline: float, now: float, *, name: str = "", nodes: bool = True) -> None:
        """Ask for the endpoints and nodes that are present; Listing follows. With `name` only its holders."""
        self._check_open()
        query: dict[str, Any] = {} if nodes else {"nodes": False}
        if name:
            query["endpoint"] = name
        self._queries.endpoints(id, query, deadline, now)

    def last(self, id: str, query: dict[str, Any], deadline: float, now: float) -> None:
        """Ask for retained events, with a query as in `proxy.events.retained`; RetainedPage follows."""
        self._check_open()
        self._queries.last(id, query, deadline, now)

    @property
    def pending(self) -> int:
        """Number of messages that are not acknowledged (or answered) yet: a drain waits for them."""
        return len(self._outbound)

    def stats(self) -> dict[str, int]:
        """Counts, and sizes of what is kept."""
        return {
            "pending": len(self._outbound),
            "endpoints": len(self._registrations),
            "remembered": len(self._inbound),
            "repeats": self._inbound.repeats,
            "connects": self._handshake.connects,
            "sent": self._counts["sent"],
            "received": self._inbound.received,
            "malformed": self._counts["malformed"],
            "strays": self._counts["strays"],
        }

    def leftovers(self) -> dict[str, int]:
        """Sizes of all state that ends with its message, query or registration; only those that are not 0.

        It is empty once all of these have ended and the times for which ids are remembered are over.
        """
        parts = (self._registrations, self._outbound, self._inbound, self._queries)
        return {name: size for part in parts for name, size in part.leftovers().items() if size}

    # Verbs that concern several parts

    def _welcomed(self, welcome: verbs.Welcome, now: float) -> None:
        if self._handshake.welcome(welcome, now):
            self.outcomes.append(Welcomed(*self.terms))
            self._registrations.up()
            self._outbound.up(now)
            self._queries.up()

    def _bye(self, bye: verbs.Bye, now: float) -> None:
        if bye.session:
            self._registrations.replaced(bye.session.encode(), bye.reason)
        elif bye.reason == "replaced":
            # Another connection with our origin has taken over. A HELLO would replace it in turn, and so on for ever.
            self.outcomes.append(Disconnected("replaced"))
            self._end()
        elif self.state == WELCOMED:
            self._disconnect(bye.reason, now)

    def _acknowledged(self, ack: verbs.Ack, now: float) -> None:
        if not self._outbound.acknowledged(ack):
            self._queries.sent(ack)

    def _pong(self, pong: verbs.Pong, now: float) -> None:
        if pong.known:
            self._outbound.pong(pong, now)
        else:
            self._disconnect("unknown", now)

    def _failed(self, error: verbs.Error, now: float) -> None:
        about = error.about.encode()
        if self.state != WELCOMED:
            # It is about frames that left before the HELLO, which are sent again after the WELCOME; or about the HELLO.
            if about == verbs.HELLO and error.code != "unknown_peer":
                self._handshake.rejected(now)
                self.outcomes.append(Disconnected(error.code))
        elif error.code == "unknown_peer":
            self._disconnect("unknown", now)
        elif about in self._error_handlers:
            self._error_handlers[about](error, now)
        elif error.code == "unknown_verb":
            self._queries.refused(error, now)

    # Changes of state

    def _disconnect(self, reason: str, now: float) -> None:
        self._registrations.down()
        self._outbound.down(now)
        self._queries.down()
        self.outcomes.append(Disconnected(reason))
        self._handshake.connect(now)

    def _end(self) -> None:
        self._handshake.state = CLOSED
        self._registrations.close()
        self._outbound.close()
        self._queries.close()

    def _check_open(self) -> None:
        if self.state == CLOSED:
            raise Closed(f"the node {self.node!r} was closed")
