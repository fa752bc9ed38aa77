"""The names a session holds, or wants to.

    register ──▸ wanted ──REGISTERED──▸ held ──link lost──▸ held, asked for again with its session and its name
                   │                     │                     │
                   ├─ ERROR              ├─ BYE replaced       ├─ REGISTERED: held (the session may be another)
                   ├─ deadline           │                     ├─ ERROR
                   ▾                     ▾                     ▾
              NotRegistered             Lost                  Lost

A name given back while the link was down is given back again after the next WELCOME, before anything is asked for: the
proxy may know it still, and would refuse it to whoever of us wants it next.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.errors import NotConnected
from fabric.messages.session.outbound import refusal
from fabric.messages.session.outcomes import NameLost, NameRefused, NameRegistered
from fabric.protocol import verbs
from fabric.protocol.fields import POLICIES
from fabric.protocol.names import check_name

#: Names given back that are given back again after a WELCOME.
MAX_RELEASED = 1_000


class Registration:
    """One registration."""

    __slots__ = ("began", "deadline", "held", "key", "policy", "session", "wanted")

    def __init__(self, key: int, wanted: str, policy: str, began: float, deadline: float) -> None:
        self.key = key
        self.wanted = wanted
        self.policy = policy
        self.began = began
        self.deadline = deadline
        #: The name that was granted, empty until then.
        self.held = ""
        self.session = b""


class Registrations:
    """All names of a session. Frames go to `outgoing`, what becomes of the names to `outcomes`."""

    def __init__(self, outgoing: deque[list[bytes]], outcomes: deque[Any]) -> None:
        self._outgoing = outgoing
        self._outcomes = outcomes
        self._up = False
        self._names: dict[int, Registration] = {}
        self._waiting: dict[int, Registration] = {}  # those never granted yet: asked about at every call, so few
        self._released: deque[int] = deque(maxlen=MAX_RELEASED)
        self._serial = 0
        #: Read for every message that arrives, and for every one that leaves.
        self.by_session: dict[bytes, Registration] = {}
        self.owned: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def register(self, name: str, policy: str, deadline: float, now: float) -> int:
        """Ask for a name; the key is what to give it back with."""
        self._serial += 1
        wanted = Registration(self._serial, check_name(name), policy, now, deadline)
        if policy not in POLICIES:
            raise ValueError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
        self._names[wanted.key] = self._waiting[wanted.key] = wanted
        if self._up:
            self._ask(wanted)
        return wanted.key

    def unregister(self, key: int) -> None:
        """Give a name back. One that is not ours any more is none of our business."""
        name = self._names.get(key)
        if name is not None:
            self._forget(name)
            self._release(key)

    def up(self) -> None:
        """There is a proxy (again): ask for everything."""
        self._up = True
        for key in self._released:
            self._outgoing.append([verbs.UNREGISTER, b"%d" % key])
        for name in self._names.values():
            self._ask(name)

    def down(self) -> None:
        """The link is gone: no name is owned until the proxy says so again."""
        self._up = False

    def registered(self, message: verbs.Registered) -> None:
        """REGISTERED: the name is ours."""
        name = self._names.get(message.key)
        if name is None:
            # Given back meanwhile.
            self._release(message.key)
            return
        session = message.session.encode()
        if name.session == session and name.held == message.name:
            self._outcomes.append(NameRegistered(name.key, name.held, message.session))
            return
        self._disown(name)
        name.held, name.session = message.name, session
        self._waiting.pop(name.key, None)
        self.by_session[session] = name
        self.owned[name.held] = self.owned.get(name.held, 0) + 1
        self._outcomes.append(NameRegistered(name.key, name.held, message.session))

    def refused(self, error: verbs.Error) -> None:
        """ERROR about REGISTER: it cannot be had, or not again."""
        name = self._names.get(int(error.subject)) if error.subject.isdecimal() else None
        if name is None:
            return
        self._forget(name)
        failure = refusal(name.held or name.wanted, error.code, error.detail)
        if name.held:
            self._outcomes.append(NameLost(name.key, name.held, "taken", failure))
        else:
            self._outcomes.append(NameRefused(name.key, name.wanted, failure))

    def replaced(self, session: bytes, reason: str) -> None:
        """BYE of one of our sessions: somebody else has the name now."""
        name = self.by_session.get(session)
        if name is not None:
            self._forget(name)
            self._outcomes.append(NameLost(name.key, name.held, reason, None))

    def close(self) -> None:
        """Give everything up; the node's BYE does the rest."""
        for name in list(self._names.values()):
            self._forget(name)
            if not name.held:
                failure = NotConnected(f"the node was closed before {name.wanted!r} was registered", to=name.wanted)
                self._outcomes.append(NameRefused(name.key, name.wanted, failure))

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; None: never."""
        return min((name.deadline for name in self._waiting.values()), default=None)

    def tick(self, now: float) -> None:
        """Give up what is not granted in time."""
        for name in [name for name in self._waiting.values() if name.deadline <= now]:
            self._forget(name)
            self._release(name.key)
            waited = round(now - name.began, 3)
            text = f"the endpoint name {name.wanted!r} was not registered within {waited:g} s: no proxy has answered"
            self._outcomes.append(NameRefused(name.key, name.wanted, NotConnected(text, to=name.wanted)))

    def _ask(self, name: Registration) -> None:
        message = verbs.Register(name.key, name.wanted, name.policy, name.session.decode(), name.held)
        self._outgoing.append(verbs.encode(message))

    def _release(self, key: int) -> None:
        self._released.append(key)
        if self._up:
            self._outgoing.append([verbs.UNREGISTER, b"%d" % key])

    def _forget(self, name: Registration) -> None:
        self._waiting.pop(name.key, None)
        del self._names[name.key]
        self._disown(name)

    def _disown(self, name: Registration) -> None:
        self.by_session.pop(name.session, None)
        if name.held in self.owned:
            self.owned[name.held] -= 1
            if not self.owned[name.held]:
                del self.owned[name.held]
