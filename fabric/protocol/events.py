"""The event plane's wire: events ⇄ frames.

Two ZeroMQ frames a message.

    frame 1   topic ␀ header            the bytes that subscriptions are matched against
              header, 10 bytes:  version u8 = 1 │ hops u8 │ origin 8 bytes
    frame 2   JSON array of events, each  [topic, sequence, envelope]

The NUL ends the topic, so that ZeroMQ's filters, which are byte prefixes, respect segments:

    pattern      subscribes           because
    a.b          a.b␀                 exactly this topic
    a.**         a␀  and  a.          the topic itself, and all topics below it
    a.*  a.*.c   a.                   all topics below it; the exact pattern is applied on arrival
    *    **      (empty)              anything

An event whose envelope is `null` is a **mark**: it carries no payload, and says that `sequence` is the last number that
its origin has sent on that topic. A receiver that has seen a lower number has lost the rest, also if nothing more is ever
published.

Reserved frames start with NUL and are never packed with events: `␀up` (the link is up; the proxy always subscribes it,
and sends it to each new subscriber) and `␀probe…` (a barrier on its way from a node through the proxy and back). The proxy
also subscribes the single byte `\\xff`, which no UTF-8 topic contains: it sorts last and so ends a replay of
subscriptions.

Encoders are strict, decoders total: they raise `WireError` and nothing else, whatever the bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError
from fabric.protocol.topics import DEEP, MAX_BYTES, ONE

VERSION = 1
ORIGIN_BYTES = 8
#: Events that have crossed this many bridges are dropped.
MAX_HOPS = 4
#: NUL + version + hops + origin.
TAIL_BYTES = 3 + ORIGIN_BYTES
#: The longest first frame there can be.
MAX_TOPIC_FRAME = MAX_BYTES + TAIL_BYTES
#: The longest prefix that can match a topic: a topic of the greatest length, and the NUL that ends it.
MAX_PREFIX = MAX_BYTES + 1

SUBSCRIBE = b"\x01"
UNSUBSCRIBE = b"\x00"
RESERVED = b"\x00"
UP = b"\x00up"
END = b"\xff"
PROBE = b"\x00probe"

#: head (from `encode_event_head`), sequence, envelope as JSON: one event of a pack.
EVENT = b"%b%d,%b]"
#: [topic, sequence, envelope]; an envelope of None makes it a mark.
Event = tuple[str, int, dict[str, Any] | None]


class TopicFrame(NamedTuple):
    """The first frame, decoded."""

    topic: str
    hops: int
    origin: bytes


def prefixes(pattern: str) -> tuple[bytes, ...]:
    """The ZeroMQ subscriptions by which all topics that `pattern` (checked) matches arrive, and few others."""
    segments = pattern.split(".")
    literal = 0
    while literal < len(segments) and segments[literal] not in (ONE, DEEP):
        literal += 1
    head = ".".join(segments[:literal]).encode()
    if literal == len(segments):
        return (head + b"\0",)
    if not literal:
        return (b"",)
    if all(segment == DEEP for segment in segments[literal:]):
        return (head + b"\0", head + b".")
    return (head + b".",)


def encode_topic(topic: str, origin: bytes, hops: int = 0) -> bytes:
    """The first frame of a message whose first event has the (checked) `topic`."""
    return b"%b\0%c%c%b" % (topic.encode(), VERSION, hops, origin)


def decode_topic(frame: bytes) -> TopicFrame:
    """Decode a first frame. WireError if it is invalid."""
    if not TAIL_BYTES < len(frame) <= MAX_TOPIC_FRAME or frame[-TAIL_BYTES]:
        raise WireError(f"{len(frame)} bytes that are no topic frame: {frame[:40]!r}")
    if frame[1 - TAIL_BYTES] != VERSION:
        raise WireError(f"wire version {frame[1 - TAIL_BYTES]}, this is version {VERSION}")
    try:
        topic = frame[:-TAIL_BYTES].decode()
    except UnicodeDecodeError:
        raise WireError(f"a topic that is no UTF-8: {frame[:40]!r}") from None
    return TopicFrame(topic, frame[2 - TAIL_BYTES], frame[-ORIGIN_BYTES:])


def encode_event_head(topic: str) -> bytes:
    """The first bytes of an event, which are the same for all events of one topic; see `encode_event`."""
    return b"[%b," % orjson.dumps(topic)


def encode_event(head: bytes, sequence: int, envelope: bytes) -> bytes:
    """One event of a pack: `head` from `encode_event_head`, `envelope` as JSON (`null` for a mark)."""
    return EVENT % (head, sequence, envelope)


def encode_pack(events: list[bytes]) -> bytes:
    """The second frame: events from `encode_event`."""
    return b"[%b]" % b",".join(events)


def decode_events(frame: bytes) -> list[Event]:
    """Decode a second frame. WireError if it is invalid. Topics are str, but their grammar is not checked."""
    try:
        events = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise WireError(f"events that are no JSON: {error}") from None
    if events.__class__ is not list:
        raise WireError("events are a JSON array")
    for event in events:
        if event.__class__ is not list or len(event) != 3:
            raise WireError("an event is [topic, sequence, envelope]")
        topic, sequence, envelope = event
        if topic.__class__ is not str or sequence.__class__ is not int or envelope.__class__ not in _ENVELOPES:
            raise WireError("an event is [topic: string, sequence: integer, envelope: object or null]")
    return events  # checked above; the events are lists, not tuples


_ENVELOPES = (dict, type(None))
