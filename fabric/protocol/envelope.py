"""The envelope: the dict that a subscriber gets for a published payload.

An envelope is one flat dict: `type`, `ts`, `src`, and the payload's own keys beside them.

    type   str     the topic, unless the payload has a `type` of its own
    ts     float   seconds since the epoch, at publishing
    src    str     the publisher: the bus's source name, else the topic's first segment

The three are filled in only where the payload lacks them (or has None), so that the values of a relayed event survive.
Routing does not read them: it depends on the *topic* alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Envelope = dict[str, Any]


def stamp(topic: str, payload: Mapping[str, Any] | None, source: str, now: float) -> Envelope:
    """A new envelope: a shallow copy of the payload, with `source` for a missing `src`, `now` (unix seconds) for `ts`.

    TypeError if the payload is no mapping.
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
