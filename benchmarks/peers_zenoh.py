"""eclipse-zenoh: Rust sessions with a Python API, over a Unix socket; as peers (no broker) and through a router.

Fast path: a declared publisher per key, and a Python callback on the subscriber. `CongestionControl.BLOCK`, so that it
waits instead of dropping. Throughput rows use its batching; latency rows use `express`, which sends at once. Scouting is
off: both ends get the address. PyPI has no zenohd, so the router is a session in router mode in a process of its own
(`python -m benchmarks.peers_zenoh ADDRESS`), in which no Python runs per event.

Options: `mode`: "peer" or "client" (of the router); `express`.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import zenoh
from orjson import dumps, loads

from benchmarks.client import Client, Event, Handle


class ZenohClient(Client):
    """One session. A topic's dots become slashes, `**` stays."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        mode = options["mode"]
        # Of two peers the subscriber listens, because it starts first.
        listens = mode == "peer" and options["role"] == "subscriber"
        self._session = _open(mode, address, listen=listens)
        self._express = bool(options.get("express"))
        self._publishers: dict[str, zenoh.Publisher] = {}
        self._subscribers: list[zenoh.Subscriber[None]] = []

    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        def heard(sample: zenoh.Sample) -> None:
            handle(loads(sample.payload.to_bytes()))

        self._subscribers += [self._session.declare_subscriber(_key(topic), heard) for topic in topics]

    def _publisher(self, topic: str) -> zenoh.Publisher:
        if topic not in self._publishers:
            self._publishers[topic] = self._session.declare_publisher(
                _key(topic), congestion_control=zenoh.CongestionControl.BLOCK, express=self._express
            )
        return self._publishers[topic]

    def publish(self, topic: str, event: Event) -> None:
        (self._publishers.get(topic) or self._publisher(topic)).put(dumps(event))

    def blast(self, topics: Sequence[str], count: int) -> None:
        event = self.event
        for put in islice(cycle([self._publisher(topic).put for topic in topics]), count):
            put(dumps(event))

    def close(self) -> None:
        self._session.close()


def _key(topic: str) -> str:
    return topic.replace(".", "/")


def _open(mode: str, address: str, *, listen: bool) -> zenoh.Session:
    config = zenoh.Config()
    settings: dict[str, Any] = {
        "mode": mode,
        "listen/endpoints": [address] if listen else [],
        "connect/endpoints": [] if listen else [address],
        "scouting/multicast/enabled": False,
    }
    for name, value in settings.items():
        config.insert_json5(name, json.dumps(value))
    return zenoh.open(config)


def main(address: str) -> None:
    """Run the router, until killed."""
    with _open("router", address, listen=True):
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
