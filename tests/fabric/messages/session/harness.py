"""A session with its clock, and the proxy that a test plays."""

from __future__ import annotations

from fabric.messages.session.session import Session
from fabric.protocol import verbs
from fabric.protocol.json_fields import Meta, Terms

ORIGIN = b"12345678"
OTHER = b"abcdefgh"


class Harness:
    """A session of the node `app`, and its clock. Options are those of Session."""

    def __init__(self, **options):
        self.now = 100.0
        self.session = Session("app", ORIGIN, pid=7, host="host", program="app.py", **options)

    def sent(self, kind=tuple):
        """The messages of a kind that it sent since the last call, decoded. The others are dropped."""
        frames = list(self.session.outgoing)
        self.session.outgoing.clear()
        return [each for each in map(verbs.decode_for_proxy, frames) if isinstance(each, kind)]

    def sends(self):
        """Id and session of each SEND since the last call."""
        return [(message.id, message.session) for message in self.sent(verbs.Send)]

    def outcomes(self, kind=tuple):
        """The outcomes of a kind since the last call. The others are dropped."""
        found = [outcome for outcome in self.session.outcomes if isinstance(outcome, kind)]
        self.session.outcomes.clear()
        return found

    def receive(self, *messages):
        """The proxy sends these."""
        for message in messages:
            self.session.receive(verbs.encode(message), self.now)

    def tick(self, seconds=0.0):
        self.now += seconds
        self.session.tick(self.now)

    def start(self):
        """Start the session. Returns itself."""
        self.session.start(self.now)
        return self

    def welcome(self, proxy="boot"):
        """The proxy answers the last HELLO. Everything sent before is dropped. Returns itself."""
        attempt = self.sent(verbs.Hello)[-1].attempt
        self.receive(verbs.Welcome(1, attempt, Terms(proxy, 5.0, 15.0, 1_000)))
        return self

    def send(self, id, to="worker", wait=5.0, **options):
        self.session.send(id, to, b'{"n":1}', ts=1.0, deadline=self.now + wait, now=self.now, **options)

    def register(self, name="inbox", policy="reject"):
        return self.session.register(name, policy, self.now + 5, self.now)

    def forget(self):
        """Drop everything sent and all outcomes. Returns itself."""
        self.session.outgoing.clear()
        self.session.outcomes.clear()
        return self


def welcomed(**options):
    """A session that is welcomed; all that it sent and reported is dropped. Options are those of Session."""
    return Harness(**options).start().welcome().forget()


def registered(**options):
    """A session that is welcomed and holds the name `inbox`: key 1, session i-1."""
    harness = welcomed(**options)
    harness.register()
    harness.receive(verbs.Registered(1, "inbox", "i-1"))
    return harness.forget()


def deliver(id="m1", session="i-1", to="inbox", sender="lead", back=OTHER, meta=Meta(1.5, 2.0), body=b'{"n":1}'):  # noqa: B008
    """A DELIVER for the endpoint of `registered`."""
    return verbs.Deliver(id, session, to, sender, back, meta, body)
