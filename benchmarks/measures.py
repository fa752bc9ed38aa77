"""How one case is run: which processes there are, and what they are told. Each returns one `Run`.

The publisher starts to publish when the subscriber is ready: the fabric's says so itself (`wait_ready`), for all others,
and for the fabric once more, single events are published until one is heard. A tenth of the events warm up and do not
count; then:

    throughput   events/s = N / (last receive − first publish)
    round trip   one event under way at a time; seconds
    one way      paced; seconds from just before `publish` to the callback
    contention   seconds that `publish` takes beside other threads
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from benchmarks.client import PATIENCE, PROBE_EVERY, QUIET, TOPIC
from benchmarks.contention import THREADS
from benchmarks.processes import Process, ProcessFailed, Worker
from benchmarks.servers import SYSTEMS

_REPLY = "tui.tool.end"
#: Counters that together with what was delivered make up what was published.
_ACCOUNTED = ("dropped", "missed")
#: Seconds that a system has to count what it lost.
_TO_COUNT = 3.0


@dataclass(frozen=True)
class Case:
    """One system in one situation."""

    name: str
    system: str
    #: For the client; those in `publisher` are for that end only.
    options: Mapping[str, Any] = field(default_factory=dict)
    publisher: Mapping[str, Any] = field(default_factory=dict)
    topics: tuple[str, ...] = (TOPIC,)
    patterns: tuple[str, ...] = (TOPIC,)
    #: Of the events asked for; slow systems need fewer to say how slow.
    share: float = 1.0
    #: Events a second, in paced rows.
    rate: float = 0.0
    #: What the ratio to the reference must be; or, in seconds, what the value may be at most.
    target: float | None = None
    limit: float | None = None


class Run(NamedTuple):
    """What one run of a case gave. `cpu`: seconds an event of publisher, broker, subscriber."""

    value: float
    cpu: dict[str, float]
    published: int
    delivered: int
    #: Events that did not arrive and that the system itself counted: drops and gaps.
    accounted: int = 0
    #: Events that arrived twice, or after everything had.
    extra: int = 0
    details: Mapping[str, float] = {}

    @property
    def lost(self) -> int:
        """Events that nobody knows about."""
        return self.published - self.delivered - self.accounted


class Ends(NamedTuple):
    """The processes of a running case."""

    publisher: Worker
    subscriber: Worker
    broker: Process | None

    def broker_cpu(self) -> float:
        """Seconds so far."""
        return 0.0 if self.broker is None else self.broker.cpu()

    def cpu(self) -> dict[str, float]:
        """Seconds so far, of each process."""
        return {
            "publisher": self.publisher.ask("cpu"),
            "broker": self.broker_cpu(),
            "subscriber": self.subscriber.ask("cpu"),
        }

    def counters(self) -> dict[str, int]:
        """Of both ends."""
        ours, theirs = self.publisher.ask("counters"), self.subscriber.ask("counters")
        return {name: ours[name] + theirs.get(name, 0) for name in ours}


@contextmanager
def running(case: Case) -> Iterator[Ends]:
    """The processes of a case, each connected to its system; they end with it."""
    system = SYSTEMS[case.system]
    with ExitStack() as stack:
        # A short path: a socket's address is 107 bytes at most.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Before the broker: Python starts meanwhile.
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
    """Subscribe, wait until that is heard, and warm up."""
    ends.subscriber.ask("tally", topics=case.patterns)
    ends.subscriber.ask("expect", count=1)
    until = monotonic() + PATIENCE
    ends.publisher.ask("publish", topic=case.topics[0])
    while not ends.subscriber.ask("heard", timeout=PROBE_EVERY):
        if monotonic() > until:
            raise ProcessFailed(f"{case.name}: the subscriber heard nothing within {PATIENCE:g} s")
        ends.publisher.ask("publish", topic=case.topics[0])
    ends.subscriber.ask("settle")
    before = ends.counters()
    ends.subscriber.ask("expect", count=warm)
    ends.publisher.ask("blast", topics=case.topics, count=warm, within=120)
    ends.subscriber.ask("wait", patience=1.0, within=120)
    _outcome(ends, before, warm)  # gaps of the warm-up are told before we begin to count


def _outcome(ends: Ends, before: dict[str, int], count: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Conservation: what came of `count` events, as arguments of a Run; and what the libraries counted meanwhile.

    A hole at the very end shows only when the publisher tells its last numbers, so a system that counts gets the time.
    """
    until = monotonic() + _TO_COUNT
    while True:
        came = ends.subscriber.ask("settle")
        after = ends.counters()
        counters = {name: after[name] - before[name] for name in after}
        accounted = sum(counters.get(name, 0) for name in _ACCOUNTED)
        if not counters or came + accounted >= count or monotonic() > until:
            break
    outcome = {"published": count, "delivered": min(came, count), "accounted": accounted, "extra": max(came - count, 0)}
    return outcome, counters


