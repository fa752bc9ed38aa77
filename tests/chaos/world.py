"""A fabric of real processes to do harm to: a proxy that is started again whenever it ends, and workers around it.

World    proxy ◂── Supervisor (a thread) starts it again
         workers by name, each in its present life; `revive` begins the next
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from time import monotonic

from fabric.config.address import parse_address
from fabric.testing import ProxyProcess, wait_until
from tests.chaos.network import HERE, Far
from tests.system.running import Program

WORKER = Path(__file__).parent / "worker.py"
#: Seconds between the end of a proxy and its next start: a service manager's are like that.
PAUSE = 0.2
#: Seconds that a socket file may be missing before the supervisor starts the proxy anew.
MISSING = 3.0
SOCKETS = ("messages", "events-in", "events-out")


class Supervisor:
    """Starts the proxy, and starts it again when it has ended: whatever a service manager would do."""

    def __init__(self, proxy):
        self.proxy = proxy
        #: Times it was started again, and why it had to be ended for that.
        self.restarts = 0
        self.ended = []
        self.problems = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.proxy.start()
        self._thread.start()

    def _run(self):
        missing_since = None
        while not self._closing.wait(0.05):
            try:
                if not self.proxy.running:
                    missing_since = None
                    if self._closing.wait(PAUSE):
                        return
                    self.proxy.start(settle=0.3)
                    self.restarts += 1
                elif not self._has_its_sockets():
                    missing_since = missing_since or monotonic()
                    if monotonic() - missing_since > MISSING:
                        self.ended.append("its sockets were gone")
                        self.proxy.kill()
                else:
                    missing_since = None
            except (AssertionError, RuntimeError, OSError) as error:
                self.problems.append(str(error))  # it was killed while it started: it will be started again

    def _has_its_sockets(self):
        directory = parse_address(self.proxy.url).directory
        return directory is None or all((directory / name).exists() for name in SOCKETS)

    def close(self):
        self._closing.set()
        if self.proxy.running:
            self.proxy.signal(signal.SIGCONT)
        self._thread.join()
        self.proxy.close()


class Life:
    """One process of a worker."""

    def __init__(self, program, begun):
        self.program = program
        self.begun = begun
        self.origin = ""
        self.stopped = False

    def __call__(self, verb, **arguments):
        answer = self.program(verb, **arguments)
        if "error" in answer:
            raise AssertionError(f"{verb}: {answer['error']}")
        return answer

    def signal(self, number):
        os.kill(self.program.pid, number)
        self.stopped = number == signal.SIGSTOP


class World:
    """`far` is the other machine of a private network; with it every second worker lives there."""

    def __init__(self, *, far=False, **settings):
        self.far = Far() if far else None
        try:
            self.proxy = ProxyProcess(**self._at(), idle_exit=30, **settings)
            self.supervisor = Supervisor(self.proxy)
        except BaseException:
            self._close_network()
            raise
        #: Present lives by name, and how each worker was started.
        self.lives = {}
        self._recipes = {}
        #: Events of a burst; workers that no fault hits.
        self.burst = 0
        self.spared = ()
        #: Lives that were killed: (name, life).
        self.killed = []

    def _at(self):
        return {"url": f"tcp://{HERE}:7400", "insecure": True} if self.far else {}

    def add(self, name, begin, kind="thread", far=False, **settings):
        """A worker; `begin(life)` tells each of its lives what to do."""
        self._recipes[name] = (begin, kind, far and self.far is not None, settings)
        return self.revive(name)

    def revive(self, name):
        """The next life of a worker."""
        begin, kind, far, settings = self._recipes[name]
        prefix = self.far.prefix if far else ()
        program = Program(self.proxy.url, name, kind, json.dumps(settings), script=WORKER, prefix=prefix)
        life = self.lives[name] = Life(program, monotonic())
        begin(life)
        return life

    def kill(self, name):
        """Its life ends at once."""
        life = self.lives.pop(name)
        self.killed.append((name, life))
        life.program.kill()
        return life

    def named(self, kind):
        """Names that begin with `kind`, sorted."""
        return sorted(name for name in self._recipes if name.startswith(kind))

    def newcomer_gets_in(self):
        """Whether somebody new reaches all the sockets now."""
        address = parse_address(self.proxy.url)
        try:
            for number, name in enumerate(SOCKETS):
                if address.directory is None:
                    socket.create_connection((address.host, address.port + number), timeout=1.0).close()
                else:
                    with socket.socket(socket.AF_UNIX) as trial:
                        trial.settimeout(1.0)
                        trial.connect(str(address.directory / name))
        except OSError:
            return False
        return True

    def victims(self, *kinds):
        """Those that a fault may hit, sorted."""
        return [name for kind in kinds for name in self.named(kind) if name not in self.spared]

    def wait_for_proxy(self, deadline=20.0):
        """Until it runs, and lets people in."""
        wait_until(lambda: self.proxy.running and self.newcomer_gets_in(), deadline, "the proxy is back")

    def close(self):
        """Everything ends, whatever state it is in."""
        for life in self.lives.values():
            life.program.kill()
        self.lives.clear()
        self.supervisor.close()
        self._close_network()

    def _close_network(self):
        if self.far is not None:
            self.far.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
