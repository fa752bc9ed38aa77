"""What a route is made of, as values: a channel's two halves, what a sender is asked, what it answers.

    feishu:oc_1          a channel: a platform, and after the first colon a chat, which only that platform understands
    feishu               the platform's default chat

A channel is somebody's return address. It is split here, for the senders' use, and handed on as it came: in a body, in a
reply to it, in the event of a text that could not be sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

#: Characters of a channel; it is kept for as long as something waits for it.
MAX_CHANNEL = 1_000
#: What a default chat's variable ends with: FEISHU_HOME_CHANNEL.
HOME_CHANNEL = "_HOME_CHANNEL"


class Channel(NamedTuple):
    """A channel, taken apart."""

    platform: str
    #: Empty: the platform's default.
    chat: str = ""


def split(channel: str) -> Channel:
    """A channel's halves. ValueError if it names no platform or is too long, TypeError if it is no text."""
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
    """What a sender is asked to send. All attempts of it have one `id`, for platforms that recognise what they have."""

    id: str
    #: As it came.
    channel: str
    platform: str
    #: The platform's default where the channel has none; empty if there is no default either.
    chat: str
    text: str
    #: From 1.
    attempt: int = 1
    #: Seconds that the sender has.
    timeout: float = 10.0
    #: The messages that the text was made of, in order; what `route` was given.
    messages: tuple[Mapping[str, Any], ...] = ()


class Result(NamedTuple):
    """What a sender may answer with, when True and False are not enough."""

    ok: bool
    problem: str = ""
    #: Whether it may work later; False for a chat that there is not, or a text that is refused.
    retry: bool = True
    #: Seconds until then, if the platform said so.
    after: float = 0.0


SENT = Result(True)


def result_of(value: object) -> Result:
    """What a sender's answer means. Only an explicit yes is one: True, or an object whose `ok` (else `success`) is True.

    That an object is there means nothing: one that says "failed" is as true as any.
    """
    if value is True:
        return SENT
    if isinstance(value, Result):
        return value._replace(ok=value.ok is True)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return Result(False, f"the sender returned {_shown(value)}, which is not True")
    if isinstance(value, Mapping):
        said = value.get("ok", value.get("success"))
    else:
        said = getattr(value, "ok", getattr(value, "success", None))
    if said is True:
        return SENT
    problem = getattr(value, "problem", None) or getattr(value, "error", None)
    return Result(False, str(problem) if problem else f"the sender returned {_shown(value)}, whose `ok` is not True")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
