"""Appliers and messages without a node: shared by the tests of running rules."""

import os
from types import SimpleNamespace

from fabric.errors import NoSuchEndpoint
from fabric.rules.reading.file import Rules
from fabric.rules.running.apply import Applier


class Applied:
    """Makes appliers of `rules.toml` in a folder of the test; lines that they print are in `lines`."""

    def __init__(self, directory):
        self.directory = directory
        self.lines = []
        self._made = []

    def __call__(self, text, *arguments, **options):
        path = self.directory / "rules.toml"
        path.write_text(text)
        options.setdefault("write", self.lines.append)
        self._made.append(Applier(Rules.load(path), *arguments, **options))
        return self._made[-1]

    def close(self):
        for applier in self._made:
            applier.close(0.0)
            applier.host.close()


class RecordingNode:
    """A node that records events and messages, and sends none. `gate`, if set, is waited for in `publish`."""

    url = "ipc:///run/test"

    def __init__(self):
        self.published, self.sent, self.gate = [], [], None

    def publish(self, topic, payload=None):
        if self.gate:
            self.gate.wait(10)
        self.published.append((topic, payload))

    def send(self, to, body, *, sender="", timeout=5.0):
        if to == "nobody":
            raise NoSuchEndpoint(to)
        self.sent.append((to, body, sender, timeout))
        return SimpleNamespace(wait=lambda timeout: 1)


def message(text="", **body):
    """A message from worker-1."""
    return {"type": "message", "id": "i", "from": "worker-1", "to": "lead", "ts": 0, "body": {"text": text, **body}}


def counts(applier, rule="r"):
    """The counts of a rule."""
    return applier.stats()["rules"][rule]


def read_pid(path):
    """The pid in a file that a script writes; None until it is complete."""
    text = path.read_text() if os.path.exists(path) else ""
    return int(text) if text.endswith("\n") else None
