"""A directory without sockets: messages in by peer, answers by peer out, and a clock that the test moves."""

from __future__ import annotations

from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Meta
from proxy.messages.directory import Directory

EPOCH = 1_700_000_000.0


class Proxy:
    """A directory, and the messages that it has sent to each peer."""

    def __init__(self, **options):
        self.now = 100.0
        self.directory = Directory("boot", self.now, epoch=EPOCH, **options)
        self.boxes: dict[bytes, list] = {}

    def say(self, peer, *messages):
        for message in messages:
            self.raw(peer, verbs.encode(message))
        return self

    def raw(self, peer, frames):
        """`peer` sends these frames."""
        self.directory.receive(peer, frames, self.now)
        self.deliver()

    def deliver(self):
        """Move the directory's answers into the boxes of their peers."""
        while self.directory.outgoing:
            peer, frames = self.directory.outgoing.popleft()
            self.boxes.setdefault(peer, []).append(verbs.decode_for_node(frames))

    def lose(self, peer, message, why):
        """`peer` says `message`, and the first answer cannot be sent."""
        self.directory.receive(peer, verbs.encode(message), self.now)
        self.directory.undeliverable(*self.directory.outgoing.popleft(), why, self.now)
        self.deliver()

    def heard(self, peer):
        """All messages to this peer since the last call."""
        return self.boxes.pop(peer, [])

    def tick(self, seconds):
        self.now += seconds
        self.directory.tick(self.now)
        self.deliver()

    def announced(self):
        """All announcements since the last call, as (topic, payload)."""
        events = list(self.directory.announcements)
        self.directory.announcements.clear()
        return events

    def topics(self):
        return [topic for topic, _ in self.announced()]


def origin(peer):
    return peer.ljust(8, b".")


def hello(peer, attempt=1):
    return verbs.Hello(1, attempt, Identity(peer.decode(), origin(peer), 7, "host", "app"))


def send(to, session, sender="anonymous:a", id="m1", meta=Meta(1.0, 5.0), body=b"{}"):  # noqa: B008 - a NamedTuple
    return verbs.Send(id, to, session, sender, meta, body)
