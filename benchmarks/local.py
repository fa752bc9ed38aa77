"""Rows about one process: the cost of `Bus.publish` and `Bus.subscribe`.

    publish among N        one pattern of N matches; µs, and the difference to one among 1
    publish, unwanted      on a connected bus without interest outside; the difference to an unconnected one
    N × ** in a pattern    a new topic each time, so that it is matched and not found in the cache
    subscribe at N         subscribing and unsubscribing beside N others

All sizes are set up first, then timed in turns, batch by batch, so that all rows are measured under the same conditions.
The result is the median batch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as counting
from itertools import islice, repeat
from statistics import median
from time import perf_counter
from typing import NamedTuple

from benchmarks.client import PAYLOAD, TOPIC, Event
from fabric import Bus, connect

SIZES = (1, 10, 100, 1_000, 10_000)
STARS = (1, 2, 5, 10)
BATCHES = 15
_BATCH = 20_000


class Row(NamedTuple):
    """A row: its name, the row it is compared with, and the allowed difference (µs) or factor."""

    name: str
    base: str | None
    more: float | None = None
    times: float | None = None


ROWS: tuple[Row, ...] = (
    *(Row(f"publish among {n:,}", "publish among 1" if n > 1 else None, 0.5 if n == 10_000 else None) for n in SIZES),
    Row("publish, unconnected", None),
    Row("publish, unwanted", "publish, unconnected", 0.3),
    *(Row(f"{n} × ** in a pattern", f"{STARS[0]} × ** in a pattern", None, n) for n in STARS),
    *(Row(f"subscribe at {n:,}", "subscribe at 1" if n > 1 else None) for n in SIZES),
)

#: Runs its operation `count` times.
_Batch = Callable[[int], None]


def run(rows: list[str], scale: float, address: str | None) -> dict[str, float]:
    """Time these rows: µs per operation. `scale` 1 is the full length; `address` is that of a proxy."""
    node = None
    batches: dict[str, tuple[_Batch, int]] = {}
    for name in rows:
        if name == "publish, unwanted":
            bus = Bus()
            node = connect(url=address, bus=bus, autostart=False)
            node.wait_ready()
            batches[name] = _publishing(bus), _BATCH
        else:
            batches[name] = _prepare(name)
    try:
        return _time(batches, scale)
    finally:
        if node is not None:
            node.close()


def _prepare(name: str) -> tuple[_Batch, int]:
    number = int("".join(filter(str.isdigit, name)) or 0)
    if name.startswith("publish among"):
        return _publishing(_crowded(number)), _BATCH
    if name == "publish, unconnected":
        return _publishing(Bus()), _BATCH
    if name.startswith("subscribe at"):
        return _subscribing(_crowded(number)), _BATCH // 20
    bus = Bus()
    bus.subscribe(".".join(["**.a"] * number), _ignore)
    return _publishing_anew(bus), _BATCH // 20


def _crowded(number: int) -> Bus:
    """A bus with `number` patterns of mixed kinds, one of which matches TOPIC."""
    bus = Bus()
    bus.subscribe("tui.**", _ignore)
    for other in range(number - 1):
        kind = ("service.a{}.*", "service.**.b{}", "service.c{}.done")[other % 3]
        bus.subscribe(kind.format(other), _ignore)
    return bus


def _publishing(bus: Bus) -> _Batch:
    def batch(count: int) -> None:
        publish = bus.publish
        for _ in repeat(None, count):
            publish(TOPIC, PAYLOAD)

    return batch


def _publishing_anew(bus: Bus) -> _Batch:
    # Twenty segments that match parts of the pattern, and no match at the end: the worst case.
    numbers = counting()

    def batch(count: int) -> None:
        publish = bus.publish
        for number in islice(numbers, count):
            publish("a.b." * 10 + str(number), PAYLOAD)

    return batch


def _subscribing(bus: Bus) -> _Batch:
    def batch(count: int) -> None:
        for _ in repeat(None, count):
            bus.unsubscribe(bus.subscribe("service.a7.*.started", _ignore))

    return batch


def _time(batches: dict[str, tuple[_Batch, int]], scale: float) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in batches}
    for turn in range(BATCHES + 1):
        for name, (batch, length) in batches.items():
            count = max(int(length * scale), 1)
            before = perf_counter()
            batch(count)
            took = perf_counter() - before
            if turn:  # the first one warms up
                times[name].append(took / count * 1e6)
    return {name: median(took) for name, took in times.items()}


def _ignore(_event: Event) -> None:
    pass
