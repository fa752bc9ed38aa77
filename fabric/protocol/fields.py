"""The frames of the message plane: one frame ⇄ one value. `fabric.protocol.verbs` says which frames make a message.

Here are text, numbers and bytes; frames of JSON are in `fabric.protocol.json_fields`.
Each kind of frame is an annotated type, such as `Name`: the type of the value, with the codec of its frame. A codec reads
and writes the same set of values. Both directions raise ValueError or TypeError (the errors of orjson and of UTF-8 are
ValueErrors), which `verbs` turns into one `WireError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from fabric.protocol.names import ANONYMOUS, EVERYBODY, MAX_NAME, check_claim, check_name

ORIGIN_BYTES = 8
#: Message ids, tokens, sessions, return addresses.
MAX_ID = 64
#: JSON that the proxy reads. JSON that it only passes on (bodies, listings) has the size limit of messages.
MAX_JSON = 4_096
#: Longest time, in seconds, that a message may wait to be acknowledged or answered: receivers remember its id that long.
MAX_TTL = 3_600.0
#: Checked names that each codec of names remembers.
CACHE_SIZE = 4_096
POLICIES = ("reject", "replace", "suffix", "share")


class Codec(NamedTuple):
    """Reads and writes one kind of frame. Both raise ValueError or TypeError for what the table in `verbs` forbids."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def _text(check: Callable[[str], object]) -> Codec:
    """The codec of a frame of UTF-8 that passes `check`."""

    def read(frame: bytes) -> str:
        value = frame.decode()
        check(value)
        return value

    def write(value: str) -> bytes:
        check(value)
        return value.encode()

    return Codec(read, write)


def _cached_text(check: Callable[[str], object]) -> Codec:
    """`_text` with a cache. Few names stand in many messages, and checking each character is half a message's cost."""
    read, write = _text(check)
    return Codec(lru_cache(CACHE_SIZE)(read), lru_cache(CACHE_SIZE)(write))


def _or_empty(codec: Codec) -> Codec:
    read, write = codec
    return Codec(lambda frame: read(frame) if frame else "", lambda value: write(value) if value else b"")


def check_id(value: str) -> str:
    """Return `value` if it is an id: of a message, a query, a session. ValueError if not."""
    if not 0 < len(value) <= MAX_ID:
        raise ValueError(f"an id has 1 to {MAX_ID} characters, not {len(value)}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"id {value!r} is not printable ASCII without spaces")
    return value


#: The rule of `check_id` for a frame, for code that does not decode it.
is_id = re.compile(rb"[!-~]{1,%d}" % MAX_ID).fullmatch


def _check_subject(value: str) -> None:
    if len(value) > MAX_NAME:
        raise ValueError(f"a subject has up to {MAX_NAME} characters, not {len(value)}")


def check_word(value: str) -> str:
    """Return `value` if it is a word: a code, a reason, a verb. ValueError if not."""
    if not (0 < len(value) <= MAX_ID and value.isascii() and value.replace("_", "a").isalnum()):
        raise ValueError(f"{value[:MAX_ID]!r} is no word of up to {MAX_ID} letters, digits and _")
    return value


def encode_to(name: str) -> bytes:
    """The frame of a message's `to`. ValueError if no endpoint can have that name."""
    return _TO.write(name)


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


def _bytes(smallest: int, largest: int | None) -> Codec:
    def check(frame: bytes) -> bytes:
        if len(frame) < smallest or (largest is not None and len(frame) > largest):
            raise ValueError(f"{len(frame)} bytes where {smallest} to {largest} are expected")
        return bytes(frame)

    return Codec(check, check)


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


_ID = _text(check_id)
_NAME = _cached_text(check_name)
_TO = _cached_text(_check_to)

Number = Annotated[int, Codec(_read_number, _write_number)]
Flag = Annotated[bool, Codec(_read_flag, lambda value: b"1" if value else b"0")]
Id = Annotated[str, _ID]
OptionalId = Annotated[str, _or_empty(_ID)]
Name = Annotated[str, _NAME]
OptionalName = Annotated[str, _or_empty(_NAME)]
Subject = Annotated[str, _text(_check_subject)]
To = Annotated[str, _TO]
Sender = Annotated[str, _cached_text(_check_sender)]
Policy = Annotated[str, _text(_check_policy)]
Word = Annotated[str, _text(check_word)]
Back = Annotated[bytes, _bytes(1, MAX_ID)]
Body = Annotated[bytes, _bytes(0, None)]
OpaqueReport = Annotated[bytes, _bytes(0, MAX_JSON)]
Origin = Annotated[bytes, _bytes(ORIGIN_BYTES, ORIGIN_BYTES)]
OriginOrAll = Annotated[bytes, Codec(_read_origin, _read_origin)]
