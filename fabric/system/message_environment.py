"""A message as the environment of a program, and the output of a program as an answer.

    FABRIC_ID TO FROM TS                 as stamped by the proxy
    FABRIC_TEXT TYPE CHANNEL             of its body, empty if the body has none
    FABRIC_HOLDERS REQUEST               holders that accepted it (hooks only); 1 if the sender waits for an answer
    FABRIC_URL                           the proxy's address, so that `fabric send` in the program goes there

The values come from other programs: a shell script must quote them. A value contains no NUL and at most `MAX_VALUE` bytes;
numbers and objects are JSON. The whole message is on the program's stdin (see `run_program`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import orjson

#: Bytes of one environment variable. execve accepts 128 KiB; a longer text is complete on stdin.
MAX_VALUE = 32 * 1024


class ProgramFailed(Exception):
    """A program that should answer a message failed. The asker sees the name of this class in its `RemoteError`."""


def environment(message: Mapping[str, Any], url: str, more: Mapping[str, Any] | None = None) -> dict[bytes, bytes]:
    """The environment of this process, with the facts of `message` (`id`, `to`, `from`, `ts`, `body`, …) as `FABRIC_*`.

    Each item of `more` is `FABRIC_<NAME>`, and overrides one of the names above.
    """
    body = message.get("body")
    facts = {name: message.get(name) for name in ("id", "to", "from", "ts", "holders", "request")}
    facts |= {name: body.get(name) if isinstance(body, dict) else None for name in ("type", "channel", "text")}
    facts |= more or {}
    return {
        **os.environb,
        **{b"FABRIC_" + name.upper().encode(): value_of(fact) for name, fact in facts.items()},
        b"FABRIC_URL": value_of(url),
    }


def value_of(fact: Any) -> bytes:
    """`fact` as the value of an environment variable, or as an argument: without NUL, at most `MAX_VALUE` bytes."""
    if fact is None:
        return b""
    if fact is True or fact is False:
        return b"1" if fact else b""
    if isinstance(fact, str):
        data = fact.encode(errors="replace")
    else:
        try:
            data = orjson.dumps(fact)
        except TypeError:  # nested deeper than orjson writes
            data = b""
    data = data.replace(b"\0", b"")
    return data if len(data) <= MAX_VALUE else data[:MAX_VALUE].decode(errors="ignore").encode()


def answer_of(output: bytes) -> Any:
    """The output of a program as an answer: the value if it is JSON, else the text without its last line end."""
    if not output.strip():
        return None
    try:
        return orjson.loads(output)
    except ValueError:
        return output.decode(errors="replace").removesuffix("\n")
