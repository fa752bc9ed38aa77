"""What a message may carry, and what may carry a name: found wrong at the sender, by type.

    body       a JSON object, checked here once and opaque bytes from then on, to the proxy above all
    value      any JSON value: what a handler answers a request with
    name       of an endpoint or a node: 1–255 bytes of UTF-8, no white space, control or format characters

orjson refuses sets, bytes, keys that are no str, integers over 64 bit and lone surrogates by itself. It does not refuse
NaN and infinity but writes `null` for them, and it reads four times deeper than it can write; a message that its holder
can read but not pass on is poison, so both are looked for here. Most bodies pay a substring search for it: only where
`null` occurs can a NaN have been, only where there are hundreds of brackets can they be nested hundreds deep.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from fabric.errors import BadMessage, MessageTooLarge

#: Levels a body may nest. orjson writes 254; the message around it, and what a program puts around that, need some.
MAX_DEPTH = 250
MAX_NAME = 255
#: `to` of a message to everybody; no endpoint can be called so.
EVERYBODY = "*"
#: What a sender without a registered name is called starts with this; no endpoint's name may.
ANONYMOUS = "anonymous:"


def check_name(name: str, what: str = "endpoint") -> str:
    """Return `name` if an endpoint (or a node) may be called so. ValueError says what is wrong with it, and why."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an {what} is a str such as 'lead-agent', not {type(name).__name__}")
    if not name:
        raise ValueError(f"the name of an {what} must not be empty: give it one, such as 'lead-agent'")
    if name == EVERYBODY:
        raise ValueError(f"no {what} can be called {EVERYBODY!r}: that addresses everybody, choose a name of its own")
    if name.startswith(ANONYMOUS):
        raise ValueError(f"{what} name {name!r}: {ANONYMOUS!r} marks senders without a name, leave that prefix out")
    _check_characters(name, what)
    return name


def check_claim(name: str) -> str:
    """Return `name` if an anonymous sender may call itself so: `anonymous:` and something that could be a name."""
    if not name.startswith(ANONYMOUS):
        raise ValueError(f"{name!r} does not start with {ANONYMOUS!r}")
    _check_characters(name[len(ANONYMOUS) :] or name, "anonymous sender")
    return name


def encode_body(body: Mapping[str, Any], limit: int, to: str = "") -> bytes:
    """The bytes of a message's body. BadMessage if it cannot be carried, MessageTooLarge if over `limit` bytes."""
    if not isinstance(body, Mapping):
        raise BadMessage(f"a body is a mapping such as {{'text': 'hi'}}, not {type(body).__name__}", to=to)
    return encode_value(body if isinstance(body, dict) else dict(body), limit, to)


def encode_value(value: Any, limit: int, to: str = "") -> bytes:
    """The bytes of any JSON value, such as the answer to a request. Raises what `encode_body` raises."""
    try:
        data = orjson.dumps(value)
    except (TypeError, RecursionError) as error:  # orjson's own error is a TypeError
        raise BadMessage(f"the body to {to!r} cannot be written as JSON: {error}", to=to) from None
    if len(data) > limit:
        raise MessageTooLarge(to, len(data), limit)
    if b"null" in data and any(not math.isfinite(number) for number in _floats(value)):
        raise BadMessage(
            f"the body to {to!r} has a NaN or an infinity in it: JSON has neither, send null or a str", to=to
        )
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise BadMessage(
            f"the body to {to!r} nests more than {MAX_DEPTH} levels: its holder could read it but not pass it on", to=to
        )
    return data


def _check_characters(name: str, what: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} name {name!r} is no valid Unicode: {error.reason}") from None
    if size > MAX_NAME:
        raise ValueError(f"{what} name {name[:40] + '…'!r} is {size} bytes long, {MAX_NAME} are allowed")
    if not name.isascii() or not name.isprintable() or " " in name:
        for character in name:
            # As in topics: names end up in terminals and log lines, where a bidi mark or a zero-width space misleads.
            if unicodedata.category(character)[0] in "CZ":
                raise ValueError(f"{what} name {name!r} has white space or a control character in it: {character!r}")


def _parts(value: Any) -> Iterator[Any]:
    """What is directly inside `value`, the way orjson sees it."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, enum.Enum):
        yield value.value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        # By hand, not asdict(): that copies deeply and calls whatever __deepcopy__ it meets.
        for field in dataclasses.fields(value):
            yield getattr(value, field.name, None)


def _floats(value: Any) -> Iterator[float]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, float):
            yield part
        else:
            waiting.extend(_parts(part))


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 0)]
    while waiting:
        part, above = waiting.pop()
        inside = list(_parts(part))
        level = above + (isinstance(part, dict | list | tuple) or bool(inside))
        deepest = max(deepest, level)
        waiting.extend((child, level) for child in inside)
    return deepest
