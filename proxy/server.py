"""The proxy's life: lock, bind, run, end. Owns the planes and all parts around them.

    lock ──▸ bind events-out ──settle──▸ bind events-in ──▸ … SIGTERM, SIGINT, or idle ──▸ planes end ──▸ unlock

The lock comes before the bind, because a second `bind` on a live ipc path succeeds and steals it. The lock is an `flock`,
so the kernel releases it however the process ends. The text in the lock file only names the holder; no process is ever
signalled because of it.

The proxy is crash-only: no state that matters is only in its memory. Nodes keep their subscriptions and names, and send
them to the next proxy when they reconnect.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from fabric.config.address import Address
from fabric.errors import AddressInUse, ProxyError
from fabric.system.autostart import answers, private_directory
from proxy import client
from proxy.collect import DEFAULT_NODES, DEFAULT_TOPICS, Collector, EventPlaneHealth
from proxy.events.plane import EventPlane
from proxy.events.retained import NOTHING, RetainedAnswer
from proxy.health.self_check import SelfCheck
from proxy.health.socket_guard import SocketGuard
from proxy.health.systemd import SystemdNotifier
from proxy.health.watchdog import Watchdog
from proxy.messages.hooks import Hooks
from proxy.messages.plane import MessagePlane
from proxy.metrics.app import Metrics
from proxy.settings import ProxySettings
from proxy.stats import ProxyStats

logger = logging.getLogger("fabric.proxy")

LOCK_NAME = "proxy.lock"
#: With fewer descriptors an ordinary load can exhaust them, and then new nodes are refused.
MIN_DESCRIPTORS = 4_096


class Server:
    """One proxy. `run` blocks until `stop` is called, from any thread or signal handler.

    `notify` reports to the service manager, if this process is a service whose purpose is the proxy.
    """

    def __init__(self, settings: ProxySettings, *, notify: SystemdNotifier | None = None) -> None:
        self.settings = settings
        self._notify = notify or SystemdNotifier()
        self.address = settings.address()
        self.boot = os.urandom(8)
        self._stopping = threading.Event()
        self._reason = "stopped"
        self._collector: Collector | None = None
        #: Probes of both planes; None until `run` serves.
        self.self_check: SelfCheck | None = None
        self._hooks = Hooks(
            settings.hooks,
            url=self.address.url,
            timeout=settings.hook_timeout,
            concurrency=int(settings.hook_concurrency),
            queue=int(settings.hook_queue),
        )

    def stop(self, reason: str = "stopped") -> None:
        """Make `run` return."""
        self._reason = reason
        self._stopping.set()

    def run(self, *, ready: Callable[[], object] = lambda: None) -> None:
        """Serve until stopped; `ready` is called when nodes can connect.

        AddressInUse if another proxy has the address, ProxyError if it cannot listen or a part of it ends by itself.
        """
        _check_exposure(self.address, self.settings.insecure)
        _raise_descriptor_limit()
        with _lock(self.address), _umask(0o077), contextlib.closing(self._make_metrics()) as metrics:
            events = self._make_event_plane()
            events.start()
            messages = self._make_message_plane(events)
            self._collector = Collector(
                self.settings,
                boot=self.boot.hex(),
                directory=messages.directory,
                events=events,
                hooks=self._hooks,
                health=self._event_plane_health,
            )
            socket_guard = SocketGuard(
                self.address, bound=events.bound.is_set, full=messages.directory.refuse_newcomers
            )
            try:
                metrics.start()
                self._hooks.start()
                messages.start()
                logger.info("listening on %s (pid %d, boot %s)", self.address.url, os.getpid(), self.boot.hex())
                metrics.ready()
                socket_guard.start()
                ready()
                self._serve(events, messages, socket_guard)
            finally:
                socket_guard.close()
                metrics.stopping()
                messages.stop()
                self._hooks.stop()
                events.stop()
        logger.info("ended: %s", self._reason)

    def _make_event_plane(self) -> EventPlane:
        return EventPlane(
            self.address,
            boot=self.boot,
            settle=self.settings.settle,
            max_bytes=self.settings.max_bytes,
            peer_bytes=self.settings.peer_bytes,
            topics=int(self.settings.topics) if self.settings.count else 0,
            retain=self.settings.retain,
            retain_topics=self.settings.retain_topics,
            retain_bytes=self.settings.retain_bytes,
        )

    def _make_message_plane(self, events: EventPlane) -> MessagePlane:
        return MessagePlane(
            self.address,
            boot=self.boot.hex(),
            timeout=self.settings.timeout,
            max_bytes=self.settings.max_bytes,
            make_announcer=lambda: events.announcer(os.urandom(8), "proxy"),
            routed=self._hooks.put if self.settings.hooks else None,
            stats=self._stats_answer,
            last=events.retainer.answer if events.retainer is not None else lambda _query: RetainedAnswer(NOTHING),
            stop=self.stop,
        )

    def stats(self, topics: int = DEFAULT_TOPICS, nodes: int = DEFAULT_NODES) -> ProxyStats:
        """The statistics record; see `proxy.stats`. Any thread, while the proxy runs; else ProxyError."""
        if self._collector is None:
            raise ProxyError("the proxy does not run")
        return self._collector.stats(topics, nodes)

    def _event_plane_health(self) -> EventPlaneHealth:
        self_check = self.self_check
        if self_check is None or self_check.known.events is None:
            return EventPlaneHealth(False, 0.0, 0.0)
        return EventPlaneHealth(
            self_check.last.events is not None, monotonic() - self_check.events_answered_at, self_check.known.events
        )

    def _make_metrics(self) -> Metrics:
        return Metrics(self.settings.metrics, self.stats, silence=self._plane_silence)

    def _plane_silence(self) -> float | None:
        self_check = self.self_check
        return None if self_check is None or not self_check.answered_at else monotonic() - self_check.answered_at

    def _stats_answer(self, query: dict[str, Any]) -> bytes:
        assert self._collector is not None  # made before the message plane starts
        return self._collector.answer(query)

    def _serve(self, events: EventPlane, messages: MessagePlane, socket_guard: SocketGuard) -> None:
        """Check the planes until `stop` is called. ProxyError if a part has ended by itself."""

        def summary() -> str:
            counts = messages.directory.stats()
            return f"{self.address.url}: nodes {counts['nodes']}, endpoints {counts['endpoints']}"

        watchdog = Watchdog(self.address, self._notify, bound=events.bound.is_set, summary=summary)
        self.self_check = watchdog.self_check
        with contextlib.closing(watchdog):
            while not self._stopping.wait(watchdog.tick()):
                if failure := events.failure or messages.failure or socket_guard.failure:
                    raise ProxyError(failure)
                if self.settings.idle_exit and messages.idle_for() >= self.settings.idle_exit:
                    self.stop(f"nobody has been here for {self.settings.idle_exit:g} s")

    def stop_on_signals(self) -> None:
        """End cleanly on SIGTERM and SIGINT, and at once on a second one. Main thread only."""

        def handle(number: int, _frame: FrameType | None) -> None:
            if self._stopping.is_set():
                os._exit(128 + number)  # the second signal: do not wait for the orderly end
            self.stop(signal.Signals(number).name)

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)


@contextlib.contextmanager
def _lock(address: Address) -> Iterator[None]:
    if address.directory is None:
        _check_free(address)
        yield
        return
    private_directory(address.directory)
    path = address.directory / LOCK_NAME
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AddressInUse(address.url, file.read().strip() or "which has not said who it is") from None
        if answers(address):
            raise AddressInUse(address.url, f"no proxy of ours, but something listens in {address.directory}")
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            _remove_sockets(address.directory)


def _check_free(address: Address) -> None:
    """A tcp port cannot be bound twice, so it needs no lock; ask before the bind, to name the proxy that has it."""
    try:
        holder = client.status(address, timeout=1.0).who
    except (client.NotRunning, client.NotReachable):
        return
    except client.NotAnswering as error:
        raise ProxyError(f"cannot listen on {address.url}: {error}") from None
    raise AddressInUse(address.url, holder)


def _remove_sockets(directory: Path) -> None:
    # Still under the lock, so they are ours. libzmq does not remove them when a context is terminated.
    for name in ("messages", "events-in", "events-out"):
        (directory / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _check_exposure(address: Address, insecure: bool) -> None:
    if address.directory is not None:
        return
    host = address.host.strip("[]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        return
    if not insecure:
        raise ProxyError(
            f"{address.url} can be reached from other machines, and anybody there could read and publish everything. "
            "Listen on 127.0.0.1, or say --insecure if the network is yours alone"
        )
    logger.warning("%s is open to everybody who can reach it: nothing is encrypted or checked", address.url)


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft != resource.RLIM_INFINITY and soft < MIN_DESCRIPTORS:
        logger.warning(
            "only %d file descriptors are allowed: some %d nodes fit, more are turned away (ulimit -n %d)",
            soft,
            soft // 4,
            MIN_DESCRIPTORS * 4,
        )
