"""Measures: each runs one case in its processes, and returns one `Run`.

The publisher starts when the subscriber is ready: for the fabric `wait_ready` tells, and for all systems single events are
published until one is received. A warm-up of a tenth of the events is not counted. Then:

    throughput   events/s = N / (last receive − first publish)
    round trip   one event in flight at a time; seconds
    one way      at a fixed rate; seconds from just before `publish` to the callback
    contention   duration of `publish` beside other threads, seconds
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from benchmarks.client import PROBE_INTERVAL, QUIET_PERIOD, TIMEOUT, TOPIC
from benchmarks.contention import THREADS
from benchmarks.processes import Process, ProcessFailed, Worker
from benchmarks.servers import SYSTEMS

_REPLY = "tui.tool.end"
#: Counters that, added to the delivered events, make up the published ones.
_ACCOUNTED = ("dropped", "missed")
#: Seconds for a system to count its losses.
_COUNT_TIMEOUT = 3.0


@dataclass(frozen=True)
class Case:
    """One system in one situation."""

    name: str
    system: str
    #: Options of both clients, and more of the publisher's.
    options: Mapping[str, Any] = field(default_factory=dict)
    publisher: Mapping[str, Any] = field(default_factory=dict)
    topics: tuple[str, ...] = (TOPIC,)
    patterns: tuple[str, ...] = (TOPIC,)
    #: Fraction of the group's events; smaller for slow systems.
    share: float = 1.0
    #: Events a second, for the measure `one_way`.
    rate: float = 0.0
    #: Bound of the ratio to the reference; upper bound of the value, in seconds.
    target: float | None = None
    limit: float | None = None


class Run(NamedTuple):
    """The result of one run of a case. `cpu`: seconds per event of publisher, broker, subscriber."""

    value: float
    cpu: dict[str, float]
    published: int
    delivered: int
    #: Lost events that the system itself counted: drops and gaps.
    accounted: int = 0
    #: Events that arrived twice, or after everything had.
    extra: int = 0
    details: Mapping[str, float] = {}

    @property
    def lost(self) -> int:
        """Lost events that the system did not count."""
        return self.published - self.delivered - self.accounted


class Ends(NamedTuple):
    """The processes of a running case."""

    publisher: Worker
    subscriber: Worker
    broker: Process | None

    def broker_cpu(self) -> float:
        """CPU seconds of the broker so far."""
        return 0.0 if self.broker is None else self.broker.cpu()

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process so far."""
        return {
            "publisher": self.publisher.ask("cpu"),
            "broker": self.broker_cpu(),
            "subscriber": self.subscriber.ask("cpu"),
        }

    def counters(self) -> dict[str, int]:
        """The counters of both ends, added."""
        ours, theirs = self.publisher.ask("counters"), self.subscriber.ask("counters")
        return {name: ours[name] + theirs.get(name, 0) for name in ours}


@contextmanager
def running(case: Case) -> Iterator[Ends]:
    """The processes of a case, each connected to its system; they end with the `with` block."""
    system = SYSTEMS[case.system]
    with ExitStack() as stack:
        # A short path: that of a socket has 107 bytes at most.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Before the broker, because Python takes time to start.
        subscriber, publisher = (stack.enter_context(Worker(role, directory)) for role in ("subscriber", "publisher"))
        address, broker = system.start(directory)
        if broker is not None:
            stack.enter_context(broker)
        for worker, more in ((subscriber, {}), (publisher, case.publisher)):
            options = {**case.options, **more, "role": worker.name}
            worker.ask("open", client=system.client, address=address, options=options)
        yield Ends(publisher, subscriber, broker)
        for worker in (publisher, subscriber):
            worker.ask("close")


def _counted(ends: Ends, case: Case, warm: int) -> None:
    """Subscribe, wait until an event is received, and warm up."""
    ends.subscriber.ask("tally", topics=case.patterns)
    ends.subscriber.ask("expect", count=1)
    until = monotonic() + TIMEOUT
    ends.publisher.ask("publish", topic=case.topics[0])
    while not ends.subscriber.ask("heard", timeout=PROBE_INTERVAL):
        if monotonic() > until:
            raise ProcessFailed(f"{case.name}: the subscriber heard nothing within {TIMEOUT:g} s")
        ends.publisher.ask("publish", topic=case.topics[0])
    ends.subscriber.ask("settle")
    before = ends.counters()
    ends.subscriber.ask("expect", count=warm)
    ends.publisher.ask("blast", topics=case.topics, count=warm, within=120)
    ends.subscriber.ask("wait", idle_timeout=1.0, within=120)
    _outcome(ends, before, warm)  # so that gaps of the warm-up are counted before the measurement


