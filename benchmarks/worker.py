"""Program of the publisher's and the subscriber's process: `python -m benchmarks.worker`, which answers the harness.

    stdin   ["expect", {"count": 1000}]        stdout  {"answer": …}  or  {"error": "…"}

A worker measures its own CPU time (getrusage, all threads) from `expect` to the last event, or from the start of `blast`
until all events have left. Times are `time.monotonic()`, which is the same clock in all processes of a Linux machine.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage
from time import monotonic, sleep
from typing import Any

import orjson

from benchmarks import contention, local
from benchmarks.client import QUIET_PERIOD, End, Tally, connected
from benchmarks.spreads import percentiles


class Worker:
    """The answers to the harness: every public method is a question."""

    def __init__(self) -> None:
        self._client: End | None = None
        self._tally = Tally()
        self._delays: list[float] = []
        self._cpu_at = 0.0

    @property
    def _system(self) -> Any:
        if self._client is None:
            raise RuntimeError("asked before `open`")
        return self._client

    def open(self, client: str, address: str, options: dict[str, Any]) -> None:
        """Connect to a system."""
        self._client = connected(client, address, options)

    def counters(self) -> dict[str, int]:
        """The counters of the library."""
        return dict(self._system.counters())

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return _cpu()

    # Throughput

    def tally(self, topics: list[str]) -> None:
        """Subscribe, and count the events."""
        self._system.subscribe(topics, self._tally)

    def expect(self, count: int) -> None:
        """Count from 0."""
        self._tally.expect(count)
        self._cpu_at = _cpu()

    def heard(self, timeout: float) -> bool:
        """Whether the first expected event arrives within `timeout` seconds."""
        return self._tally.reached.wait(timeout)

    def settle(self) -> int:
        """Wait until no more events arrive; the number of those since `expect`."""
        while True:
            count = self._tally.count
            sleep(QUIET_PERIOD)
            if count == self._tally.count:
                return count

    def wait(self, idle_timeout: float) -> dict[str, Any]:
        """Wait for the expected events: their number, the time of the last one, and CPU seconds since `expect`."""
        self._tally.wait(idle_timeout)
        return {"count": self._tally.count, "last": self._tally.last, "cpu": _cpu() - self._cpu_at}

    def publish(self, topic: str) -> None:
        """Publish one event."""
        self._system.publish(topic, self._system.event)

    def blast(self, topics: list[str], count: int) -> dict[str, float]:
        """Publish in a tight loop: the time of its start, seconds until all have left, and CPU seconds."""
        cpu, first = _cpu(), monotonic()
        self._system.blast(topics, count)
        return {"first": first, "seconds": monotonic() - first, "cpu": _cpu() - cpu}

    def contend(self, topic: str, count: int) -> dict[str, float]:
        """See `contention`."""
        return contention.run(self._system, topic, count)

    # Latency

    def answer(self, topic: str, reply: str) -> None:
        """Answer each event from now on."""
        self._system.answer(topic, reply)

    def ping(self, topic: str, reply: str, count: int) -> dict[str, float]:
        """Percentiles of `count` round trips, after a warm-up of a tenth as many."""
        warm = count // 10
        return percentiles(self._system.ping(topic, reply, warm + count)[warm:])

    def record(self, topic: str) -> None:
        """Record the age of events on arrival."""
        self._system.record(topic, self._delays)

    def forget(self) -> int:
        """Discard the recorded ages; their number."""
        count = len(self._delays)
        self._delays.clear()
        return count

    def noted(self) -> int:
        """Number of recorded ages."""
        return len(self._delays)

    def delays(self) -> dict[str, float]:
        """Percentiles of the recorded ages."""
        return percentiles(self._delays)

    def pace(self, topic: str, rate: float, count: int) -> float:
        """Publish at `rate`; the actual rate."""
        begin = monotonic()
        self._system.pace(topic, rate, count)
        return count / (monotonic() - begin)

    # Messages

    def hold(self, count: int) -> list[tuple[str, str]]:
        """See `drivers`."""
        return list(self._system.hold(count))

    def aim(self, targets: list[list[str]]) -> None:
        """See `drivers`."""
        self._system.aim(targets)

    def flood(self, count: int) -> dict[str, float]:
        """See `drivers`."""
        return dict(self._system.flood(count))

    def endpoints_reached(self) -> int:
        """See `drivers`."""
        return int(self._system.endpoints_reached())

    def serve(self, name: str) -> None:
        """Answer requests from now on."""
        self._system.serve(name)

    def request(self, name: str, count: int) -> dict[str, float]:
        """Percentiles of `count` requests, after a warm-up of a tenth as many."""
        warm = count // 10
        return percentiles(self._system.request(name, warm + count)[warm:])

    # One process

    def local(self, rows: list[str], scale: float, address: str | None) -> dict[str, float]:
        """See `local`."""
        return local.run(rows, scale, address)

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()


def _cpu() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Answer until stdin is closed."""
    # Libraries may print: stdout is for answers only.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    faulthandler.enable()  # see `processes.Worker.answer`
    worker = Worker()
    for line in sys.stdin.buffer:
        question, arguments = orjson.loads(line)
        try:
            method: Callable[..., Any] = getattr(worker, question)
            answer = {"answer": method(**arguments)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{question}: {type(error).__name__}: {error}"}
        answers.write(orjson.dumps(answer) + b"\n")
    # Without waiting for threads of client libraries.
    os._exit(0)


if __name__ == "__main__":
    main()
