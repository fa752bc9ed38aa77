"""The values of the proxy's registry: a node, a name it holds, and who else holds that name."""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.protocol.verbs import Identity

#: Frames for peers, and events for the event plane: effects, carried out by the shell in order.
Outgoing = deque[tuple[bytes, list[bytes]]]
Announcements = deque[tuple[str, dict[str, Any]]]


class Refusal(Exception):
    """Why something asked for is not done. Never leaves the proxy: `code` and `detail` become an ERROR on the wire."""

    def __init__(self, code: str, **detail: object) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class NodeRecord:
    """One connection of one process."""

    __slots__ = ("identity", "origin", "peer", "registrations", "seen", "senders", "since", "stale")

    def __init__(self, peer: bytes, identity: Identity, now: float) -> None:
        self.peer = peer
        self.identity = identity
        self.origin = identity.origin
        self.since = self.seen = now
        self.registrations: dict[int, RegistrationRecord] = {}
        #: What may stand in a `from`: names registered here with how many registrations have them, and claims, once
        #: they were looked at. Read for every message.
        self.senders: dict[bytes, int] = {}
        #: Something it had to know could not be sent to it: it must say HELLO again, and ask again.
        self.stale = False

    def add(self, registration: RegistrationRecord) -> None:
        """The node holds this name from now on."""
        self.registrations[registration.key] = registration
        self.senders[registration.name] = self.senders.get(registration.name, 0) + 1

    def remove(self, registration: RegistrationRecord) -> None:
        """The node does not hold it any more."""
        del self.registrations[registration.key]
        if self.senders[registration.name] > 1:
            self.senders[registration.name] -= 1
        else:
            del self.senders[registration.name]

    def facts(self) -> dict[str, Any]:
        """What announcements and listings say of it."""
        identity = self.identity
        return {"node": identity.node, "origin": identity.origin.hex(), "pid": identity.pid, "host": identity.host}


class RegistrationRecord:
    """A name held by a node."""

    __slots__ = ("key", "name", "node", "returned", "session", "since", "watchers")

    def __init__(self, node: NodeRecord, key: int, name: bytes, session: bytes, now: float, returned: bool) -> None:
        self.node = node
        self.key = key
        self.name = name
        self.session = session
        self.since = now
        #: It was held under a former proxy already.
        self.returned = returned
        #: Peers that have found its session and are told when that ends.
        self.watchers: set[bytes] = set()


class Holders:
    """Who holds one name: one registration, or a group that shares it."""

    __slots__ = ("members", "shared", "turn")

    def __init__(self, shared: bool) -> None:
        self.members: list[RegistrationRecord] = []
        self.shared = shared
        self.turn = 0

    def next(self) -> RegistrationRecord:
        """The one whose turn it is."""
        self.turn = (self.turn + 1) % len(self.members)
        return self.members[self.turn]
