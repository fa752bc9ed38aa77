"""The message plane's wire: messages ⇄ frames, between a node's DEALER and the proxy's ROUTER.

A message is a list of frames, the first of them a verb. JSON is only where nothing needs to be fast, a body is opaque.
This table is the protocol; `…` is the verb itself, `?` a frame that may be empty.

    verb          node → proxy                            proxy → node
    ────────────────────────────────────────────────────────────────────────────────────────────────────────────
    HELLO         … version attempt identity
    WELCOME                                               … version attempt terms
    REGISTER      … key name policy session? held?
    REGISTERED                                            … key name session
    UNREGISTER    … key
    FIND          … name session?
    FOUND                                                 … name asked? session shared
    GONE                                                  … name session reason
    SEND          … id to session? from meta body
    DELIVER                                               … id session to from back meta body
    GOT           … id session back
    REFUSED       … id session back code detail?
    ACK                                                   … id delivered
    REPLY         … id back meta body
    REPLIED                                               … id meta body
    ASK           … id origin|* body                      … id back body
    TELL          … id back body                          … id origin body
    LIST          … id query?
    LISTED                                                … id listing
    LAST          … id query?
    KEPT                                                  … id kept
    PING          … token report?
    PONG                                                  … token known
    STATS         … id query?
    RECORD                                                … id record
    STOP          … id
    ERROR                                                 … about subject? code detail?
    BYE           … reason session?                       … reason session?

    id, token, session    1–64 printable ASCII characters       key, delivered, attempt, version  decimal digits
    name, held            grammar of names, UTF-8               policy       reject │ replace │ suffix │ share
    to                    a name, or * for everybody            from         a name of the sender's, or anonymous:claim
    origin                8 bytes                               back         a return address: the proxy makes it, the
    shared, known         0 │ 1                                              holder hands it back, neither reads it
    identity              {node, origin, pid, host, program}    terms        {proxy, heartbeat, timeout, max_bytes}
    meta                  {ts, ttl, request, redelivered}       reply meta   {error: {type, text}}
    code, reason, about   a word: letters, digits, _            detail       {…}: facts about a code
    subject               the id, name or key it is about   record       {pid, url, …}: see `proxy.stats`
    report                {published, dropped, …}: see `fabric.protocol.node_report`
    kept                  {events, more, after, mark}: see `proxy.events.retained`

**Sessions.** A registration is known to its node by a key, to the proxy and to senders by a session. A sender FINDs the
session behind a name *before* its first message leaves, and every SEND names it: so a sender always knows to whom a
message may have gone, however often the proxy dies, and the proxy never has to remember. A SEND to everybody names the
session `*`. A SEND without a session goes to whoever holds the name now, and must not be sent again.

STOP ends the proxy as SIGTERM does. It is answered with BYE, and with an ERROR to whoever is not on the proxy's machine.

What a peer says that has not said HELLO on this connection is refused with `unknown_peer`, except LIST, LAST, PING,
STATS, STOP, GOT, REPLY and a SEND without a session, which is then from `anonymous:…`. So what a DEALER still had queued
for a proxy that is gone cannot overtake, at the new one, what was lost on the way.

Encoders are strict: ValueError or TypeError for what the table forbids. Decoders are total: `WireError` and nothing
else, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fabric.errors import WireError as WireError
from fabric.protocol import fields
from fabric.protocol.bodies import encode_body as encode_body
from fabric.protocol.bodies import encode_value as encode_value
from fabric.protocol.fields import MAX_ID as MAX_ID
from fabric.protocol.fields import MAX_TTL as MAX_TTL
from fabric.protocol.fields import ORIGIN_BYTES as ORIGIN_BYTES
from fabric.protocol.fields import POLICIES as POLICIES
from fabric.protocol.fields import Identity as Identity
from fabric.protocol.fields import Kind
from fabric.protocol.fields import Meta as Meta
from fabric.protocol.fields import ReplyMeta as ReplyMeta
from fabric.protocol.fields import Terms as Terms
from fabric.protocol.fields import check_id as check_id
from fabric.protocol.fields import check_word as check_word
from fabric.protocol.fields import encode_error as encode_error
from fabric.protocol.fields import encode_text as encode_text
from fabric.protocol.fields import encode_to as encode_to
from fabric.protocol.fields import is_id as is_id
from fabric.protocol.names import ANONYMOUS as ANONYMOUS
from fabric.protocol.names import EVERYBODY as EVERYBODY
from fabric.protocol.names import check_claim as check_claim
from fabric.protocol.names import check_name as check_name

VERSION = 1

HELLO = b"HELLO"
WELCOME = b"WELCOME"
REGISTER = b"REGISTER"
REGISTERED = b"REGISTERED"
UNREGISTER = b"UNREGISTER"
FIND = b"FIND"
FOUND = b"FOUND"
GONE = b"GONE"
SEND = b"SEND"
DELIVER = b"DELIVER"
GOT = b"GOT"
REFUSED = b"REFUSED"
ACK = b"ACK"
REPLY = b"REPLY"
REPLIED = b"REPLIED"
ASK = b"ASK"
TELL = b"TELL"
LIST = b"LIST"
LISTED = b"LISTED"
LAST = b"LAST"
KEPT = b"KEPT"
PING = b"PING"
PONG = b"PONG"
STATS = b"STATS"
RECORD = b"RECORD"
STOP = b"STOP"
ERROR = b"ERROR"
BYE = b"BYE"


class Hello(NamedTuple):
    """Who a node is. WELCOME repeats `attempt`."""

    version: int
    attempt: int
    identity: Identity


class Welcome(NamedTuple):
    """The proxy knows the node, on these terms."""

    version: int
    attempt: int
    terms: Terms


class Register(NamedTuple):
    """A node wants a name; `session` and `held` are what it had before a reconnect."""

    key: int
    name: str
    policy: str
    session: str = ""
    held: str = ""


class Registered(NamedTuple):
    """The name is the node's, under this session."""

    key: int
    name: str
    session: str


