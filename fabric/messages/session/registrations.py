"""Registrations: the endpoint names that a session holds or asks for.

    register ──▸ pending ──REGISTERED──▸ granted ──link lost──▸ granted, asked for again with its session and its name
                   │                      │                     │
                   ├─ ERROR               ├─ BYE replaced       ├─ REGISTERED: granted (perhaps under another session)
                   ├─ deadline            │                     ├─ ERROR
                   ▾                      ▾                     ▾
               NameRefused             NameLost              NameLost

A name released while the link was down is released again after the next WELCOME, before any name is asked for: the proxy
may still have it as ours, and would refuse it to the next registration of the same name.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.errors import NotConnected
from fabric.messages.session.outcomes import NameLost, NameRefused, NameRegistered
from fabric.messages.session.refusals import refusal
from fabric.protocol import verbs
from fabric.protocol.fields import POLICIES
from fabric.protocol.names import check_name

#: Released names that are released again after a WELCOME.
MAX_RELEASED = 1_000


class Registration:
    """One registration of a name."""

    __slots__ = ("asked_at", "deadline", "granted", "key", "name", "policy", "session")

    def __init__(self, key: int, name: str, policy: str, asked_at: float, deadline: float) -> None:
        self.key = key
        self.name = name
        self.policy = policy
        self.asked_at = asked_at
        self.deadline = deadline
        #: The name that the proxy granted (with `suffix` perhaps another than `name`); empty until then.
        self.granted = ""
        self.session = b""


class Registrations:
    """All registrations of a session. Frames go to `outgoing`, results to `outcomes`."""

    def __init__(self, outgoing: deque[list[bytes]], outcomes: deque[Any], *, max_released: int = MAX_RELEASED) -> None:
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._up = False
        self._by_key: dict[int, Registration] = {}
        #: Those never granted yet. Their deadlines are read at every call, so they are kept apart: they are few.
        self._pending: dict[int, Registration] = {}
        self._released: deque[int] = deque(maxlen=max_released)
        self._serial = 0
        #: Read for every message that arrives, and for every message that is sent.
        self.by_session: dict[bytes, Registration] = {}
        self.owned: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def register(self, name: str, policy: str, deadline: float, now: float) -> int:
        """Ask for a name. Returns the registration's key. ValueError for a bad name or policy."""
        self._serial += 1
        registration = Registration(self._serial, check_name(name), policy, now, deadline)
        if policy not in POLICIES:
            raise ValueError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
        self._by_key[registration.key] = self._pending[registration.key] = registration
        if self._up:
            self._ask(registration)
        return registration.key

    def unregister(self, key: int) -> None:
        """Release a name. No-op if we no longer hold it."""
        registration = self._by_key.get(key)
        if registration is not None:
            self._forget(registration)
            self._release(key)

    def names(self) -> dict[int, str]:
        """Key → granted name (empty while it is not granted), of every registration."""
        return {key: registration.granted for key, registration in self._by_key.items()}

    def up(self) -> None:
        """The proxy has welcomed us: ask for all names."""
        self._up = True
        for key in self._released:
            self._outgoing.append([verbs.UNREGISTER, b"%d" % key])
        for registration in self._by_key.values():
            self._ask(registration)

    def down(self) -> None:
        """The link is lost: ask for no name until the next WELCOME."""
        self._up = False

    def registered(self, message: verbs.Registered, now: float) -> None:
        """REGISTERED: the name is ours."""
        registration = self._by_key.get(message.key)
        if registration is None:
            # Released meanwhile.
            self._release(message.key)
            return
        session = message.session.encode()
        if registration.session != session or registration.granted != message.name:
            self._disown(registration)
            registration.granted, registration.session = message.name, session
            self._pending.pop(registration.key, None)
            self.by_session[session] = registration
            self.owned[message.name] = self.owned.get(message.name, 0) + 1
        self._outcomes.append(NameRegistered(registration.key, message.name, message.session))

    def refused(self, error: verbs.Error, now: float) -> None:
        """ERROR about REGISTER: the name is not granted, or not again after a reconnect."""
        registration = self._by_key.get(int(error.subject)) if error.subject.isdecimal() else None
        if registration is None:
            return
        self._forget(registration)
        key, granted = registration.key, registration.granted
        failure = refusal(granted or registration.name, error.code, error.detail)
        if granted:
            self._outcomes.append(NameLost(key, granted, "taken", failure))
        else:
            self._outcomes.append(NameRefused(key, registration.name, failure))

    def replaced(self, session: bytes, reason: str) -> None:
        """BYE of one of our sessions: another node has the name now."""
        registration = self.by_session.get(session)
        if registration is not None:
            self._forget(registration)
            self._outcomes.append(NameLost(registration.key, registration.granted, reason, None))

    def close(self) -> None:
        """Forget all names: the node's BYE releases them at the proxy. Pending ones end as NameRefused."""
        for registration in list(self._by_key.values()):
            self._forget(registration)
            if not registration.granted:
                name = registration.name
                failure = NotConnected(f"the node was closed before {name!r} was registered", to=name)
                self._outcomes.append(NameRefused(registration.key, name, failure))

    def next_deadline(self) -> float | None:
        """The time at which `tick` is due; None: never."""
        return min((registration.deadline for registration in self._pending.values()), default=None)

    def tick(self, now: float) -> None:
        """Give up the registrations that were not granted by their deadline."""
        for registration in [each for each in self._pending.values() if each.deadline <= now]:
            self._forget(registration)
            self._release(registration.key)
            name, waited = registration.name, round(now - registration.asked_at, 3)
            text = f"the endpoint name {name!r} was not registered within {waited:g} s: no proxy has answered"
            self._outcomes.append(NameRefused(registration.key, name, NotConnected(text, to=name)))

    def leftovers(self) -> dict[str, int]:
        """See `Session.leftovers`."""
        return {"pending registrations": len(self._pending)}

    def _ask(self, registration: Registration) -> None:
        session = registration.session.decode()
        message = verbs.Register(
            registration.key, registration.name, registration.policy, session, registration.granted
        )
        self._outgoing.append(verbs.encode(message))

    def _release(self, key: int) -> None:
        self._released.append(key)
        if self._up:
            self._outgoing.append([verbs.UNREGISTER, b"%d" % key])

    def _forget(self, registration: Registration) -> None:
        self._pending.pop(registration.key, None)
        del self._by_key[registration.key]
        self._disown(registration)

    def _disown(self, registration: Registration) -> None:
        self.by_session.pop(registration.session, None)
        if registration.granted in self.owned:
            self.owned[registration.granted] -= 1
            if not self.owned[registration.granted]:
                del self.owned[registration.granted]
