"""A service manager for tests: its socket, and processes started as a unit file says."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from fabric.testing import wait_until

ROOT = Path(__file__).parents[2]


class Manager:
    """The part of systemd that a service sees: $NOTIFY_SOCKET, $WATCHDOG_USEC, SIGTERM."""

    def __init__(self, directory):
        self.directory = directory
        self.path = f"{directory}/notify"
        self.heard = []
        self.started = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self):
        while word := self._socket.recv(4_096):
            self.heard.append(word.decode())

    def start(self, *command, watchdog=0.3, **environment):
        """Start a service; its output is collected."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FABRIC_")}
        variables = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(int(watchdog * 1_000_000))}
        process = subprocess.Popen(
            command,
            cwd="/",
            env=clean | {"PYTHONPATH": str(ROOT)} | variables | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def proxy(self, *before, url=None, settle=0.0, **options):
        """Start a proxy, behind the command `before`."""
        arguments = ["-P", "-m", "proxy", "--url", url or f"ipc://{self.directory}/proxy", "--settle", str(settle)]
        return self.start(*before, sys.executable, *arguments, **options)

    def wait_for(self, word, after=0):
        """Wait for a line that begins with `word` after the first `after` lines; the number of lines up to it."""
        return wait_until(
            lambda: next((n for n, said in enumerate(self.heard[after:], after + 1) if said.startswith(word)), 0),
            what=f"{word} is said",
        )

    def stop(self, process):
        """Send SIGTERM; the exit status and the output."""
        process.terminate()
        text, _ = process.communicate(timeout=20)
        return process.returncode, text

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(b"", self.path)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager():
    """A service manager for one test."""
    directory = tempfile.mkdtemp(prefix="fabric-")
    manager = Manager(directory)
    yield manager
    manager.close()
    shutil.rmtree(directory)
