"""Values of a route: a channel, the delivery that a sender gets, the result that it returns.

    feishu:oc_1          a channel: a platform, and after the first colon a chat, in the platform's own notation
    feishu               the platform's default chat

A channel is the return address of a conversation. It is split for senders only; bodies, replies and dead letters have it
unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

#: Characters of a channel; the router holds it for as long as a text waits for it.
MAX_CHANNEL = 1_000
#: Suffix of the environment variable with a platform's default chat: FEISHU_HOME_CHANNEL.
HOME_CHANNEL = "_HOME_CHANNEL"


class Channel(NamedTuple):
    """A channel, split."""

    platform: str
    #: Empty: the platform's default.
    chat: str = ""


def split(channel: str) -> Channel:
    """Split a channel. ValueError if it names no platform or is too long, TypeError if it is no str."""
    if not isinstance(channel, str):
        raise TypeError(f"a channel is a str such as 'feishu:oc_1', not {type(channel).__name__}")
    if len(channel) > MAX_CHANNEL:
        raise ValueError(f"the channel {channel[:80]!r}… has {len(channel):,} characters, {MAX_CHANNEL:,} are allowed")
    platform, _, chat = channel.partition(":")
    if not platform.strip():
        raise ValueError(
            f"the channel {channel[:80]!r} names no platform: one is 'feishu', or with a chat 'feishu:oc_1'"
        )
    return Channel(platform, chat)


def home_variable(platform: str) -> str:
    """The environment variable with a platform's default chat."""
    return re.sub(r"[^A-Z0-9]", "_", platform.upper()) + HOME_CHANNEL


class Delivery(NamedTuple):
    """A text for a sender to send. All attempts have the same `id`, so that a platform can recognise a duplicate."""

    id: str
    #: Unchanged.
    channel: str
    platform: str
    #: The channel's, else the platform's default; empty if there is neither.
    chat: str
    text: str
    #: From 1.
    attempt: int = 1
    #: Seconds after which the attempt counts as failed.
    timeout: float = 10.0
    #: The messages that the text was made of, in order, as they were given to `route`.
    messages: tuple[Mapping[str, Any], ...] = ()


class Result(NamedTuple):
    """The answer of a sender that has more to say than True or False."""

    ok: bool
    problem: str = ""
    #: Whether a later attempt may succeed; False for a chat that does not exist, or a text that is refused.
    retry: bool = True
    #: Seconds to wait before it, if the platform said so.
    after: float = 0.0


SENT = Result(True)


def result_of(value: object) -> Result:
    """A sender's answer as a Result. Success is True, or an object or mapping whose `ok` (else `success`) is True.

    Truthiness does not count: an object that says "failed" is truthy, too.
    """
    if value is True:
        return SENT
    if isinstance(value, Result):
        return value._replace(ok=value.ok is True)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return Result(False, f"the sender returned {_shown(value)}, which is not True")
    if isinstance(value, Mapping):
        ok = value.get("ok", value.get("success"))
    else:
        ok = getattr(value, "ok", getattr(value, "success", None))
    if ok is True:
        return SENT
    problem = getattr(value, "problem", None) or getattr(value, "error", None)
    return Result(False, str(problem) if problem else f"the sender returned {_shown(value)}, whose `ok` is not True")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
