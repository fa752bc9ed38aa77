"""Stamping: what a subscriber gets for what a publisher gave.

An envelope is one flat dict: `type`, `ts`, `src`, and the payload's own keys beside them.

    type   str     the topic, unless the payload has a `type` of its own
    ts     float   seconds since the epoch, when it was published
    src    str     who published it: the bus's source name, else the topic's first segment

The three are filled only where the payload lacks them (or has None), so that a relay's values survive it. Routing
never looks at them: an event goes where its *topic* says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Envelope = dict[str, Any]


def stamp(topic: str, payload: Mapping[str, Any] | None, source: str, now: float) -> Envelope:
    """A new envelope. `source` stands in for a missing `src`, `now` (unix seconds) for a missing `ts`.

    The payload is copied one level deep and not changed. TypeError if it is no mapping.
    """
    if payload is None:
        return {"type": topic, "ts": now, "src": source}
    try:
        envelope = {"type": topic, "ts": now, "src": source, **payload}
    except TypeError:
        raise TypeError(
            f"the payload of {topic!r} is a mapping such as {{'name': 'value'}}, not {type(payload).__name__}"
        ) from None
    if envelope["type"] is None:
        envelope["type"] = topic
    if envelope["ts"] is None:
        envelope["ts"] = now
    if envelope["src"] is None:
        envelope["src"] = source
    return envelope
