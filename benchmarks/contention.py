"""Duration of `publish` in a busy process: three other threads publish, and one computes.

Each call on a socket releases the GIL, and waits up to 5 ms to get it back from the computing thread. With a lock around
the call, the other threads wait for that in addition, one after the other: that is the reference (`LockedReferenceClient`).
"""

from __future__ import annotations

import threading
from time import perf_counter

from benchmarks.client import Client
from benchmarks.spreads import percentiles

THREADS = 4


def run(client: Client, topic: str, count: int) -> dict[str, float]:
    """`THREADS` threads publish `count` events each; percentiles of the duration of `publish` in one of them (seconds)."""
    times: list[float] = []
    begin = threading.Barrier(THREADS + 1)
    over = threading.Event()

    def publish() -> None:
        begin.wait()
        for _ in range(count):
            client.publish(topic, client.event)

    def measure() -> None:
        begin.wait()
        for _ in range(count):
            before = perf_counter()
            client.publish(topic, client.event)
            times.append(perf_counter() - before)

    def compute() -> None:
        begin.wait()
        number = 0
        while not over.is_set():
            number = (number * 31 + 7) % 1_000_003

    publishers = [threading.Thread(target=work) for work in (measure, *[publish] * (THREADS - 1))]
    computing = threading.Thread(target=compute)
    for thread in (computing, *publishers):
        thread.start()
    for thread in publishers:
        thread.join()
    over.set()
    computing.join()
    return percentiles(times)