class Unregister(NamedTuple):
    """A node gives the name behind `key` back."""

    key: int


class Find(NamedTuple):
    """Who holds a name, or whether that session still does."""

    name: str
    session: str = ""


class Found(NamedTuple):
    """The session to send to; `asked` is the one that was asked about."""

    name: str
    asked: str
    session: str
    shared: bool


class Gone(NamedTuple):
    """A session has ended for good."""

    name: str
    session: str
    reason: str


class Send(NamedTuple):
    """A message, from its sender."""

    id: str
    to: str
    session: str
    sender: str
    meta: Meta
    body: bytes


class Deliver(NamedTuple):
    """A message, on its way to its holder."""

    id: str
    session: str
    to: str
    sender: str
    back: bytes
    meta: Meta
    body: bytes


class Got(NamedTuple):
    """It is in the holder's inbox."""

    id: str
    session: str
    back: bytes


class RefusedByHolder(NamedTuple):
    """The holder does not take it."""

    id: str
    session: str
    back: bytes
    code: str
    detail: dict[str, Any]


class Ack(NamedTuple):
    """So many holders have it; for a question to everybody, so many were asked."""

    id: str
    delivered: int


class Reply(NamedTuple):
    """What the handler of a request returned, or raised."""

    id: str
    back: bytes
    meta: ReplyMeta
    body: bytes


class Replied(NamedTuple):
    """The same, as it reaches the asker."""

    id: str
    meta: ReplyMeta
    body: bytes


class Ask(NamedTuple):
    """A question to the node of that origin, or to all others (`*`)."""

    id: str
    origin: bytes
    body: bytes


class Asking(NamedTuple):
    """An ASK as it arrives."""

    id: str
    back: bytes
    body: bytes


class Tell(NamedTuple):
    """An answer to whoever asked."""

    id: str
    back: bytes
    body: bytes


class Telling(NamedTuple):
    """A TELL as it arrives; `origin` is who tells."""

    id: str
    origin: bytes
    body: bytes


class List(NamedTuple):
    """Who is there?"""

    id: str
    query: dict[str, Any]


class Listed(NamedTuple):
    """Those who are."""

    id: str
    listing: dict[str, Any]


class Last(NamedTuple):
    """What came last on each topic that `pattern` matches? See `proxy.events.retained`."""

    id: str
    query: dict[str, Any]


class Kept(NamedTuple):
    """A page of it."""

    id: str
    kept: dict[str, Any]


class Ping(NamedTuple):
    """Still there? A node's heartbeat carries what it reports of itself (`fabric.protocol.node_report`), or nothing."""

    token: str
    report: bytes = b""


class Pong(NamedTuple):
    """Yes; `known` is False if the node must say HELLO again."""

    token: str
    known: bool


class Stats(NamedTuple):
    """A question to the proxy itself. `topics`, `nodes` in the query: how many of each to tell of; none if left out."""

    id: str
    query: dict[str, Any]


class Record(NamedTuple):
    """What a proxy knows of itself and of its fabric."""

    id: str
    record: dict[str, Any]


