"""One frame of the message plane ⇄ one value. `fabric.protocol.verbs` says which frames make a message.

A `Kind` reads and writes the same set of values: what it would not read it does not write. Both directions raise
ValueError or TypeError (orjson's and UTF-8's faults are ValueErrors), which `verbs` turns into one `WireError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from fabric.protocol.bodies import MAX_DEPTH
from fabric.protocol.names import ANONYMOUS, EVERYBODY, MAX_NAME, check_claim, check_name

ORIGIN_BYTES = 8
#: Message ids, tokens, sessions, return addresses.
MAX_ID = 64
#: JSON that the proxy reads; what it only passes on (bodies, listings) has the size limit of messages.
MAX_JSON = 4_096
#: The longest time a message may wait to be acknowledged or answered: receivers remember its id that long.
MAX_TTL = 3_600.0
#: Names that were looked at.
REMEMBERED = 4_096
#: Characters of a sentence that comes from a program. Escaped, they are six times as many.
MAX_TEXT = 500
POLICIES = ("reject", "replace", "suffix", "share")


class Identity(NamedTuple):
    """Who a node is."""

    node: str
    origin: bytes
    pid: int = 0
    host: str = ""
    program: str = ""


class Terms(NamedTuple):
    """What a proxy expects of its nodes. `proxy` is its boot id; times are in seconds."""

    proxy: str
    heartbeat: float
    timeout: float
    max_bytes: int


class Meta(NamedTuple):
    """What travels beside a body. `ts`: unix seconds, None: the proxy stamps it; `ttl`: seconds the sender waits."""

    ts: float | None = None
    ttl: float | None = None
    request: bool = False
    redelivered: bool = False


class ReplyMeta(NamedTuple):
    """`error` is (type, text) of what the handler raised; the body is then of no use."""

    error: tuple[str, str] | None = None


class Kind(NamedTuple):
    """How one frame is read and written. Both raise ValueError or TypeError for what the table forbids."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def _text(check: Callable[[str], object]) -> Kind:
    """A frame of UTF-8 that passes `check`."""

    def read(frame: bytes) -> str:
        value = frame.decode()
        check(value)
        return value

    def write(value: str) -> bytes:
        check(value)
        return value.encode()

    return Kind(read, write)


def _name(check: Callable[[str], object]) -> Kind:
    """The same, remembered: few names stand in many messages, and to look at each letter is half a message's cost."""
    read, write = _text(check)
    return Kind(lru_cache(REMEMBERED)(read), lru_cache(REMEMBERED)(write))


def _or_empty(kind: Kind) -> Kind:
    return Kind(
        lambda frame: kind.read(frame) if frame else "",
        lambda value: kind.write(value) if value else b"",
    )


def check_id(value: str) -> str:
    """Return `value` if it is an id: of a message, a question, a session."""
    if not 0 < len(value) <= MAX_ID:
        raise ValueError(f"an id has 1 to {MAX_ID} characters, not {len(value)}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"id {value!r} is not printable ASCII without spaces")
    return value


#: The same rule for a frame as it came, for those who do not decode it.
is_id = re.compile(rb"[!-~]{1,%d}" % MAX_ID).fullmatch


def _check_subject(value: str) -> None:
    if len(value) > MAX_NAME:
        raise ValueError(f"a subject has up to {MAX_NAME} characters, not {len(value)}")


def check_word(value: str) -> str:
    """Return `value` if it is a word: a code, a reason, a verb."""
    if not (0 < len(value) <= MAX_ID and value.isascii() and value.replace("_", "a").isalnum()):
        raise ValueError(f"{value[:MAX_ID]!r} is no word of up to {MAX_ID} letters, digits and _")
    return value


def encode_to(name: str) -> bytes:
    """The frame of a message's `to`. ValueError if nobody can be called so."""
    return to.write(name)


def encode_error(type: str, text: str) -> bytes:
    """The meta of a reply for what a handler raised."""
    return reply_meta.write(ReplyMeta((_clean(type, 100), _clean(text, MAX_TEXT))))


def encode_text(text: str) -> bytes:
    """The detail of an ERROR that is a sentence."""
    return orjson.dumps({"text": _clean(text, MAX_TEXT)}) if text else b""


def _clean(text: str, limit: int) -> str:
    """What somebody else's program says of its fault: of any length, and it may have half surrogates in it."""
    return text[:limit].encode(errors="replace").decode()


def _check_to(value: str) -> None:
    if value != EVERYBODY:
        check_name(value)


def _check_sender(value: str) -> None:
    if value.startswith(ANONYMOUS):
        check_claim(value)
    else:
        check_name(value)


def _check_policy(value: str) -> None:
    if value not in POLICIES:
        raise ValueError(f"{value[:MAX_ID]!r} is no policy; there are {', '.join(POLICIES)}")


def _bytes(smallest: int, largest: int | None) -> Kind:
    def check(frame: bytes) -> bytes:
        if len(frame) < smallest or (largest is not None and len(frame) > largest):
            raise ValueError(f"{len(frame)} bytes where {smallest} to {largest} are expected")
        return bytes(frame)

    return Kind(check, check)


def _read_number(frame: bytes) -> int:
    if not (frame.isdigit() and len(frame) <= 15):
        raise ValueError(f"{frame[:20]!r} is no number")
    return int(frame)


def _write_number(value: int) -> bytes:
    if not 0 <= value < 10**15:
        raise ValueError(f"{value!r} is not between 0 and 10^15")
    return b"%d" % value


def _read_flag(frame: bytes) -> bool:
    if frame not in (b"0", b"1"):
        raise ValueError(f"{frame[:20]!r} is neither 0 nor 1")
    return frame == b"1"


def _read_origin(frame: bytes) -> bytes:
    if len(frame) != ORIGIN_BYTES and frame != b"*":
        raise ValueError(f"an origin has {ORIGIN_BYTES} bytes, not {len(frame)}")
    return bytes(frame)


def _object(frame: bytes, limit: int | None = MAX_JSON) -> dict[str, Any]:
    if limit is not None and len(frame) > limit:
        raise ValueError(f"{len(frame)} bytes of JSON where {limit} are allowed")
    value = orjson.loads(frame) if frame else {}
    if not isinstance(value, dict):
        raise ValueError("JSON that is no object")  # noqa: TRY004 - a decoder has one kind of fault
    if limit is not None and frame.count(b"[") + frame.count(b"{") > MAX_DEPTH:
        # orjson reads four times deeper than it writes, and what is read here is written again.
        raise ValueError(f"JSON with more than {MAX_DEPTH} brackets")
    return value


def _write_object(value: dict[str, Any]) -> bytes:
    data = orjson.dumps(value) if value else b""
    _object(data)
    return data


def _str(facts: dict[str, Any], key: str, limit: int = MAX_NAME) -> str:
    value = facts.get(key, "")
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"{key} is no str of up to {limit} characters")
    return value


