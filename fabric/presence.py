"""Who is there: a subscription to joins that begins with those who have joined already.

    node.subscribe("fabric.endpoint.*", on_change, history=True)

The live events are held back until the present members were told, and a member that joined meanwhile is told once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import time
from typing import Any

from fabric.envelope import Envelope, stamp
from fabric.outcomes import Listed
from fabric.topics import matches

NODE_JOINED = "fabric.node.joined"
ENDPOINT_JOINED = "fabric.endpoint.joined"


def present(pattern: str, listed: Listed) -> list[Envelope]:
    """The joins that `pattern` matches, as they would have been announced, marked `history`."""
    found: list[Envelope] = []
    if matches(pattern, NODE_JOINED):
        found += [_joined(NODE_JOINED, facts, facts["node"]) for facts in listed.nodes]
    if matches(pattern, ENDPOINT_JOINED):
        found += [_joined(ENDPOINT_JOINED, facts, facts["endpoint"]) for facts in listed.endpoints]
    return found


def _joined(topic: str, facts: dict[str, Any], name: str) -> Envelope:
    kept: dict[str, Any] = {key: facts[key] for key in ("node", "origin", "pid", "host", "session") if key in facts}
    return stamp(topic, {**kept, "name": name, "history": True, "ts": facts.get("since")}, "proxy", time())


class Gate:
    """Stands in front of a callback, and holds events back until `open` has given it what came before them.

    Everything goes on through `give`, which puts it where the subscription wants it: on its loop, or in that thread.
    """

    def __init__(self, give: Callable[[Envelope], None]) -> None:
        self._give = give
        self._held: list[Envelope] | None = []
        self._lock = threading.RLock()  # a callback may publish what it is subscribed to

    def __call__(self, envelope: Envelope) -> None:
        with self._lock:
            if self._held is not None:
                self._held.append(envelope)
                return
        self._give(envelope)

    def open(self, history: list[Envelope]) -> None:
        """Give the history, then what was held back and is not in it; from now on everything passes."""
        told = {_member(envelope) for envelope in history}
        with self._lock:
            for envelope in history:
                self._give(envelope)
            held, self._held = self._held or [], None
            for envelope in held:
                if _member(envelope) not in told:
                    self._give(envelope)


def _member(envelope: Envelope) -> tuple[object, ...]:
    return (envelope.get("type"), envelope.get("name"), envelope.get("origin"), envelope.get("session"))
