"""The long rows of subscribers that are stopped, and of many that come at once."""

import json
import os
import signal
import threading
from pathlib import Path
from time import monotonic

from fabric.testing import ProxyProcess, wait_until
from tests.acceptance.loads import Load
from tests.acceptance.rows import FULL, full, median, memory_of, milliseconds, record, row

CROWD = Path(__file__).parent / "crowd.py"


@row("subscriber")
def test_a_stopped_subscriber_costs_the_others_nothing_and_knows_what_it_missed(program):
    # Short, it has to fill a short pipe.
    settings = {} if FULL else {"peer_bytes": 2 * 1024 * 1024}
    with ProxyProcess(**settings) as proxy:
        load = Load(program, proxy.url)
        other, stopped = load.subscriber("other"), load.subscriber("stopped")
        recovering = load.subscriber("recovering", recover=True)
        load.publisher("publisher", ["load.t"], full(2_000, 5_000), pad=full(2_000, 100))
        memory = memory_of(proxy.pid)
        calm = [_p99(other, full(0.5, 10.0))]
        highest = memory
        for worker in (stopped, recovering):
            os.kill(worker.pid, signal.SIGSTOP)
        try:
            until = monotonic() + full(1.0, 20.0)
            other("lap")
            while monotonic() < until:
                highest = max(highest, memory_of(proxy.pid))
                threading.Event().wait(0.1)
            disturbed = other("lap")["delivery"]["p99"]
        finally:
            for worker in (stopped, recovering):
                os.kill(worker.pid, signal.SIGCONT)
        wait_until(lambda: stopped("state")["newest"] > until, 20.0, "the stopped one is up to date")
        calm.append(_p99(other, full(0.5, 10.0)))
        rows = load.settle()
        gaps = stopped("report")["stats"]["gaps"]
    record(
        "subscriber",
        "two of three subscribers stopped for 20 s at 5,000 events/s",
        "p99 of the other ≤ 2× undisturbed, the proxy's memory bounded, every event missed is reported",
        p99_calm_ms=milliseconds(median(calm)),
        p99_disturbed_ms=milliseconds(disturbed),
        proxy_grew_mib=round((highest - memory) / 2**20, 1),
        missed=rows["stopped"].missed,
        gaps=gaps,
        recovering_missed=rows["recovering"].missed,
        recovered=rows["recovering"].recovered,
    )
    assert rows["stopped"].missed + rows["recovering"].recovered > 0
    if FULL:
        assert rows["other"].missed == 0
        assert disturbed <= 2 * max(calm)
        assert highest - memory < 2 * 64 * 2**20 + 32 * 2**20


def _p99(worker, seconds):
    worker("lap")
    threading.Event().wait(seconds)
    return worker("lap")["delivery"]["p99"]


@row("join")
def test_a_crowd_joins_at_once_and_is_back_after_a_restart(fabric_proxy, fabric_node, program):
    processes, each = full((2, 15), (4, 50))
    crowds = [program(fabric_proxy.url, str(number), str(each), script=CROWD) for number in range(processes)]
    begun = monotonic()
    for crowd in crowds:
        crowd.tell("join")
    for crowd in crowds:
        crowd.answer("join", 60)
    joined = monotonic() - begun
    speaker = fabric_node("speaker")
    fabric_proxy.kill()
    begun = monotonic()
    fabric_proxy.start(settle=0.3)
    speaker.wait_ready(10)
    receiving = _until_all_receive(speaker, crowds, processes * each, begun)
    record(
        "join",
        f"{processes * each} nodes join at once; the proxy is restarted under them",
        "all are receiving ≤ 2 s after its start",
        nodes=processes * each,
        joined_s=round(joined, 2),
        receiving_s=round(receiving, 2),
    )
    assert receiving <= 2.0 or not FULL


def _until_all_receive(speaker, crowds, nodes, begun):
    deadline, number = begun + 30.0, 0
    while monotonic() < deadline:
        number += 1
        speaker.publish("crowd.said", {"n": number})
        threading.Event().wait(0.02)
        heard = [crowd("heard") for crowd in crowds]
        if sum(each["nodes"] for each in heard) == nodes:
            return max(each["last"] for each in heard) - begun
    raise AssertionError(json.dumps(heard))
