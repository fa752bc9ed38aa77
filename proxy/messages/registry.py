"""The registry: connected nodes, and the names that they hold.

    origin ──▸ NodeRecord ──▸ key ──▸ RegistrationRecord ◂── session    (addressed by senders)
      peer ──┘                              ▴
                                            └── Holders ◂── name        (one holder, or a group)

    name is held by │ nobody   another, not shared           a group
    ────────────────┼─────────────────────────────────────────────────────────────────
    reject          │ granted  name_taken                    name_taken
    replace         │ granted  granted, BYE replaced to it   granted, the same to all
    suffix          │ granted  granted: name-2, name-3, …    granted: name-2, name-3, …
    share           │ granted  name_taken                    granted: one more in turn

A node that comes back over another connection keeps its names without their having been free: its origin identifies it.
After a restart of the proxy the registry is empty. Then a node that brings along a session of a former proxy (see
`proxy.messages.sessions`) gets its name back, also from a newcomer, which gets BYE `replaced`. A returning holder never
takes a name by its policy `replace`: it would remove the holder that replaced it, and be removed in turn.
"""

from __future__ import annotations

from difflib import get_close_matches

from fabric.protocol.json_fields import Identity
from fabric.protocol.verbs import BYE, REGISTERED, Find, Register, Unregister, Welcome, encode
from proxy.messages.records import Announcements, Holders, NodeRecord, Outgoing, Refusal, RegistrationRecord
from proxy.messages.sessions import Sessions

MAX_NODES = 10_000
MAX_ENDPOINTS = 100_000  # of all nodes: 40 MiB or so
MAX_SUFFIX = 10_000
#: Bounds for similar names: difflib compares character by character. Answers are cached.
MAX_COMPARED = 200
SIMILAR_CACHE_SIZE = 256
MAX_COMPARED_LENGTH = 64