def _outcome(ends: Ends, before: dict[str, int], count: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Conservation: the fate of `count` events, as arguments of a Run; and the counts of the libraries meanwhile.

    A gap at the very end is detected only when the publisher reports its last numbers, so a system that counts gets time.
    """
    until = monotonic() + _COUNT_TIMEOUT
    while True:
        arrived = ends.subscriber.ask("settle")
        after = ends.counters()
        counters = {name: after[name] - before[name] for name in after}
        accounted = sum(counters.get(name, 0) for name in _ACCOUNTED)
        if not counters or arrived + accounted >= count or monotonic() > until:
            break
    outcome = {
        "published": count,
        "delivered": min(arrived, count),
        "accounted": accounted,
        "extra": max(arrived - count, 0),
    }
    return outcome, counters


def each(after: dict[str, float], before: dict[str, float], count: float) -> dict[str, float]:
    """Seconds per event, of `count` events, from CPU seconds before and after them."""
    return {name: (after[name] - before[name]) / count for name in after}


def throughput(case: Case, events: int) -> Run:
    """Events a second."""
    count = max(int(events * case.share), len(case.topics), 10)
    with running(case) as ends:
        _counted(ends, case, max(count // 10, 1))
        before, broker = ends.counters(), ends.broker_cpu()
        ends.subscriber.ask("expect", count=count)
        ends.publisher.begin("blast", topics=case.topics, count=count)
        ends.subscriber.begin("wait", idle_timeout=3.0)
        published = ends.publisher.answer(300)
        received = ends.subscriber.answer(300)
        cpu = {
            "publisher": published["cpu"] / count,
            "broker": (ends.broker_cpu() - broker) / count,
            "subscriber": received["cpu"] / count,
        }
        outcome, counters = _outcome(ends, before, count)
        rate = outcome["delivered"] / (received["last"] - published["first"])
        details = {**counters, "publish_us": published["seconds"] / count * 1e6}
        return Run(rate, cpu, **outcome, details=details)


def round_trip(case: Case, events: int) -> Run:
    """Seconds of a round trip, the median."""
    count = max(int(events * case.share), 10)
    with running(case) as ends:
        ends.subscriber.ask("answer", topic=TOPIC, reply=_REPLY)
        before = ends.cpu()
        found = ends.publisher.ask("ping", topic=TOPIC, reply=_REPLY, count=count, within=60 + count / 500)
        # The warm-up is a tenth more, with the same cost per event.
        return Run(found["p50"], each(ends.cpu(), before, 1.1 * count), count, count, details=found)


def one_way(case: Case, events: int) -> Run:
    """Seconds one way at `case.rate`, the median."""
    count = max(int(min(events * case.share, case.rate * 3)), 10)
    within = 60 + 2 * count / case.rate
    with running(case) as ends:
        ends.subscriber.ask("record", topic=TOPIC)
        until = monotonic() + TIMEOUT
        while not ends.subscriber.ask("noted"):
            if monotonic() > until:
                raise ProcessFailed(f"{case.name}: the subscriber heard nothing within {TIMEOUT:g} s")
            ends.publisher.ask("pace", topic=TOPIC, rate=case.rate, count=1)
            sleep(QUIET_PERIOD)
        ends.publisher.ask("pace", topic=TOPIC, rate=case.rate, count=count // 10 + 1, within=within)
        sleep(QUIET_PERIOD)
        ends.subscriber.ask("forget")
        before, cpu = ends.counters(), ends.cpu()
        rate = ends.publisher.ask("pace", topic=TOPIC, rate=case.rate, count=count, within=within)
        until = monotonic() + 3.0
        while (arrived := ends.subscriber.ask("noted")) < count and monotonic() < until:
            sleep(0.05)
        used = each(ends.cpu(), cpu, count)
        found = ends.subscriber.ask("delays")
        after = ends.counters()
        accounted = sum(after.get(name, 0) - before.get(name, 0) for name in _ACCOUNTED)
        details = {**found, "rate": rate}
        return Run(found["p50"], used, count, min(arrived, count), accounted, max(arrived - count, 0), details)


def contention(case: Case, events: int) -> Run:
    """Duration of `publish` in seconds, the 90th percentile."""
    count = max(int(events * case.share) // THREADS, 100)
    with running(case) as ends:
        _counted(ends, case, count)
        before, cpu = ends.counters(), ends.cpu()
        ends.subscriber.ask("expect", count=THREADS * count)
        ends.subscriber.begin("wait", idle_timeout=3.0)
        found = ends.publisher.ask("contend", topic=case.topics[0], count=count, within=300)
        ends.subscriber.answer(300)
        used = each(ends.cpu(), cpu, THREADS * count)
        # Without the publisher: its computing thread takes all the CPU time that it gets.
        del used["publisher"]
        outcome, counters = _outcome(ends, before, THREADS * count)
        return Run(found["p90"], used, **outcome, details={**found, **counters})
