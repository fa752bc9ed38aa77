"""Sessions and a directory joined by lists; the test breaks processes, pipes and clocks between any two steps.

    Session.outgoing ─▸ pipe ─▸ wire ─▸ Directory ─▸ wire ─▸ inbox ─▸ Session
                        └ the DEALER's: outlive the link ┘ └ wires do not ┘

As with ZeroMQ a DEALER keeps what it has not written and what it has read when its link is lost, a ROUTER gives every
connection a new routing id, and what is on the wire is lost, from some point on.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.messages.session.outcomes import Arrived, CallFailed, Delivered
from fabric.messages.session.session import Session
from fabric.protocol.bodies import encode_body
from fabric.protocol.verbs import BYE, SEND
from proxy.messages.directory import Directory

TIMEOUT = 15.0


class Process:
    """A node: a session, its DEALER, and a handler that records its messages."""

    def __init__(self, fabric: Fabric, name: str, origin: bytes) -> None:
        self.fabric = fabric
        self.session = Session(name, origin)
        self.pipe: deque[list[bytes]] = deque()
        self.inbox: deque[list[bytes]] = deque()
        self.up: deque[list[bytes]] = deque()
        self.down: deque[list[bytes]] = deque()
        self.peer = b""
        self.stopped = False
        self.killed = False
        self.outcomes: list[Any] = []
        self.handled: list[Arrived] = []
        self.answer: bytes | None = None
        self.accepts = True

    def work(self) -> bool:
        """Read one message, act on its outcomes, and queue the answers."""
        if self.stopped or self.killed:
            return False
        busy = bool(self.inbox)
        if self.inbox:
            self.session.receive(self.inbox.popleft(), self.fabric.now)
        return self.act() or busy

    def act(self) -> bool:
        busy = bool(self.session.outcomes) or bool(self.session.outgoing)
        while self.session.outcomes:
            outcome = self.session.outcomes.popleft()
            self.outcomes.append(outcome)
            if isinstance(outcome, Arrived) and self.accepts:
                self.handled.append(outcome)
                self.session.accept(outcome)
                if outcome.request and self.answer is not None:
                    self.session.reply(outcome, self.answer)
        while self.session.outgoing:
            self.pipe.append(self.session.outgoing.popleft())
        return busy

    def of(self, kind: type) -> list[Any]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, kind)]

    def fate(self, id: str) -> list[Any]:
        """The outcomes of a message that this process sent."""
        return [
            outcome for outcome in self.outcomes if isinstance(outcome, Delivered | CallFailed) and outcome.id == id
        ]

    def ids(self) -> list[str]:
        return [arrived.id for arrived in self.handled]

    def send(self, id: str, to: str, *, wait: float = 5.0, **options: Any) -> None:
        now = self.fabric.now
        body = encode_body({"text": id}, 10_000)
        self.session.send(id, to, body, ts=1.0, deadline=now + wait, now=now, **options)
        self.act()

    def register(self, name: str, policy: str = "reject", wait: float = 5.0) -> int:
        key = self.session.register(name, policy, self.fabric.now + wait, self.fabric.now)
        self.act()
        return key

    def connect(self) -> None:
        """The DEALER gets through to the proxy."""
        if not self.peer and self.fabric.directory is not None and not self.killed:
            self.peer = self.fabric.new_peer()
            self.fabric.peers[self.peer] = self

    def cut(self, arrived: int = 0) -> None:
        """The link breaks; of the messages that the proxy had written, the first `arrived` are in our socket already."""
        self.fabric.peers.pop(self.peer, None)
        self.peer = b""
        for _ in range(min(arrived, len(self.down))):
            self.inbox.append(self.down.popleft())
        self.up.clear()
        self.down.clear()

    def kill(self) -> None:
        self.cut()
        self.killed = True


class Fabric:
    """One clock, at most one proxy, any number of processes."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.epoch = 1_700_000_000.0
        self.boots = 0
        self.connections = 0
        self.directory: Directory | None = None
        self.processes: list[Process] = []
        self.peers: dict[bytes, Process] = {}
        self.announced: list[tuple[str, dict[str, Any]]] = []
        self.busy: set[Process] = set()
        self.start_proxy()

    # The proxy

    def start_proxy(self) -> None:
        self.boots += 1
        self.directory = Directory(f"boot{self.boots}", self.now, epoch=self.epoch, timeout=TIMEOUT)
        for process in self.processes:
            process.connect()

    def kill_proxy(self, arrived: int = 0) -> None:
        """kill -9: messages that it had read, and its unwritten answers, are lost."""
        self.directory = None
        for process in self.processes:
            process.cut(arrived)

    def restart_proxy(self, arrived: int = 0) -> None:
        self.kill_proxy(arrived)
        self.start_proxy()

    @property
    def proxy(self) -> Directory:
        assert self.directory is not None
        return self.directory

    def new_peer(self) -> bytes:
        self.connections += 1
        return b"\0%04d" % self.connections

    def join(self, name: str) -> Process:
        """A new process, connected and welcomed if there is a proxy."""
        process = Process(self, name, b"%08d" % len(self.processes))
        self.processes.append(process)
        process.session.start(self.now)
        process.connect()
        self.settle()
        return process

    # Steps

    def write(self, process: Process) -> bool:
        """One message from a DEALER's pipe onto the wire."""
        if not process.peer or not process.pipe:
            return False
        process.up.append(process.pipe.popleft())
        return True

    def route(self, process: Process) -> bool:
        """The proxy reads one message of this process, and writes its answers."""
        if self.directory is None or not process.up:
            return False
        self.directory.receive(process.peer, process.up.popleft(), self.now)
        self.flush()
        return True

    def flush(self) -> None:
        directory = self.proxy
        while directory.outgoing:
            peer, frames = directory.outgoing.popleft()
            process = self.peers.get(peer)
            if process is None:
                directory.undeliverable(peer, frames, "gone", self.now)
            elif process in self.busy:
                directory.undeliverable(peer, frames, "busy", self.now)
            else:
                process.down.append(frames)
        while directory.announcements:
            self.announced.append(directory.announcements.popleft())

    def read(self, process: Process) -> bool:
        """One message from the wire into a DEALER."""
        if not process.down:
            return False
        process.inbox.append(process.down.popleft())
        return True

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass in one step; proxy and processes run at its end only."""
        self.now += seconds
        if self.directory is not None:
            self.directory.tick(self.now)
            self.flush()
        for process in self.processes:
            if not process.stopped and not process.killed:
                process.session.tick(self.now)
                process.act()

    def settle(self) -> None:
        """Run until no message moves."""
        moving = True
        while moving:
            moving = False
            for process in self.processes:
                moving |= process.work() | self.write(process) | self.route(process) | self.read(process)

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass step by step, settled in between."""
        end = self.now + seconds
        while self.now < end:
            self.settle()
            self.tick(min(step, end - self.now))
        self.settle()

    def topics(self) -> list[str]:
        return [topic for topic, _ in self.announced]


__all__ = ["BYE", "SEND", "TIMEOUT", "Fabric", "Process"]
