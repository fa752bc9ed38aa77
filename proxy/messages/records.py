"""The records of the registry: a node, a registration of a name, and the holders of a name."""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.protocol.json_fields import Identity

#: Effects, which the shell carries out in order: (peer, frames) to send, and (topic, payload) to publish.
Outgoing = deque[tuple[bytes, list[bytes]]]
Announcements = deque[tuple[str, dict[str, Any]]]


class Refusal(Exception):
    """Why a request is refused. Never leaves the directory: `code` and `detail` become an ERROR on the wire."""

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
        #: Valid values of `from`: names registered here with the number of their registrations, and claims that were
        #: checked. Read for every message.
        self.senders: dict[bytes, int] = {}
        #: An answer could not be sent to it: it must say HELLO again, and repeat what is open.
        self.stale = False

    def add(self, registration: RegistrationRecord) -> None:
        """Add a name that the node holds."""
        self.registrations[registration.key] = registration
        self.senders[registration.name] = self.senders.get(registration.name, 0) + 1

    def remove(self, registration: RegistrationRecord) -> None:
        """Remove a name."""
        del self.registrations[registration.key]
        if self.senders[registration.name] > 1:
            self.senders[registration.name] -= 1
        else:
            del self.senders[registration.name]

    def facts(self) -> dict[str, Any]:
        """Its description in announcements and listings."""
        identity = self.identity
        return {"node": identity.node, "origin": identity.origin.hex(), "pid": identity.pid, "host": identity.host}


class RegistrationRecord:
    """A name that a node holds."""

    __slots__ = ("key", "name", "node", "returned", "session", "since", "watchers")

    def __init__(self, node: NodeRecord, key: int, name: bytes, session: bytes, now: float, returned: bool) -> None:
        self.node = node
        self.key = key
        self.name = name
        self.session = session
        self.since = now
        #: Whether it was held under a former proxy already.
        self.returned = returned
        #: Peers that have found its session, and get GONE when it ends.
        self.watchers: set[bytes] = set()


class Holders:
    """The holders of one name: one registration, or a group that shares the name."""

    __slots__ = ("members", "shared", "turn")

    def __init__(self, shared: bool) -> None:
        self.members: list[RegistrationRecord] = []
        self.shared = shared
        self.turn = 0

    def next(self) -> RegistrationRecord:
        """The next holder, round-robin."""
        self.turn = (self.turn + 1) % len(self.members)
        return self.members[self.turn]
