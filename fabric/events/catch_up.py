"""Catch-up: a snapshot of the state before a subscription, then live events.

    node.subscribe("fabric.endpoint.*", on_change, history=True)      the members that have joined already
    node.subscribe("state.**", on_state, last=True)                   the last event of each topic
                                                                      (`fabric.events.retained`)

Live events are held back until the snapshot has been delivered. A member that joins meanwhile is announced once, and an
event that is in both is delivered once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import time
from typing import Any

from fabric.bus.subscription import Subscription
from fabric.events.retained import unseen
from fabric.messages.session.outcomes import Listing
from fabric.protocol.envelope import Envelope, stamp
from fabric.protocol.topics import matches

NODE_JOINED = "fabric.node.joined"
ENDPOINT_JOINED = "fabric.endpoint.joined"
#: Rounds in which a gate delivers the events that arrived during the round before; then publishers wait.
MAX_ROUNDS = 10


def present(pattern: str, listed: Listing) -> list[Envelope]:
    """The joins of the members listed, as they would have been announced, marked `history`: those `pattern` matches."""
    found: list[Envelope] = []
    if matches(pattern, NODE_JOINED):
        found += [_joined(NODE_JOINED, facts, facts["node"]) for facts in listed.nodes]
    if matches(pattern, ENDPOINT_JOINED):
        found += [_joined(ENDPOINT_JOINED, facts, facts["endpoint"]) for facts in listed.endpoints]
    return found


def _joined(topic: str, facts: dict[str, Any], name: str) -> Envelope:
    kept: dict[str, Any] = {key: facts[key] for key in ("node", "origin", "pid", "host", "session") if key in facts}
    return stamp(topic, {**kept, "name": name, "history": True, "ts": facts.get("since")}, "proxy", time())


class SnapshotGate:
    """Holds live events back until `open` has delivered the snapshot. A callback for `Bus.subscribe`.

    Every event is passed to `give`, which delivers it as the subscription wants: on its loop, or in that thread.
    """

    def __init__(self, give: Callable[[Envelope], None]) -> None:
        self._deliver = give
        self._held: list[Envelope] | None = []
        self._lock = threading.RLock()  # a callback may publish what it is subscribed to

    def __call__(self, envelope: Envelope) -> None:
        with self._lock:
            if self._held is not None:
                self._held.append(envelope)
                return
        self._deliver(envelope)

    def open(self, history: list[Envelope], last: Iterable[Envelope] = ()) -> None:
        """Deliver the history, then events of `last` not also received live, then the live ones without known members.

        From now on everything passes. Callbacks may run in here, and publishers do not wait for them, unless they are
        always faster than the callbacks.
        """
        announced = {_member(envelope) for envelope in history}
        with self._lock:
            held, self._held = self._held or [], []
        for envelope in (*history, *unseen(last, held)):
            self._deliver(envelope)
        self._deliver_new(held, announced)
        for _ in range(MAX_ROUNDS):
            with self._lock:
                held, self._held = self._held or [], []
                if not held:
                    self._held = None
                    return
            self._deliver_new(held, announced)
        with self._lock:
            held, self._held = self._held or [], None
            self._deliver_new(held, announced)

    def _deliver_new(self, held: list[Envelope], announced: set[tuple[str, ...]]) -> None:
        for envelope in held:
            if not announced or _member(envelope) not in announced:
                self._deliver(envelope)


class GatedSubscription(Subscription):
    """The user's callback behind a gate, with its loop and its order.

    The bus never matches it, only the gate's own subscription, `front`; it ends when that one ends.
    """

    #: The gate's own subscription.
    front: Subscription | None = None

    @property
    def active(self) -> bool:
        """Whether it still receives events."""
        return self.front is None or self.front.active

    @active.setter
    def active(self, value: bool) -> None:
        """No-op: `front` decides."""


def _member(envelope: Envelope) -> tuple[str, ...]:
    # As text: a `**` receives events of applications, too, which may have any value under these names.
    return tuple(str(envelope.get(key)) for key in ("type", "name", "origin", "session"))
