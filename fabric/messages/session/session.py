"""Our half of the message plane, sans I/O: frames, calls and `now` in, frames and outcomes out.

    register  send  ask  reply …  ──▸ ┌─────────┐ ──▸ outgoing    frames for the DEALER, to be sent in order
    receive(frames, now)          ──▸ │ Session │ ──▸ outcomes    what the shell does next
    (`fabric.messages.session.outcomes`)
    tick(now)                     ──▸ └─────────┘
    link_lost, link_back

The protocol is `fabric.protocol.verbs`. `membership` says whether the proxy knows us, `holding` has our names,
`sending` what we sent, `receiving` what we got, `asking` what we want to know; here is what a shell calls, and what
each verb does.

    WELCOME   our names, then what is pinned to a session, then what waits, leave in that order
    BYE       of one session: that name is lost. Of all, `replaced`: the end. Any other reason: HELLO again
    ERROR     goes to whoever said what it is about; `unknown_peer`: HELLO again

All times are monotonic; `now` never goes backwards. The shell hands in what has arrived before it calls `tick`.

Calls come from one thread at a time: there are no locks here. `outgoing` and `outcomes` are deques, which another
thread may take from at the left meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fabric.errors import Closed, MessageTooLarge, SenderNotOwned, WireError
from fabric.messages.session.handshake import CLOSED, CONNECTING, NEW, WELCOMED, Handshake
from fabric.messages.session.inbound import Inbound
from fabric.messages.session.outbound import Outbound
from fabric.messages.session.outcomes import Arrived, Disconnected, QueryArrived, Welcomed
from fabric.messages.session.queries import Queries
from fabric.messages.session.registrations import Registrations
from fabric.messages.session.send_queue import OutboundMessage
from fabric.protocol import verbs
from fabric.protocol.fields import MAX_TTL, check_id, check_word, encode_to
from fabric.protocol.json_fields import Identity, Terms, encode_error
from fabric.protocol.names import ANONYMOUS, EVERYBODY, check_name


class Session:
    """One node's membership in the message plane. `report()` makes what its heartbeats carry
    (`fabric.protocol.node_report`).
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
    ) -> None:
        self.outgoing: deque[list[bytes]] = deque()
        self.outcomes: deque[Any] = deque()
        self.node = check_name(node, "node")
        self.origin = origin
        self._handshake = Handshake(Identity(node, origin, pid, host, program), self.outgoing, report)
        self._anonymous = f"{ANONYMOUS}{node}".encode()
        self._registrations = Registrations(self.outgoing, self.outcomes)
        self._outbound = Outbound(self.outgoing, self.outcomes)
        self._inbound = Inbound(self.outgoing, self.outcomes)
        self._queries = Queries(self.outgoing, self.outcomes)
        self._counts = dict.fromkeys(("sent", "received", "malformed", "strays"), 0)
        self._handlers: dict[bytes, Callable[[list[bytes], float], None]] = {
            verbs.DELIVER: self._deliver,
            verbs.ACK: self._ack,
            verbs.REPLIED: self._replied,
            verbs.FOUND: self._found,
            verbs.GONE: self._gone,
            verbs.ERROR: self._error,
            verbs.WELCOME: self._welcome,
            verbs.REGISTERED: self._registered,
            verbs.ASK: self._asked,
            verbs.TELL: self._telling,
            verbs.LISTED: self._listed,
            verbs.KEPT: self._kept,
            verbs.PONG: self._pong,
            verbs.BYE: self._bye,
        }

    # The link

    @property
    def state(self) -> str:
        """`new`, `connecting`, `welcomed` or `closed`."""
        return self._handshake.state

    @property
    def terms(self) -> Terms:
        """What the proxy has told of itself; defaults before the first WELCOME."""
        return self._handshake.terms

    def start(self, now: float) -> None:
        """There is a socket: say HELLO."""
        if self.state == NEW:
            self._handshake.connect(now)

    def link_lost(self, now: float) -> None:
        """The shell has seen the link go down. Without it the silence of the proxy says so, later."""
        if self.state == WELCOMED:
            self._disconnect("link", now)

    def link_back(self, now: float, proxy: str = "") -> None:
        """The shell has seen the link come up, to the proxy of that boot id if it knows it."""
        if self.state == CONNECTING:
            self._handshake.connect(now)
        elif self.state == WELCOMED and proxy != self.terms.proxy:
            self._disconnect("link", now)

    def close(self, now: float, reason: str = "close") -> None:
        """Say BYE. What is not acknowledged fails with Closed; names are free at once."""
        if self.state == CLOSED:
            return
        if self.state == WELCOMED:
            self._handshake.ping()  # the last report: what a short life lost is known, too
            self.outgoing.append(verbs.encode(verbs.Bye(reason)))
        self._end()

    def receive(self, frames: list[bytes], now: float) -> None:
        """One message from the proxy. Whatever the bytes, it never raises."""
        handler = self._handlers.get(frames[0]) if frames else None
        if handler is None or self.state == CLOSED:
            self._counts["strays"] += 1
            return
        self._handshake.heard(now)
        try:
            handler(frames, now)
        except WireError:
            self._counts["malformed"] += 1

    def tick(self, now: float) -> None:
        """Whatever is due by the clock. To be called at `next_deadline`, after `receive` of what has arrived."""
        if self.state == CLOSED:
            return
        self._inbound.tick(now, self._handshake.is_late(now), self.terms.timeout)
        self._outbound.tick(now)
        self._registrations.tick(now)
        self._queries.tick(now)
        if not self._handshake.tick(now):
            self._disconnect("silence", now)

    def next_deadline(self) -> float:
        """When `tick` wants to be called next, at the latest."""
        due = (
            self._handshake.next_deadline(),
            self._outbound.next_deadline(),
            self._registrations.next_deadline(),
            self._queries.next_deadline(),
        )
        return min(at for at in due if at is not None)

    # Names

    def register(self, name: str, policy: str, deadline: float, now: float) -> int:
        """Ask for an endpoint's name. The key returned is what Registered, Lost and Arrived tell it by."""
        self._check_open()
        return self._registrations.register(name, policy, deadline, now)

    def unregister(self, key: int) -> None:
        """Give a name back. What arrives for it from now on is refused as `gone`."""
        self._registrations.unregister(key)

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
        """Send `body` (from `encode_body`) to an endpoint, or `*`; with `request` its handler's answer is wanted.

        Without a `sender` it is from `anonymous:` and the node's name. At most MAX_TTL seconds until the deadline.
        Raises SenderNotOwned, MessageTooLarge, Closed, ValueError, and NotConnected or EndpointBusy when too many wait.
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
        """Nobody waits for this message, question or list any more: no outcome follows."""
        return self._queries.cancel(id) or self._outbound.cancel(id.encode(), now)

    def accept(self, arrived: Arrived) -> None:
        """The message is in its inbox."""
        self._inbound.accept(arrived)

    def refuse(self, arrived: Arrived, code: str, text: str = "") -> None:
        """The message is not taken: `busy`, `closing`, or another word, and a sentence."""
        self._inbound.refuse(arrived, check_word(code), text)

    def reply(self, arrived: Arrived, value: bytes) -> bool:
        """Answer a request with JSON (from `encode_value`). False if it was answered, or is too old."""
        return self._inbound.reply(arrived, b"", value)

    def reply_error(self, arrived: Arrived, type: str, text: str) -> bool:
        """Answer a request with what its handler raised."""
        return self._inbound.reply(arrived, encode_error(type, text), b"null")

    # Other nodes

    def ask(self, id: str, origin: bytes, body: bytes, deadline: float, now: float) -> None:
        """Ask the node of that origin, or all others (`b"*"`). Told, Untold and AskedAll follow, until `cancel`.

        It is not asked again after a reconnect: Untold `disconnected` says so.
        """
        self._check_open()
        self._queries.ask(id, origin, body, deadline, now)

    def tell(self, asked: QueryArrived, body: bytes) -> None:
        """Answer a question of another node."""
        self.outgoing.append([verbs.TELL, asked.id.encode(), asked.back, body])

    def endpoints(self, id: str, deadline: float, now: float, *, name: str = "", nodes: bool = True) -> None:
        """Ask who is there; Listed follows. `name` narrows it to the holders of one."""
        self._check_open()
        query: dict[str, Any] = {} if nodes else {"nodes": False}
        if name:
            query["endpoint"] = name
        self._queries.endpoints(id, query, deadline, now)

    def last(self, id: str, query: dict[str, Any], deadline: float, now: float) -> None:
        """Ask for the last events of topics, as `proxy.events.retained` says; Kept follows."""
        self._check_open()
        self._queries.last(id, query, deadline, now)

    @property
    def pending(self) -> int:
        """Messages that are not acknowledged (or answered) yet: what a drain waits for."""
        return len(self._outbound)

    def stats(self) -> dict[str, int]:
        """What was counted, and what is waiting."""
        return {
            "pending": len(self._outbound),
            "endpoints": len(self._registrations),
            "remembered": len(self._inbound),
            "repeats": self._inbound.repeats,
            "connects": self._handshake.connects,
            **self._counts,
        }

    # What the proxy says

    def _deliver(self, frames: list[bytes], now: float) -> None:
        self._counts["received"] += 1
        name = self._registrations.by_session.get(frames[2]) if len(frames) == 8 else None
        if name is None:
            self._inbound.not_ours(frames)
        else:
            self._inbound.delivered(name.key, name.held, frames, now)

    def _ack(self, frames: list[bytes], now: float) -> None:
        ack: verbs.Ack = verbs.decode_for_node(frames)
        if not self._outbound.acknowledged(frames[1], ack.delivered):
            self._queries.asked_all(ack.id, ack.delivered)

    def _replied(self, frames: list[bytes], now: float) -> None:
        self._outbound.replied(verbs.decode_for_node(frames))

    def _found(self, frames: list[bytes], now: float) -> None:
        if self.state == WELCOMED:
            self._outbound.found(verbs.decode_for_node(frames), now)

    def _gone(self, frames: list[bytes], now: float) -> None:
        if self.state == WELCOMED:
            self._outbound.gone(verbs.decode_for_node(frames), now)

    def _registered(self, frames: list[bytes], now: float) -> None:
        if self.state == WELCOMED:
            self._registrations.registered(verbs.decode_for_node(frames))

    def _asked(self, frames: list[bytes], now: float) -> None:
        self.outcomes.append(QueryArrived(*verbs.decode_for_node(frames)))

    def _telling(self, frames: list[bytes], now: float) -> None:
        self._queries.told(verbs.decode_for_node(frames))

    def _listed(self, frames: list[bytes], now: float) -> None:
        self._queries.listed(verbs.decode_for_node(frames))

    def _kept(self, frames: list[bytes], now: float) -> None:
        self._queries.kept(verbs.decode_for_node(frames))

    def _error(self, frames: list[bytes], now: float) -> None:
        error: verbs.Error = verbs.decode_for_node(frames)
        about = error.about.encode()
        if self.state != WELCOMED:
            # About something that left before the HELLO: it is said again after the WELCOME. Or about the HELLO.
            if about == verbs.HELLO and error.code != "unknown_peer":
                self._handshake.turned_away(now)
                self.outcomes.append(Disconnected(error.code))
        elif error.code == "unknown_peer":
            self._disconnect("unknown", now)
        elif about in (verbs.SEND, verbs.DELIVER):
            self._outbound.refused(error, now)
        elif about == verbs.FIND:
            self._outbound.not_found(error, now)
        elif about == verbs.REGISTER:
            self._registrations.refused(error)
        elif about in (verbs.ASK, verbs.LIST, verbs.LAST) or error.code == "unknown_verb":
            self._queries.refused(error)

    def _pong(self, frames: list[bytes], now: float) -> None:
        pong: verbs.Pong = verbs.decode_for_node(frames)
        if self.state != WELCOMED:
            return
        if pong.known:
            self._outbound.pong(frames[1], now)
        else:
            self._disconnect("unknown", now)

    def _bye(self, frames: list[bytes], now: float) -> None:
        bye: verbs.Bye = verbs.decode_for_node(frames)
        if bye.session:
            self._registrations.replaced(bye.session.encode(), bye.reason)
        elif bye.reason == "replaced":
            # Another connection with our origin has taken over. To say HELLO would throw it out, and so on for ever.
            self.outcomes.append(Disconnected("replaced"))
            self._end()
        elif self.state == WELCOMED:
            self._disconnect(bye.reason, now)

    def _welcome(self, frames: list[bytes], now: float) -> None:
        if self._handshake.welcome(verbs.decode_for_node(frames), now):
            self.outcomes.append(Welcomed(*self.terms))
            self._registrations.up()
            self._outbound.up(now)
            self._queries.up()

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
