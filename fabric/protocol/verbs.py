"""The message plane's wire: messages ⇄ frames, between a node's DEALER and the proxy's ROUTER.

A message is a list of frames; the first is a verb. JSON is used only where nothing needs to be fast; a body is opaque.
This table is the protocol; `…` is the verb itself, `?` a frame that may be empty. Below, each verb is one class: its
fields are the frames after the verb, in order, each of a type from `fields` or `json_fields`.

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

**Sessions.** A node identifies a registration by a key; the proxy and senders identify it by a session. A sender FINDs
the session of a name *before* its first message leaves, and every SEND names that session: so a sender always knows who
may have received a message, however often the proxy dies, and the proxy never has to remember. A SEND to everybody names
the session `*`. A SEND without a session goes to the present holder of the name, and must not be sent again.

STOP ends the proxy as SIGTERM does. The answer is BYE, or ERROR to a peer that is not on the proxy's machine.

A peer that has not sent HELLO on this connection is refused with `unknown_peer`, except for LIST, LAST, PING, STATS, STOP,
GOT, REPLY and a SEND without a session, which is then from `anonymous:…`. So frames that a DEALER still had queued for a
dead proxy cannot overtake, at its successor, the frames that were lost on the way.

Encoders are strict: ValueError or TypeError for what the table forbids. Decoders are total: `WireError` and nothing
else, whatever the bytes.
"""

# Without `from __future__ import annotations`: the declarations read annotations as objects.
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from fabric.errors import WireError
from fabric.protocol.fields import (
    Back,
    Body,
    Flag,
    Id,
    Name,
    Number,
    OpaqueReport,
    OptionalId,
    OptionalName,
    Origin,
    OriginOrAll,
    Policy,
    Sender,
    Subject,
    To,
    Word,
)
from fabric.protocol.json_fields import Facts, IdentityJson, Listing, MetaJson, ReplyMetaJson, TermsJson

VERSION = 1

_Row = tuple[type, tuple[Callable[[bytes], Any], ...]]
_Message = TypeVar("_Message", bound=type)

#: Verb → its class, and the decoders of its frames. Filled by the declarations below.
TO_PROXY: dict[bytes, _Row] = {}
TO_NODE: dict[bytes, _Row] = {}
_ENCODERS: dict[type, tuple[bytes, tuple[Callable[[Any], bytes], ...]]] = {}


def _verb(verb: bytes, *tables: dict[bytes, _Row]) -> Callable[[_Message], _Message]:
    """Declare that the fields of a class are the frames after `verb`, in the direction(s) of `tables`."""

    def declare(message: _Message) -> _Message:
        codecs = [field.__metadata__[0] for field in message.__annotations__.values()]
        for table in tables:
            table[verb] = message, tuple(codec.read for codec in codecs)
        _ENCODERS[message] = verb, tuple(codec.write for codec in codecs)
        return message

    return declare


def encode(message: tuple[Any, ...]) -> list[bytes]:
    """The frames of one of the messages below. ValueError or TypeError for what the table forbids."""
    verb, writers = _ENCODERS[type(message)]
    return [verb, *[write(value) for write, value in zip(writers, message, strict=True)]]


def decode_for_proxy(frames: Sequence[bytes]) -> Any:
    """The message that a node sent. WireError whatever the bytes."""
    return _decode(TO_PROXY, frames)


def decode_for_node(frames: Sequence[bytes]) -> Any:
    """The message that the proxy sent. WireError whatever the bytes."""
    return _decode(TO_NODE, frames)


def _decode(table: dict[bytes, _Row], frames: Sequence[bytes]) -> Any:
    if not frames or (row := table.get(bytes(frames[0]))) is None:
        raise WireError(f"unknown verb {bytes(frames[0])[:20]!r}" if frames else "a message without frames")
    message, readers = row
    if len(frames) != len(readers) + 1:
        raise WireError(f"{frames[0]!r} has {len(readers)} frames after the verb, not {len(frames) - 1}")
    try:
        return message(*[read(frame) for read, frame in zip(readers, frames[1:], strict=True)])
    except (ValueError, TypeError) as error:
        raise WireError(f"{frames[0]!r}: {error}") from None


# Joining and leaving


@_verb(HELLO := b"HELLO", TO_PROXY)
class Hello(NamedTuple):
    """A node introduces itself. WELCOME repeats `attempt`."""

    version: Number
    attempt: Number
    identity: IdentityJson


@_verb(WELCOME := b"WELCOME", TO_NODE)
class Welcome(NamedTuple):
    """The proxy knows the node, on these terms."""

    version: Number
    attempt: Number
    terms: TermsJson


@_verb(PING := b"PING", TO_PROXY)
class Ping(NamedTuple):
    """A node's heartbeat. `report`: its counts (`fabric.protocol.node_report`), or empty."""

    token: Id
    report: OpaqueReport = b""


@_verb(PONG := b"PONG", TO_NODE)
class Pong(NamedTuple):
    """The answer to PING. `known` is False if the node must send HELLO again."""

    token: Id
    known: Flag


@_verb(BYE := b"BYE", TO_PROXY, TO_NODE)
class Bye(NamedTuple):
    """The end of a session, or of the whole node without one. `reason`: `close`, `replaced`, `timeout`, …"""

    reason: Word
    session: OptionalId = ""


