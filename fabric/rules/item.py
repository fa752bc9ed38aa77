"""Item: a message or an event as one record, for conditions and templates. Total: every mapping makes one.

    of                     a message                           an event
    id to request          its own                             empty
    sender                 its `from`                          its `src`
    body                   its `body`                          its payload: the envelope less `type`, `ts`, `src`
    type                   the body's `type`                   the envelope's `type`: the topic, unless it has its own
    topic channel text     the body's                          the topic; the payload's `channel` and `text`
    hops                   `rule_hops` of the body: number of rules that have passed it on

A field that should be text and is not counts as empty; the value stays in the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

#: Key of a body that counts the rules that passed it on, and its maximum: rules that publish and send may answer each
#: other in a circle.
HOPS = "rule_hops"
MAX_HOPS = 8
#: Unix seconds that `datetime` can convert: up to the year 9000.
_MAX_TIME = 221_845_392_000
#: Keys of an envelope that are no payload.
STAMPED = ("type", "ts", "src")


class Item(NamedTuple):
    """A message or an event."""

    #: `message` or `event`.
    kind: str
    #: The message, or the event's envelope, unchanged.
    source: dict[str, Any]
    body: dict[str, Any]
    id: str = ""
    to: str = ""
    sender: str = ""
    #: Unix seconds; None without a valid time.
    ts: float | None = None
    topic: str = ""
    type: str = ""
    channel: str = ""
    text: str = ""
    #: Whether its sender waits for an answer.
    request: bool = False
    hops: int = 0


def message_item(message: Mapping[str, Any], *, request: bool = False) -> Item:
    """A message as an item."""
    source = dict(message)
    body = source.get("body")
    body = body if isinstance(body, dict) else {}
    return Item(
        "message",
        source,
        body,
        id=_text(source.get("id")),
        to=_text(source.get("to")),
        sender=_text(source.get("from")),
        ts=_time(source.get("ts")),
        topic=_text(body.get("topic")),
        type=_text(body.get("type")),
        channel=_text(body.get("channel")),
        text=_text(body.get("text")),
        request=request,
        hops=_hops(body),
    )


def event_item(topic: str, envelope: Mapping[str, Any]) -> Item:
    """An event as an item."""
    source = dict(envelope)
    body = {key: value for key, value in source.items() if key not in STAMPED}
    return Item(
        "event",
        source,
        body,
        sender=_text(source.get("src")),
        ts=_time(source.get("ts")),
        topic=topic,
        type=_text(source.get("type")) or topic,
        channel=_text(body.get("channel")),
        text=_text(body.get("text")),
        hops=_hops(body),
    )


MISSING = object()


def look_up(value: Any, keys: tuple[str, ...]) -> Any:
    """The value at `keys` in nested objects and lists, or `MISSING`."""
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and len(key) < 10 and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIME:
        return None
    return float(value)


def _hops(body: dict[str, Any]) -> int:
    hops = body.get(HOPS)
    return hops if type(hops) is int and hops > 0 else 0