class Stop(NamedTuple):
    """Asks the proxy to end."""

    id: str


class Error(NamedTuple):
    """`about` is the verb that failed: SEND if the proxy refused a message, DELIVER if its holder did."""

    about: str
    subject: str
    code: str
    detail: dict[str, Any]


class Bye(NamedTuple):
    """Without a session it is about the whole node. REPLACED, CLOSE, … are the reasons."""

    reason: str
    session: str = ""


_Row = tuple[type, tuple[Kind, ...]]

TO_PROXY: dict[bytes, _Row] = {
    HELLO: (Hello, (fields.number, fields.number, fields.identity)),
    REGISTER: (Register, (fields.number, fields.name, fields.policy, fields.optional_id, fields.optional_name)),
    UNREGISTER: (Unregister, (fields.number,)),
    FIND: (Find, (fields.name, fields.optional_id)),
    SEND: (Send, (fields.id_, fields.to, fields.optional_id, fields.sender, fields.meta, fields.body)),
    GOT: (Got, (fields.id_, fields.id_, fields.back)),
    REFUSED: (RefusedByHolder, (fields.id_, fields.id_, fields.back, fields.code, fields.detail)),
    REPLY: (Reply, (fields.id_, fields.back, fields.reply_meta, fields.body)),
    ASK: (Ask, (fields.id_, fields.origin_or_all, fields.body)),
    TELL: (Tell, (fields.id_, fields.back, fields.body)),
    LIST: (List, (fields.id_, fields.query)),
    LAST: (Last, (fields.id_, fields.query)),
    PING: (Ping, (fields.id_, fields.report)),
    STATS: (Stats, (fields.id_, fields.query)),
    STOP: (Stop, (fields.id_,)),
    BYE: (Bye, (fields.code, fields.optional_id)),
}
TO_NODE: dict[bytes, _Row] = {
    WELCOME: (Welcome, (fields.number, fields.number, fields.terms)),
    REGISTERED: (Registered, (fields.number, fields.name, fields.id_)),
    FOUND: (Found, (fields.name, fields.optional_id, fields.id_, fields.flag)),
    GONE: (Gone, (fields.name, fields.id_, fields.code)),
    DELIVER: (Deliver, (fields.id_, fields.id_, fields.to, fields.sender, fields.back, fields.meta, fields.body)),
    ACK: (Ack, (fields.id_, fields.number)),
    REPLIED: (Replied, (fields.id_, fields.reply_meta, fields.body)),
    ASK: (Asking, (fields.id_, fields.back, fields.body)),
    TELL: (Telling, (fields.id_, fields.origin, fields.body)),
    LISTED: (Listed, (fields.id_, fields.listing)),
    KEPT: (Kept, (fields.id_, fields.listing)),
    PONG: (Pong, (fields.id_, fields.flag)),
    RECORD: (Record, (fields.id_, fields.listing)),
    ERROR: (Error, (fields.code, fields.subject, fields.code, fields.detail)),
    BYE: (Bye, (fields.code, fields.optional_id)),
}
_WRITERS = {kind: (verb, parts) for table in (TO_PROXY, TO_NODE) for verb, (kind, parts) in table.items()}


def encode(message: tuple[Any, ...]) -> list[bytes]:
    """The frames of one of the messages above. ValueError or TypeError for what the table forbids."""
    verb, parts = _WRITERS[type(message)]
    return [verb, *(part.write(value) for part, value in zip(parts, message, strict=True))]


def decode_for_proxy(frames: Sequence[bytes]) -> Any:
    """What a node sent. WireError whatever the bytes."""
    return _decode(TO_PROXY, frames)


def decode_for_node(frames: Sequence[bytes]) -> Any:
    """What the proxy sent. WireError whatever the bytes."""
    return _decode(TO_NODE, frames)


def _decode(table: dict[bytes, _Row], frames: Sequence[bytes]) -> Any:
    if not frames or (row := table.get(bytes(frames[0]))) is None:
        raise WireError(f"unknown verb {bytes(frames[0])[:20]!r}" if frames else "a message without frames")
    kind, parts = row
    if len(frames) != len(parts) + 1:
        raise WireError(f"{frames[0]!r} has {len(parts)} frames after the verb, not {len(frames) - 1}")
    try:
        return kind(*(part.read(data) for part, data in zip(parts, frames[1:], strict=True)))
    except (ValueError, TypeError) as error:
        raise WireError(f"{frames[0]!r}: {error}") from None
