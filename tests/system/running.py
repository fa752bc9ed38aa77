"""Other processes, told what to do by a test."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

PEER = Path(__file__).parent / "peer.py"


class Program:
    """A Python program that answers each line of JSON with one; `program("verb", key=value)` asks.

    `prefix` is a command that runs it, such as `nsenter` and its options.
    """

    def __init__(self, *arguments, script=PEER, prefix=(), env=None):
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(script), *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.errors = ""
        self._lines = SimpleQueue()
        self._readers = [threading.Thread(target=self._read_answers), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_answers(self):
        for line in self.process.stdout:
            self._lines.put(line)

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors += line.decode(errors="replace")

    def __call__(self, verb, **arguments):
        self.tell(verb, **arguments)
        return self.answer(verb)

    def tell(self, verb, **arguments):
        """Ask without waiting for the answer."""
        self.process.stdin.write(json.dumps({"do": verb, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, verb="", timeout=30):
        """The next answer."""
        try:
            return json.loads(self._lines.get(timeout=timeout))
        except Empty:
            raise AssertionError(f"no answer to {verb!r}; its stderr:\n{self.errors}") from None

    def end(self, timeout=10):
        """Close its input, and wait until it has ended; its exit status."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        status = self.process.wait(timeout)
        self._join()
        return status

    def kill(self):
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self._join()

    def _join(self):
        for reader in self._readers:
            reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
