"""Rules at work, without a node: what the tests of running and of applying share."""

import os

from fabric.rules.reading.file import Rules
from fabric.rules.running.apply import Applier


class Applied:
    """Appliers of files in a folder of the test's own."""

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


def message(text="", **body):
    """A message from worker-1."""
    return {"type": "message", "id": "i", "from": "worker-1", "to": "lead", "ts": 0, "body": {"text": text, **body}}


def counts(applier, rule="r"):
    """What was counted of a rule."""
    return applier.stats()["rules"][rule]


def read_pid(path):
    """The pid that a script has written, once it has."""
    text = path.read_text() if os.path.exists(path) else ""
    return int(text) if text.endswith("\n") else None
