"""The systems that are compared, and how the broker of each is started, on loopback or in a directory.

The transport is a Unix socket if client and server support it, as for the fabric and the reference: redis, zenoh,
mosquitto. nats-server listens on tcp only. Brokers store nothing on disk, and their queues are unlimited, so that a peer
does not lose events because of a default for slow consumers.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Process


class Started(NamedTuple):
    """A broker that listens (None: the system needs none), and its address."""

    address: str
    process: Process | None


class System(NamedTuple):
    """A system: its client (`module:class`), the function that starts its broker, the package and program that it needs."""

    title: str
    client: str
    start: Callable[[Path], Started]
    package: str | None = None
    program: str | None = None

    def missing(self) -> str | None:
        """The reason why it cannot run here; None if it can."""
        if self.package is not None and find_spec(self.package) is None:
            return f"{self.title} is skipped: its Python client is not installed (the extra `bench` has it)."
        if self.program is not None and program(self.program) is None:
            return f"{self.title} is skipped: there is no {self.program} on this machine."
        return None


def program(name: str) -> str | None:
    """The path of a server; on Debian some are in a directory that is only in root's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def free_port() -> int:
    """A tcp port of loopback that is not in use."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _run(name: str, command: list[str | Path], directory: Path, listens: Callable[[], bool]) -> Process:
    process = Process(name, command, directory)
    try:
        process.wait_until(listens)
    except BaseException:
        process.close()
        raise
    return process


def _on_tcp(port: int) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", port)) == 0

    return listens


def _on_unix(path: Path) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as trial:
            return trial.connect_ex(str(path)) == 0

    return listens


def _fabric(directory: Path, *options: str) -> Started:
    place = directory / "fabric"
    command: list[str | Path] = [sys.executable, "-m", "proxy", "--url", f"ipc://{place}", "--settle", "0", *options]
    # The socket that is bound last.
    return Started(f"ipc://{place}", _run("proxy", command, directory, _on_unix(place / "events-in")))


def _uncounted_fabric(directory: Path) -> Started:
    return _fabric(directory, "--no-count")


def _reference(directory: Path) -> Started:
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.reference", directory]
    return Started(str(directory), _run("zmq-proxy", command, directory, _on_unix(directory / "in")))


def _router(directory: Path, *kind: str) -> Started:
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.reference_router", directory, *kind]
    return Started(str(directory), _run("router", command, directory, _on_unix(directory / "router")))


def _tuned_router(directory: Path) -> Started:
    return _router(directory, "tuned")


def _nats(directory: Path) -> Started:
    port = free_port()
    config = directory / "nats.conf"
    config.write_text(f"listen: 127.0.0.1:{port}\nmax_pending: 1GB\nwrite_deadline: 60s\n")
    command: list[str | Path] = [program("nats-server") or "nats-server", "-c", config]
    return Started(f"nats://127.0.0.1:{port}", _run("nats-server", command, directory, _on_tcp(port)))


def _redis(directory: Path) -> Started:
    place = directory / "redis.sock"
    options = f"port 0\nunixsocket {place}\ndir {directory}\nsave ''\nappendonly no\n"
    config = directory / "redis.conf"
    config.write_text(options + "client-output-buffer-limit pubsub 0 0 0\n")
    command: list[str | Path] = [program("redis-server") or "redis-server", config]
    return Started(str(place), _run("redis-server", command, directory, _on_unix(place)))


def _mosquitto(directory: Path) -> Started:
    place = directory / "mqtt.sock"
    config = directory / "mosquitto.conf"
    options = "allow_anonymous true\npersistence false\nmax_queued_messages 0\nset_tcp_nodelay true\n"
    # As root it would switch to another user, who may not write here.
    config.write_text(f"user root\nlistener 0 {place}\n{options}")
    command: list[str | Path] = [program("mosquitto") or "mosquitto", "-c", config]
    return Started(str(place), _run("mosquitto", command, directory, _on_unix(place)))


def _zenoh_peers(directory: Path) -> Started:
    return Started(f"unixsock-stream/{directory / 'zenoh.sock'}", None)


def _zenoh_router(directory: Path) -> Started:
    place = directory / "zenoh.sock"
    address = f"unixsock-stream/{place}"
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.peers_zenoh", address]
    return Started(address, _run("zenoh-router", command, directory, _on_unix(place)))


SYSTEMS: dict[str, System] = {
    "reference": System("bare pyzmq", "reference:ReferenceClient", _reference),
    "reference, locked": System("bare pyzmq", "reference:LockedReferenceClient", _reference),
    "reference, router": System("bare pyzmq", "drivers:RouterDriver", _router),
    "reference, router tuned": System("bare pyzmq", "drivers:RouterDriver", _tuned_router),
    "reference, ping": System("bare pyzmq", "reference_router:RouterRequests", _router),
    "proxy": System("the fabric", "drivers:ProxyDriver", _fabric),
    "fabric": System("the fabric", "fabric_client:FabricClient", _fabric),
    "fabric, uncounted": System("the fabric", "fabric_client:FabricClient", _uncounted_fabric),
    "nats": System("nats-py", "peers_nats:NatsClient", _nats, "nats", "nats-server"),
    "redis": System("redis-py", "peers_redis:RedisClient", _redis, "redis", "redis-server"),
    "zenoh peers": System("zenoh", "peers_zenoh:ZenohClient", _zenoh_peers, "zenoh"),
    "zenoh router": System("zenoh", "peers_zenoh:ZenohClient", _zenoh_router, "zenoh"),
    "mqtt": System("paho + mosquitto", "peers_mqtt:MqttClient", _mosquitto, "paho", "mosquitto"),
}