def each(after: dict[str, float], before: dict[str, float], count: float) -> dict[str, float]:
    """What one of `count` events cost, from seconds before and after them."""
    return {name: (after[name] - before[name]) / count for name in after}


def throughput(case: Case, events: int) -> Run:
    """Events a second."""
    count = max(int(events * case.share), len(case.topics), 10)
    with running(case) as ends:
        _counted(ends, case, max(count // 10, 1))
        before, broker = ends.counters(), ends.broker_cpu()
        ends.subscriber.ask("expect", count=count)
        ends.publisher.begin("blast", topics=case.topics, count=count)
        ends.subscriber.begin("wait", patience=3.0)
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
    """Seconds there and back, the median."""
    count = max(int(events * case.share), 10)
    with running(case) as ends:
        ends.subscriber.ask("answer", topic=TOPIC, reply=_REPLY)
        before = ends.cpu()
        found = ends.publisher.ask("ping", topic=TOPIC, reply=_REPLY, count=count, within=60 + count / 500)
        # The warm-up is a tenth more, and costs as much an event.
        return Run(found["p50"], each(ends.cpu(), before, 1.1 * count), count, count, details=found)


def one_way(case: Case, events: int) -> Run:
    """Seconds one way at `case.rate`, the median."""
    count = max(int(min(events * case.share, case.rate * 3)), 10)
    within = 60 + 2 * count / case.rate
    with running(case) as ends:
        ends.subscriber.ask("record", topic=TOPIC)
        until = monotonic() + PATIENCE
        while not ends.subscriber.ask("noted"):
            if monotonic() > until:
                raise ProcessFailed(f"{case.name}: the subscriber heard nothing within {PATIENCE:g} s")
            ends.publisher.ask("pace", topic=TOPIC, rate=case.rate, count=1)
            sleep(QUIET)
        ends.publisher.ask("pace", topic=TOPIC, rate=case.rate, count=count // 10 + 1, within=within)
        sleep(QUIET)
        ends.subscriber.ask("forget")
        before, cpu = ends.counters(), ends.cpu()
        rate = ends.publisher.ask("pace", topic=TOPIC, rate=case.rate, count=count, within=within)
        until = monotonic() + 3.0
        while (came := ends.subscriber.ask("noted")) < count and monotonic() < until:
            sleep(0.05)
        used = each(ends.cpu(), cpu, count)
        found = ends.subscriber.ask("delays")
        after = ends.counters()
        accounted = sum(after.get(name, 0) - before.get(name, 0) for name in _ACCOUNTED)
        details = {**found, "rate": rate}
        return Run(found["p50"], used, count, min(came, count), accounted, max(came - count, 0), details)


def contention(case: Case, events: int) -> Run:
    """Seconds that `publish` takes, the 90th percentile."""
    count = max(int(events * case.share) // THREADS, 100)
    with running(case) as ends:
        _counted(ends, case, count)
        before, cpu = ends.counters(), ends.cpu()
        ends.subscriber.ask("expect", count=THREADS * count)
        ends.subscriber.begin("wait", patience=3.0)
        found = ends.publisher.ask("contend", topic=case.topics[0], count=count, within=300)
        ends.subscriber.answer(300)
        used = each(ends.cpu(), cpu, THREADS * count)
        # The computing thread is no part of the cost, and takes all that it gets.
        del used["publisher"]
        outcome, counters = _outcome(ends, before, THREADS * count)
        return Run(found["p90"], used, **outcome, details={**found, **counters})
