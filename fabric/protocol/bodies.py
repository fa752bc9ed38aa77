"""The body of a message and the answer to a request: Python values ⇄ JSON, checked at the sender.

    body     a JSON object; checked here once, opaque bytes from then on (for the proxy above all)
    value    any JSON value: what a handler answers a request with

orjson refuses sets, bytes, keys that are no str, integers over 64 bit and lone surrogates by itself. It does not refuse
NaN and infinity but writes `null` for them, and it reads four times deeper than it can write; a message that its holder
can read but not pass on is poison, so both are checked here. Most bodies pay only a substring search: a NaN is possible
only where `null` occurs, nesting hundreds deep only where there are hundreds of brackets.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from fabric.errors import BadMessage, MessageTooLarge

#: Levels a body may nest. orjson writes 254; the message around the body, and a program's object around that, need some.
MAX_DEPTH = 250


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


def _parts(value: Any) -> Iterator[Any]:
    """The values directly inside `value`, as orjson serializes it."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, enum.Enum):
        yield value.value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Not asdict(): it makes deep copies, and calls the __deepcopy__ of any object inside.
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
