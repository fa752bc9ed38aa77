"""pytest plugin: fixtures for buses, nodes and proxies, which are closed after the test; and functions to wait with.

pytest loads this module by itself (the entry point `event-fabric`), so the fixtures need no import.

    def test_the_gateway_says_that_it_started(fabric_memory):
        watcher, gateway = fabric_memory.node("watcher"), fabric_memory.node("gateway")
        started = watcher.capture("gateway.started")
        gateway.publish("gateway.started", {"port": 8080})
        assert started.wait(1)[0]["port"] == 8080

    fixture         is
    fabric_bus      a `Bus` of its own, cleared after the test
    fabric_memory   an `InMemoryFabric`: nodes without proxy and sockets, in milliseconds; closed after the test
    fabric_proxy    a real proxy, in a process and a directory of its own: `.url` `.log` `.kill()` `.restart()` `.stop()`
    fabric_node     a function that makes connected nodes, each with a bus of its own, and closes them after the test:
                    `fabric_node(name, url=…, ready=False, **settings)`; without `url` at `fabric_proxy`

`fabric_memory` is for unit tests of code that publishes, subscribes or answers. `fabric_proxy` and `fabric_node` are for
tests of processes and failures; a real proxy starts in a tenth of a second. See `docs/testing.md`. Tests wait for other
threads and processes with `wait_until(condition)`, and never sleep.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Protocol, TypeVar

import pytest

from fabric.bus.bus import Bus
from fabric.config.address import parse_address
from fabric.node.connect import connect
from fabric.node.node import Node
from fabric.testing.memory import InMemoryFabric

__all__ = [
    "InMemoryFabric",
    "MakeNode",
    "ProxyProcess",
    "await_until",
    "fabric_bus",
    "fabric_memory",
    "fabric_node",
    "fabric_proxy",
    "wait_until",
]

#: Seconds after which a test fails; on an idle machine the conditions take milliseconds.
DEADLINE = 10.0
#: Seconds between checks of a condition.
_POLL_INTERVAL = 0.002
#: In the line that a proxy logs when it accepts messages.
_LISTENING = "listening on"

_Value = TypeVar("_Value")


def wait_until(condition: Callable[[], _Value], deadline: float = DEADLINE, what: str = "") -> _Value:
    """Call `condition` until it returns a true value, and return that; AssertionError after `deadline` seconds.

    `what` describes the condition in the error. Other threads run meanwhile; in a coroutine use `await_until`.
    """
    until = monotonic() + deadline
    while not (value := condition()):
        if monotonic() > until:
            raise AssertionError(_too_late(condition, deadline, what, value))
        sleep(_POLL_INTERVAL)
    return value


async def await_until(condition: Callable[[], _Value], deadline: float = DEADLINE, what: str = "") -> _Value:
    """The awaitable twin of `wait_until`: the event loop runs meanwhile."""
    import asyncio  # every pytest run imports this module where the fabric is installed

    until = monotonic() + deadline
    while not (value := condition()):
        if monotonic() > until:
            raise AssertionError(_too_late(condition, deadline, what, value))
        await asyncio.sleep(_POLL_INTERVAL)
    return value


def _too_late(condition: Callable[[], object], deadline: float, what: str, value: object) -> str:
    what = what or getattr(condition, "__qualname__", repr(condition))
    return f"still {value!r} after {deadline:g} s: {what}"


class ProxyProcess:
    """A real proxy in a process of its own, with a private directory that `close` removes. Also a context manager.

    `url`: its address, by default one in that directory. `settings` are those of the proxy.
    """

    def __init__(self, url: str | None = None, **settings: object) -> None:
        # Not below pytest's tmp_path: the path of a socket has 107 bytes at most.
        self.directory = Path(tempfile.mkdtemp(prefix="fabric-"))
        self.url = url or f"ipc://{self.directory / 'proxy'}"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Its log, of all its lives."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """Its process id. RuntimeError if it is not running."""
        if self._process is None:
            raise RuntimeError("this proxy is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, settle: float = 0.0) -> None:
        """Start it, and wait until publishers and subscribers can connect. `settle` as in the proxy's settings.

        RuntimeError if it runs already, or ends at once; AssertionError if it does not listen in time.
        """
        if self.running:
            raise RuntimeError("this proxy is running already")
        # Its stdin is closed when this process ends, however it ends, and then the proxy ends.
        command = [sys.executable, "-P", "-m", "proxy", "--end-with-stdin", "--url", self.url, "--settle", str(settle)]
        # Without the settings of the user who runs the tests.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FABRIC_")}
        environment |= {f"FABRIC_{name.upper()}": str(value) for name, value in self._settings.items()}
        lives = self.log.count(_LISTENING)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd="/", env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        wait_until(lambda: self._listens(lives) or not self.running, 15.0, f"the proxy at {self.url} listens")
        if not self.running:
            raise RuntimeError(f"the proxy at {self.url} ended at once:\n{self.log}")

    def _listens(self, lives: int) -> bool:
        if self.log.count(_LISTENING) == lives:
            return False
        address = parse_address(self.url)
        try:
            # Events-in is bound last, after the settle time.
            if address.directory is None:
                socket.create_connection((address.host.strip("[]"), address.port + 1), timeout=1.0).close()
                return True
            with socket.socket(socket.AF_UNIX) as trial:
                trial.connect(str(address.directory / "events-in"))
        except OSError:
            return False
        return True

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP and SIGCONT. After a SIGSTOP, wait until all its threads have stopped."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            wait_until(self._has_stopped, what=f"the proxy at {self.url} stops")

    def _has_stopped(self) -> bool:
        tasks = Path(f"/proc/{self.pid}/task")
        states = [path.read_text().rpartition(")")[2].split()[0] for path in tasks.glob("*/stat")]
        return all(state in "TZ" for state in states)

    def kill(self) -> None:
        """End it like a crash (SIGKILL): its state is lost, its socket files stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close_stdin()

    def stop(self, timeout: float = 10.0) -> int:
        """End it like a service manager (SIGTERM), and return its exit status."""
        if self._process is None:
            raise RuntimeError("this proxy is not running")
        if self.running:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        status = self._process.wait(timeout)
        self._close_stdin()
        return status

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def restart(self, *, settle: float = 0.3) -> None:
        """Kill it if it runs, and start it at the same address, with the settle time in which nodes reconnect."""
        self.kill()
        self.start(settle=settle)

    def close(self) -> None:
        """End it, and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> ProxyProcess:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class MakeNode(Protocol):
    """The type of the fixture `fabric_node`: a function that makes nodes."""

    def __call__(
        self,
        name: str | None = None,
        *,
        url: str | None = None,
        bus: Bus | None = None,
        ready: bool = True,
        **settings: Any,
    ) -> Node:
        """Make a node that is connected and, unless `ready` is False, ready."""


@pytest.fixture
def fabric_bus() -> Iterator[Bus]:
    """A local bus of its own."""
    bus = Bus()
    yield bus
    bus.clear()


@pytest.fixture
def fabric_memory() -> Iterator[InMemoryFabric]:
    """A fabric inside this process: `fabric_memory.node("name")` makes its nodes, which are closed after the test.

    `.cut(name)` and `.heal(name)` break and restore links, `.restart()` restarts the proxy. `.connect` replaces
    `fabric.connect` in the code under test: `monkeypatch.setattr(fabric, "connect", fabric_memory.connect)`.
    """
    with InMemoryFabric() as memory:
        yield memory


@pytest.fixture
def fabric_proxy() -> Iterator[ProxyProcess]:
    """A real proxy in a process of its own, running, at a private address: `.url`. It ends with the test.

    `.kill()` crashes it, `.restart()` starts it again at the same address, `.log` is the text of its log.
    """
    proxy = ProxyProcess()
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.close()


@pytest.fixture
def fabric_node(request: pytest.FixtureRequest) -> Iterator[MakeNode]:
    """A function that makes nodes: `fabric_node("gateway")` is connected to `fabric_proxy`, and ready.

    Each has a bus of its own, so that one test can act as several processes. They are closed after the test, the last one
    first. `url` names another proxy, `bus` another bus. `ready=False` returns without waiting, which is necessary on the
    thread of a running event loop (`await node.ready()` there). Further keywords are fields of `fabric.Settings`.
    """
    made: list[Node] = []

    def close() -> None:
        while made:
            made.pop().close()

    def make(
        name: str | None = None, *, url: str | None = None, bus: Bus | None = None, ready: bool = True, **settings: Any
    ) -> Node:
        if url is None:
            url = request.getfixturevalue("fabric_proxy").url
            request.node.addfinalizer(close)  # runs before the proxy ends, which this call may have started
        node = connect(name, url=url, bus=Bus() if bus is None else bus, autostart=False, **settings)
        made.append(node)
        if ready:
            node.wait_ready(DEADLINE)
        return node

    yield make
    close()
