"""The frames of the message plane that are JSON objects, and the values in them.

    identity      {node, origin, pid, host, program}     HELLO
    terms         {proxy, heartbeat, timeout, max_bytes} WELCOME
    meta          {ts, ttl, request, redelivered}        SEND, DELIVER
    reply meta    {error: {type, text}}                  REPLY, REPLIED
    facts         any object of limited size             details of an ERROR, queries
    listing       any object                             LISTED, KEPT, RECORD

Unknown keys are a newer version's, and skipped. The rest is as in `fabric.protocol.fields`.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import orjson

from fabric.protocol.bodies import MAX_DEPTH
from fabric.protocol.fields import MAX_ID, MAX_JSON, MAX_TTL, ORIGIN_BYTES, Codec
from fabric.protocol.names import MAX_NAME, check_name

#: Characters of a sentence that comes from a program. Escaped in JSON, they are six times as many.
MAX_TEXT = 500


class Identity(NamedTuple):
    """A node: its name, the origin of this life of its process, and where it runs."""

    node: str
    origin: bytes
    pid: int = 0
    host: str = ""
    program: str = ""


class Terms(NamedTuple):
    """The terms of a proxy for its nodes. `proxy` is its boot id; times are in seconds."""

    proxy: str
    heartbeat: float
    timeout: float
    max_bytes: int


class Meta(NamedTuple):
    """The facts beside a body. `ts`: unix seconds (None: the proxy stamps it); `ttl`: seconds that the sender waits."""

    ts: float | None = None
    ttl: float | None = None
    request: bool = False
    redelivered: bool = False


class ReplyMeta(NamedTuple):
    """The facts beside an answer. `error`: (type, text) of the handler's exception; the body is then to be ignored."""

    error: tuple[str, str] | None = None


def encode_error(type: str, text: str) -> bytes:
    """The meta frame of a reply: the handler raised an exception of `type` with `text`. Both are cut to their limits."""
    return _write_reply_meta(ReplyMeta((_clean(type, 100), _clean(text, MAX_TEXT))))


def encode_text(text: str) -> bytes:
    """The detail frame of an ERROR: one sentence, cut to `MAX_TEXT` characters; an empty frame without one."""
    return orjson.dumps({"text": _clean(text, MAX_TEXT)}) if text else b""


def _clean(text: str, limit: int) -> str:
    # The text comes from an application's exception: any length, and it may contain lone surrogates.
    return text[:limit].encode(errors="replace").decode()


def _object(frame: bytes, limit: int | None = MAX_JSON) -> dict[str, Any]:
    if limit is not None and len(frame) > limit:
        raise ValueError(f"{len(frame)} bytes of JSON where {limit} are allowed")
    value = orjson.loads(frame) if frame else {}
    if not isinstance(value, dict):
        raise ValueError("JSON that is no object")  # noqa: TRY004 - a decoder has one kind of fault
    if limit is not None and frame.count(b"[") + frame.count(b"{") > MAX_DEPTH:
        # orjson reads four times deeper than it writes, and JSON that is read here is written again.
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
    digits = _str(facts, "origin")
    origin = bytes.fromhex(digits)  # skips white space, so both lengths count
    if len(origin) != ORIGIN_BYTES or len(digits) != 2 * ORIGIN_BYTES:
        raise ValueError(f"an origin is {2 * ORIGIN_BYTES} hexadecimal digits")
    node = check_name(_str(facts, "node"), "node")
    pid = int(_number(facts, "pid", 2**32))
    return Identity(node, origin, pid, _str(facts, "host"), _str(facts, "program", 1_024))


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
    # Only the facts that are set: most messages have no more than a timestamp and a time to live.
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


Facts = Annotated[dict[str, Any], Codec(_object, _write_object)]
Listing = Annotated[dict[str, Any], Codec(_read_listing, orjson.dumps)]
IdentityJson = Annotated[Identity, Codec(_read_identity, _write_identity)]
TermsJson = Annotated[Terms, Codec(_read_terms, _write_terms)]
MetaJson = Annotated[Meta, Codec(_read_meta, _write_meta)]
ReplyMetaJson = Annotated[ReplyMeta, Codec(_read_reply_meta, _write_reply_meta)]