@_verb(ERROR := b"ERROR", TO_NODE)
class Error(NamedTuple):
    """`about` is the verb that failed: SEND if the proxy refused a message, DELIVER if its holder did."""

    about: Word
    subject: Subject
    code: Word
    detail: Facts


# Names


@_verb(REGISTER := b"REGISTER", TO_PROXY)
class Register(NamedTuple):
    """A node asks for a name. `session` and `held` are the session and the name that it had before a reconnect."""

    key: Number
    name: Name
    policy: Policy
    session: OptionalId = ""
    held: OptionalName = ""


@_verb(REGISTERED := b"REGISTERED", TO_NODE)
class Registered(NamedTuple):
    """The name is the node's, under this session."""

    key: Number
    name: Name
    session: Id


@_verb(UNREGISTER := b"UNREGISTER", TO_PROXY)
class Unregister(NamedTuple):
    """A node releases the name of registration `key`."""

    key: Number


@_verb(FIND := b"FIND", TO_PROXY)
class Find(NamedTuple):
    """Ask for the session of a name; with a session, whether that one still holds it."""

    name: Name
    session: OptionalId = ""


@_verb(FOUND := b"FOUND", TO_NODE)
class Found(NamedTuple):
    """The session to send to. `asked` is the session in the FIND."""

    name: Name
    asked: OptionalId
    session: Id
    shared: Flag


@_verb(GONE := b"GONE", TO_NODE)
class Gone(NamedTuple):
    """A session has ended for good."""

    name: Name
    session: Id
    reason: Word


# Messages


@_verb(SEND := b"SEND", TO_PROXY)
class Send(NamedTuple):
    """A message, as its sender writes it."""

    id: Id
    to: To
    session: OptionalId
    sender: Sender
    meta: MetaJson
    body: Body


@_verb(DELIVER := b"DELIVER", TO_NODE)
class Deliver(NamedTuple):
    """A message, as its holder gets it."""

    id: Id
    session: Id
    to: To
    sender: Sender
    back: Back
    meta: MetaJson
    body: Body


@_verb(GOT := b"GOT", TO_PROXY)
class Got(NamedTuple):
    """The message is in the holder's inbox."""

    id: Id
    session: Id
    back: Back


@_verb(REFUSED := b"REFUSED", TO_PROXY)
class RefusedByHolder(NamedTuple):
    """The holder does not accept the message."""

    id: Id
    session: Id
    back: Back
    code: Word
    detail: Facts


@_verb(ACK := b"ACK", TO_NODE)
class Ack(NamedTuple):
    """Number of holders that accepted the message; for a query to all nodes, number of nodes asked."""

    id: Id
    delivered: Number


@_verb(REPLY := b"REPLY", TO_PROXY)
class Reply(NamedTuple):
    """The handler's return value for a request, or its exception."""

    id: Id
    back: Back
    meta: ReplyMetaJson
    body: Body


@_verb(REPLIED := b"REPLIED", TO_NODE)
class Replied(NamedTuple):
    """A REPLY, as the requester gets it."""

    id: Id
    meta: ReplyMetaJson
    body: Body


# Queries between nodes


@_verb(ASK := b"ASK", TO_PROXY)
class Ask(NamedTuple):
    """A query to the node of that origin, or to all other nodes (`*`)."""

    id: Id
    origin: OriginOrAll
    body: Body


@_verb(ASK, TO_NODE)
class Asking(NamedTuple):
    """An ASK, as the queried node gets it."""

    id: Id
    back: Back
    body: Body


@_verb(TELL := b"TELL", TO_PROXY)
class Tell(NamedTuple):
    """The answer to an ASK."""

    id: Id
    back: Back
    body: Body


@_verb(TELL, TO_NODE)
class Telling(NamedTuple):
    """A TELL, as the asking node gets it. `origin` is the answering node's."""

    id: Id
    origin: Origin
    body: Body


# Queries to the proxy


@_verb(LIST := b"LIST", TO_PROXY)
class List(NamedTuple):
    """Ask for the endpoints and nodes that are present."""

    id: Id
    query: Facts


@_verb(LISTED := b"LISTED", TO_NODE)
class Listed(NamedTuple):
    """The answer to LIST."""

    id: Id
    listing: Listing


@_verb(LAST := b"LAST", TO_PROXY)
class Last(NamedTuple):
    """Ask for the retained events of the topics that `pattern` matches. See `proxy.events.retained`."""

    id: Id
    query: Facts


@_verb(KEPT := b"KEPT", TO_NODE)
class Kept(NamedTuple):
    """The answer to LAST: one page of events."""

    id: Id
    kept: Listing


@_verb(STATS := b"STATS", TO_PROXY)
class Stats(NamedTuple):
    """Ask for the proxy's record. `topics`, `nodes` in the query: how many of each to include; none if left out."""

    id: Id
    query: Facts


@_verb(RECORD := b"RECORD", TO_NODE)
class Record(NamedTuple):
    """The answer to STATS: the state of the proxy and of its fabric."""

    id: Id
    record: Listing


@_verb(STOP := b"STOP", TO_PROXY)
class Stop(NamedTuple):
    """Ask the proxy to end."""

    id: Id