def _number(facts: dict[str, Any], key: str, largest: float) -> float:
    value = facts.get(key, 0)
    if type(value) not in (int, float) or not 0 <= value <= largest:
        raise ValueError(f"{key} is no number from 0 to {largest:g}")
    return float(value)


def _read_identity(frame: bytes) -> Identity:
    facts = _object(frame)
    origin = _str(facts, "origin")
    if len(origin) != 2 * ORIGIN_BYTES:
        raise ValueError(f"an origin is {2 * ORIGIN_BYTES} hexadecimal digits")
    node = check_name(_str(facts, "node"), "node")
    pid = int(_number(facts, "pid", 2**32))
    return Identity(node, bytes.fromhex(origin), pid, _str(facts, "host"), _str(facts, "program", 1_024))


def _write_identity(value: Identity) -> bytes:
    data = orjson.dumps({**value._asdict(), "origin": value.origin.hex()})
    _read_identity(data)
    return data


def _read_terms(frame: bytes) -> Terms:
    facts = _object(frame)
    heartbeat, timeout = _number(facts, "heartbeat", MAX_TTL), _number(facts, "timeout", MAX_TTL)
    if not 0 < heartbeat < timeout:
        raise ValueError("the heartbeat must be shorter than the timeout, and neither may be 0")
    return Terms(_str(facts, "proxy", MAX_ID), heartbeat, timeout, int(_number(facts, "max_bytes", 2**40)))


def _write_terms(value: Terms) -> bytes:
    data = orjson.dumps(value._asdict())
    _read_terms(data)
    return data


def _read_meta(frame: bytes) -> Meta:
    facts = _object(frame)
    ts = facts.get("ts")
    if ts is not None:
        ts = _number(facts, "ts", 1e12)
    ttl = _number(facts, "ttl", MAX_TTL) if facts.get("ttl") is not None else None
    return Meta(ts, ttl, facts.get("request") is True, facts.get("redelivered") is True)


def _write_meta(value: Meta) -> bytes:
    # Only what is set: most messages have no more to say than when they were sent and how long they matter.
    facts = {key: fact for key, fact in value._asdict().items() if fact is not None and fact is not False}
    data = orjson.dumps(facts) if facts else b""
    _read_meta(data)
    return data


def _read_reply_meta(frame: bytes) -> ReplyMeta:
    facts = _object(frame)
    if (error := facts.get("error")) is None:
        return ReplyMeta()
    if not isinstance(error, dict):
        raise ValueError("error is no object")  # noqa: TRY004 - a decoder has one kind of fault
    return ReplyMeta((_str(error, "type"), _str(error, "text", MAX_JSON)))


def _write_reply_meta(value: ReplyMeta) -> bytes:
    if value.error is None:
        return b""
    data = orjson.dumps({"error": {"type": value.error[0], "text": value.error[1]}})
    _read_reply_meta(data)
    return data


def _read_listing(frame: bytes) -> dict[str, Any]:
    return _object(frame, None)


number = Kind(_read_number, _write_number)
flag = Kind(_read_flag, lambda value: b"1" if value else b"0")
id_ = _text(check_id)
optional_id = _or_empty(id_)
name = _name(check_name)
subject = _text(_check_subject)
optional_name = _or_empty(name)
to = _name(_check_to)
sender = _name(_check_sender)
policy = _text(_check_policy)
code = _text(check_word)
detail = query = Kind(_object, _write_object)
listing = Kind(_read_listing, orjson.dumps)
back = _bytes(1, MAX_ID)
body = _bytes(0, None)
report = _bytes(0, MAX_JSON)
origin = _bytes(ORIGIN_BYTES, ORIGIN_BYTES)
origin_or_all = Kind(_read_origin, _read_origin)
identity = Kind(_read_identity, _write_identity)
terms = Kind(_read_terms, _write_terms)
meta = Kind(_read_meta, _write_meta)
reply_meta = Kind(_read_reply_meta, _write_reply_meta)
