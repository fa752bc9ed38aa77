"""What every system is asked to do, in the same words; and the event that all of them carry.

A worker process holds one `Client`. Each does the same work the way its library's documentation says is fastest:

    dict ─▸ JSON (orjson) ─▸ the system ─▸ JSON (orjson) ─▸ dict, handed to the callback

The reference alone carries raw bytes of the same size and touches no JSON: it is the ceiling of plain pyzmq.

Callbacks are the same objects for everybody (`Tally`, the recorders below), so what a callback costs cancels out.
A client whose callbacks run on a thread gets by with `subscribe`, `publish` and `blast`; one that lives on an event
loop overrides the rest, since it cannot publish from a plain function.
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
#: What an application hands to the fabric's `publish`, which adds type, ts and src: 200 bytes of JSON then.
PAYLOAD: Event = {**_FIELDS, "args": "x" * (SIZE - len(orjson.dumps({**_FRAME, **_FIELDS})))}
#: The same 200 bytes for systems that add nothing. It is made once: they are spared the stamping.
ENVELOPE: Event = {**_FRAME, **PAYLOAD}

#: Seconds to wait for a first answer, and between tries.
PATIENCE = 15.0
PROBE_EVERY = 0.2
#: Seconds without traffic after which earlier probes are no longer under way.
QUIET = 0.1


class Tally:
    """Counts events; the callback of the throughput rows. One thread calls it."""

    __slots__ = ("count", "last", "reached", "target")

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.expect(1)

    def expect(self, target: int) -> None:
        """Begin anew; note the time when `target` events are there."""
        self.reached.clear()
        self.count = 0
        self.target = target
        self.last = 0.0

    def __call__(self, _event: Any) -> None:
        self.count += 1
        if self.count == self.target:
            self.last = monotonic()
            self.reached.set()

    def wait(self, patience: float) -> None:
        """Until the target is reached, or nothing has come for `patience` seconds since something did."""
        seen, since = 0, monotonic() + PATIENCE
        while not self.reached.wait(0.2):
            now = monotonic()
            if self.count != seen:
                seen, since = self.count, now
                self.last = now
            elif now - since > patience:
                return


class End(ABC):
    """One process's end of one system. `options` are the case's own, and its `role`; see each client."""

    @abstractmethod
    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        """Connect."""

    def counters(self) -> dict[str, int]:
        """Losses that the library itself counts, and other counts worth reporting."""
        return {}

    def serve(self, name: str) -> None:
        """Answer every request to `name` from now on."""
        raise NotImplementedError

    def request(self, name: str, count: int) -> list[float]:
        """How long each of `count` requests takes, in seconds; the next one is made when the answer is there."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - some libraries have nothing to say when they leave
        """Disconnect."""


class Client(End):
    """An end that publishes and subscribes."""

    #: What `publish`, `blast` and the like send.
    event: Event = ENVELOPE

    @abstractmethod
    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        """Call `handle` with every event of these topics. Waits until that is live, where the library can say so."""

    @abstractmethod
    def publish(self, topic: str, event: Event) -> None:
        """Publish now; inside a callback, too."""

    @abstractmethod
    def blast(self, topics: Sequence[str], count: int) -> None:
        """Publish `count` times `event`, over `topics` in turn, in a tight loop; return when they have left."""

    # Latency. One event is under way at a time, and the callback that hears it publishes the next: no thread hop that
    # the library does not make itself.

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
        until = monotonic() + PATIENCE
        while not first.is_set():
            if monotonic() > until:
                raise TimeoutError("no ping was answered")
            self.publish(topic, self.event)
            first.wait(PROBE_EVERY)
        sleep(QUIET)
        pinging, sent = True, monotonic()
        self.publish(topic, self.event)
        if not done.wait(PATIENCE + count / 1_000):
            raise TimeoutError(f"a ping was lost: {len(times)} of {count} came back")
        return times

    def record(self, topic: str, delays: list[float]) -> None:
        """Append the age of each event of `pace` to `delays`, in the callback."""

        def heard(event: Event) -> None:
            delays.append(monotonic() - event["at"])

        self.subscribe([topic], heard)

    def pace(self, topic: str, rate: float, count: int) -> None:
        """Publish `count` events at `rate` a second, each with the moment of its publishing in `at`.

        A sleep lasts some 60 µs longer than asked for, so at high rates they leave in twos and threes; for everybody.
        """
        publish, event = self.publish, self.event
        begin = monotonic()
        for number in range(count):
            ahead = begin + number / rate - monotonic()
            if ahead > 0:
                sleep(ahead)
            publish(topic, {**event, "at": monotonic()})


def connected(client: str, address: str, options: Mapping[str, Any]) -> End:
    """Make the client named `module:class`, imported only in the process that needs it."""
    from importlib import import_module

    module, _, name = client.partition(":")
    made = getattr(import_module(f"benchmarks.{module}"), name)(address, options)
    assert isinstance(made, End)
    return made