class Registry:
    """Nodes and names of one proxy. Frames go to `outgoing`, presence events to `announcements`."""

    def __init__(
        self,
        boot: str,
        recover_until: float,
        outgoing: Outgoing,
        announcements: Announcements,
        *,
        max_nodes: int = MAX_NODES,
        max_endpoints: int = MAX_ENDPOINTS,
    ) -> None:
        self.nodes: dict[bytes, NodeRecord] = {}
        self.origins: dict[bytes, NodeRecord] = {}
        self.names: dict[bytes, Holders] = {}
        #: Whether new nodes are refused, because the process has no room for them.
        self.full = False
        self.sessions = Sessions(boot, recover_until, self.nodes, outgoing)
        self._max_nodes = max_nodes
        self._max_endpoints = max_endpoints
        self._outgoing = outgoing
        self._announcements = announcements
        self._similar_cache: dict[bytes, list[str]] = {}

    # Nodes

    def hello(self, peer: bytes, identity: Identity, welcome: Welcome, now: float) -> NodeRecord:
        """HELLO: for the first time, again, or over another connection. Refusal `full` if there is no room."""
        known = self.nodes.get(peer)
        if known is not None and known.origin == identity.origin:
            known.identity, known.seen, known.stale = identity, now, False
            self._send(peer, encode(welcome))
            return known
        previous = self.origins.get(identity.origin)
        if previous is None and known is None and (self.full or len(self.nodes) >= self._max_nodes):
            raise Refusal("full", limit=len(self.nodes))
        if known is not None:
            self.drop(known, "left", "replaced")
        node = NodeRecord(peer, identity, now)
        self.nodes[peer] = self.origins[identity.origin] = node
        self._send(peer, encode(welcome))
        if previous is None:
            self._announce("node.joined", node)
        else:
            self._move(previous, node, now)
        return node

    def _move(self, previous: NodeRecord, node: NodeRecord, now: float) -> None:
        """Move the node's names to its new connection without freeing them; its sessions end with the old one."""
        node.since = previous.since
        del self.nodes[previous.peer]
        self._send(previous.peer, [BYE, b"replaced", b""])
        for registration in previous.registrations.values():
            self.sessions.end(registration, "reconnect")
            registration.node, registration.session, registration.since = node, self.sessions.new(), now
            self.sessions.begin(registration)
            node.add(registration)
            # Before any DELIVER to the new session, which the node does not know yet.
            self._send_registered(registration)

    def drop(self, node: NodeRecord, how: str, reason: str) -> None:
        """Remove a node and its names; `how` is `left` or `lost`."""
        del self.nodes[node.peer]
        del self.origins[node.origin]
        for registration in list(node.registrations.values()):
            self._end(registration, how, reason)
        self._announce(f"node.{how}", node, reason=reason)

    # Names

    def register(self, node: NodeRecord, wanted: Register, now: float) -> None:
        """Answer REGISTER. Refusal if the name is not granted."""
        registration = node.registrations.get(wanted.key)
        if registration is not None:
            self._send_registered(registration)
            return
        session = wanted.session.encode()
        returned = self.sessions.may_return(session)
        try:
            name = self._allocate_name(node, wanted, returned)
        except Refusal:
            if returned:
                self.sessions.lost(session)
            raise
        registration = RegistrationRecord(
            node, wanted.key, name, session if returned else self.sessions.new(), now, returned
        )
        self._add(registration, wanted.policy == "share")

    def _add(self, registration: RegistrationRecord, shared: bool) -> None:
        node, name = registration.node, registration.name
        holders = self.names.get(name)
        if holders is None:
            holders = self.names[name] = Holders(shared)
        holders.members.append(registration)
        node.add(registration)
        self._similar_cache.clear()
        self.sessions.begin(registration)
        self._send_registered(registration)
        self.sessions.returned(registration, holders.shared)
        self._announce("endpoint.joined", node, registration)

    def _allocate_name(self, node: NodeRecord, wanted: Register, returned: bool) -> bytes:
        """The name to grant; if it was held, it is free or shared on return. Refusal if none is granted."""
        if len(self.sessions.open) >= self._max_endpoints:
            raise Refusal("full", limit=self._max_endpoints)
        name = (wanted.held or wanted.name).encode()
        holders = self.names.get(name)
        if holders is None or (wanted.policy == "share" and holders.shared):
            return name
        takes_back = returned and not any(member.returned for member in holders.members)
        if takes_back or (wanted.policy == "replace" and not wanted.session):
            self._replace(holders)
            return name
        if wanted.policy == "suffix":
            return self._suffixed(wanted.name)
        facts = holders.members[0].node.facts()
        raise Refusal("name_taken", holder=f"{facts['node']} (pid {facts['pid']} on {facts['host'] or 'this host'})")

    def _suffixed(self, name: str) -> bytes:
        for number in range(1, MAX_SUFFIX):
            candidate = (name if number == 1 else f"{name}-{number}").encode()
            if candidate not in self.names:
                if len(candidate) > 255:
                    break
                return candidate
        raise Refusal("bad_name", text=f"no suffix fits to {name[:40]!r}")

    def _replace(self, holders: Holders) -> None:
        for member in list(holders.members):
            self._send(member.node.peer, [BYE, b"replaced", member.session])
            self._end(member, "replaced", "replaced")

    def unregister(self, node: NodeRecord, message: Unregister, now: float) -> None:
        """UNREGISTER: release a name. No-op if the node does not hold it."""
        registration = node.registrations.get(message.key)
        if registration is not None:
            self._end(registration, "left", "close")

    def _end(self, registration: RegistrationRecord, how: str, reason: str) -> None:
        node = registration.node
        node.remove(registration)
        holders = self.names[registration.name]
        holders.members.remove(registration)
        if not holders.members:
            del self.names[registration.name]
        self._similar_cache.clear()
        self.sessions.end(registration, reason)
        self._announce(f"endpoint.{how}", node, registration, reason)

    def find(self, node: NodeRecord, message: Find, now: float) -> None:
        """Answer FIND: the next holder of the name, or whether that session is here. Refusal if nobody has the name."""
        name, session = message.name.encode(), message.session.encode()
        if session:
            registration = self.sessions.open.get(session)
            if registration is not None and registration.name == name:
                self.sessions.found(node.peer, registration, session, self.names[name].shared)
            else:
                self.sessions.wait_for(node.peer, name, session)
        elif (holders := self.names.get(name)) is None:
            raise Refusal("no_such_endpoint", similar=self.similar(message.name))
        else:
            self.sessions.found(node.peer, holders.next(), b"", holders.shared)

    def similar(self, name: str) -> list[str]:
        """Names similar to this one, best first."""
        wanted = name.encode()
        found = self._similar_cache.get(wanted)
        if found is None:
            near = (
                other
                for other in self.names
                if abs(len(other) - len(wanted)) <= 3 and len(other) <= MAX_COMPARED_LENGTH
            )
            candidates = [other.decode() for _, other in zip(range(MAX_COMPARED), near, strict=False)]
            found = get_close_matches(name, candidates, 3)
            if len(self._similar_cache) >= SIMILAR_CACHE_SIZE:
                self._similar_cache.clear()
            self._similar_cache[wanted] = found
        return found

    # Effects

    def _send_registered(self, registration: RegistrationRecord) -> None:
        key = b"%d" % registration.key
        self._send(registration.node.peer, [REGISTERED, key, registration.name, registration.session])

    def _send(self, peer: bytes, frames: list[bytes]) -> None:
        self._outgoing.append((peer, frames))

    def _announce(
        self, what: str, node: NodeRecord, registration: RegistrationRecord | None = None, reason: str = ""
    ) -> None:
        facts = node.facts()
        if registration is None:
            facts["name"] = facts["node"]
        else:
            facts |= {"name": registration.name.decode(), "session": registration.session.decode()}
        if reason:
            facts["reason"] = reason
        self._announcements.append((f"fabric.{what}", facts))
