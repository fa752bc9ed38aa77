"""Client: the interface of a system, the same for all of them; and the event that all of them carry.

A worker process holds one `Client`. Each does the same work in the way that its library's documentation calls fastest:

    dict ─▸ JSON (orjson) ─▸ the system ─▸ JSON (orjson) ─▸ dict, handed to the callback

Only the reference carries raw bytes of the same size, without JSON: it is the upper bound of plain pyzmq.

Callbacks are the same objects for all systems (`Tally`, the recorders below), so their cost cancels out. A client whose
callbacks run on a thread implements `subscribe`, `publish` and `blast`; one that runs on an event loop overrides the other
methods as well, because it cannot publish from a plain function.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any

import orjson

Event = dict[str, Any]
Handle = Callable[[Any], None]

TOPIC = "tui.tool.start"
SIZE = 200
_FRAME: Event = {"type": TOPIC, "ts": 1_700_000_000.123_456, "src": "tui"}
_FIELDS: Event = {"name": "grep", "n": 1, "session_id": "abcdefgh", "args": ""}
#: The payload for the fabric's `publish`, which adds type, ts and src: 200 bytes of JSON then.
PAYLOAD: Event = {**_FIELDS, "args": "x" * (SIZE - len(orjson.dumps({**_FRAME, **_FIELDS})))}
#: The same 200 bytes for systems that add nothing; made once, without the cost of stamping.
ENVELOPE: Event = {**_FRAME, **PAYLOAD}

#: Seconds to wait for a first answer, and between probes.
TIMEOUT = 15.0
PROBE_INTERVAL = 0.2
#: Seconds without traffic after which no earlier probe is in flight any more.
QUIET_PERIOD = 0.1


class Tally:
    """Counts events; the callback of the throughput rows. One thread calls it."""

    __slots__ = ("count", "last", "reached", "target")

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.expect(1)

    def expect(self, target: int) -> None:
        """Count from 0; note the time when `target` events have arrived."""
        self.reached.clear()
        self.count = 0
        self.target = target
        self.last = 0.0

    def __call__(self, _event: Any) -> None:
        self.count += 1
        if self.count == self.target:
            self.last = monotonic()
            self.reached.set()

    def wait(self, idle_timeout: float) -> None:
        """Wait until the target is reached, or no event has arrived for `idle_timeout` seconds after the first."""
        seen, since = 0, monotonic() + TIMEOUT
        while not self.reached.wait(0.2):
            now = monotonic()
            if self.count != seen:
                seen, since = self.count, now
                self.last = now
            elif now - since > idle_timeout:
                return


class End(ABC):
    """A process's connection to a system. `options` are those of the case, and its `role`; see each client."""

    @abstractmethod
    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        """Connect."""

    def counters(self) -> dict[str, int]:
        """Losses that the library counts, and other counts for the report."""
        return {}

    def serve(self, name: str) -> None:
        """Answer every request to `name` from now on."""
        raise NotImplementedError

    def request(self, name: str, count: int) -> list[float]:
        """Durations of `count` requests, in seconds; each is made after the answer to the one before."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - some libraries need no call to disconnect
        """Disconnect."""


class Client(End):
    """An end that publishes and subscribes."""

    #: The event that `publish`, `blast` and the others send.
    event: Event = ENVELOPE

    @abstractmethod
    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        """Call `handle` with every event of these topics. Waits until the subscription is live, if the library can tell."""

    @abstractmethod
    def publish(self, topic: str, event: Event) -> None:
        """Publish now; inside a callback, too."""

    @abstractmethod
    def blast(self, topics: Sequence[str], count: int) -> None:
        """Publish `event` `count` times, on `topics` in turn, in a tight loop; return when all have left the process."""

    # Latency. One event is in flight at a time, and the callback that receives it publishes the next one: no other thread
    # hops than those of the library.

    def answer(self, topic: str, reply: str) -> None:
        """Publish an event on `reply` for each that comes on `topic`, in the callback."""

        def heard(_event: Any) -> None:
            self.publish(reply, self.event)

        self.subscribe([topic], heard)

    def ping(self, topic: str, reply: str, count: int) -> list[float]:
        """The round trips of `count` events that are answered on `reply`, in seconds."""
        times: list[float] = []
        done, first = threading.Event(), threading.Event()
        pinging, sent = False, 0.0

        def heard(_event: Any) -> None:
            nonlocal sent
            now = monotonic()
            if not pinging:
                first.set()
                return
            times.append(now - sent)
            if len(times) == count:
                done.set()
                return
            sent = monotonic()
            self.publish(topic, self.event)

        self.subscribe([reply], heard)
        until = monotonic() + TIMEOUT
        while not first.is_set():
            if monotonic() > until:
                raise TimeoutError("no ping was answered")
            self.publish(topic, self.event)
            first.wait(PROBE_INTERVAL)
        sleep(QUIET_PERIOD)
        pinging, sent = True, monotonic()
        self.publish(topic, self.event)
        if not done.wait(TIMEOUT + count / 1_000):
            raise TimeoutError(f"a ping was lost: {len(times)} of {count} came back")
        return times

    def record(self, topic: str, delays: list[float]) -> None:
        """Append the age of each event of `pace` to `delays`, in seconds, in the callback."""

        def heard(event: Event) -> None:
            delays.append(monotonic() - event["at"])

        self.subscribe([topic], heard)

    def pace(self, topic: str, rate: float, count: int) -> None:
        """Publish `count` events at `rate` a second, each with the time of its publishing in `at`.

        A sleep takes some 60 µs longer than asked for, so at high rates events leave in groups of two or three, with all
        systems.
        """
        publish, event = self.publish, self.event
        begin = monotonic()
        for number in range(count):
            ahead = begin + number / rate - monotonic()
            if ahead > 0:
                sleep(ahead)
            publish(topic, {**event, "at": monotonic()})


def connected(client: str, address: str, options: Mapping[str, Any]) -> End:
    """Make the client `module:class`, which only the process that needs it imports."""
    from importlib import import_module

    module, _, name = client.partition(":")
    made = getattr(import_module(f"benchmarks.{module}"), name)(address, options)
    assert isinstance(made, End)
    return made
