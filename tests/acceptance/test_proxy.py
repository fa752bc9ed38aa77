"""The long rows of a proxy that is killed, stopped, and run into."""

import random
import signal
import threading
from time import monotonic

import fabric
from fabric.testing import wait_until
from tests.acceptance.loads import Load
from tests.acceptance.rows import FULL, full, median, milliseconds, record, row

TOPICS = [f"load.t{number}" for number in range(5)]


def pause(seconds):
    """For as long as a fault lasts: time is what is tested."""
    threading.Event().wait(seconds)


@row("kill")
def test_a_proxy_killed_again_and_again_under_load_with_recovery_and_without(fabric_proxy, program):
    load = Load(program, fabric_proxy.url)
    recovering = load.subscriber("recovering", recover=True)
    plain = load.subscriber("plain")
    publisher = load.publisher("publisher", TOPICS, 2_000)
    chance, kills = random.Random(31), full(4, 100)
    live, lost, missed = [], [], 0
    for _ in range(kills):
        goal = publisher("state")["published"] + chance.randint(500, 2_000)
        wait_until(lambda goal=goal: publisher("state")["published"] > goal)
        fabric_proxy.kill()
        begun = monotonic()
        fabric_proxy.start(settle=0.3)
        for worker in (publisher, recovering, plain):
            wait_until(lambda worker=worker, begun=begun: _is_up_since(worker, begun), what="a node is back")
        live.append(max(worker("state")["links"][-1][1] for worker in (publisher, recovering, plain)) - begun)
        before, missed = missed, plain("report")["stats"]["missed"]
        lost.append(missed - before)
    rows = load.settle()
    assert rows["plain"].missed >= missed
    record(
        "kill",
        "proxy killed under 2,000 events/s, with recovery",
        "0 lost, 0 twice, all live ≤ 2 s after its start",
        kills=kills,
        published=rows["recovering"].published,
        lost=rows["recovering"].missed,
        recovered=rows["recovering"].recovered,
        live_median_ms=milliseconds(median(live)),
        live_longest_ms=milliseconds(max(live)),
    )
    record(
        "kill",
        "the same without recovery",
        "≤ 100 lost a kill, each reported",
        kills=kills,
        lost=rows["plain"].missed,
        lost_at_most=max(lost),
        unreported=rows["plain"].unexplained,
    )
    assert rows["recovering"].missed == 0
    assert rows["recovering"].delivered == rows["recovering"].published
    assert max(live) <= 2.0 or not FULL
    assert max(lost) <= 100 or not FULL


def _is_up_since(worker, begun):
    what, at = worker("state")["links"][-1]
    return what == "fabric.link.up" and at > begun


@row("stop")
def test_a_stopped_proxy_delays_no_publisher_and_nobody_is_lost_by_it(fabric_proxy, fabric_node, program):
    load = Load(program, fabric_proxy.url)
    subscriber = load.subscriber("subscriber")
    publisher = load.publisher("publisher", TOPICS, full(200, 1_000))
    publisher("subscribe", pattern="load.**")  # local delivery: its own events
    holder, watcher = fabric_node("holder"), fabric_node("watcher")
    holder.endpoint("holder", lambda message: "here").wait_ready(5)
    lost = []
    for pattern in ("fabric.node.lost", "fabric.endpoint.lost"):
        watcher.subscribe(pattern, lambda event: lost.append(event["name"])).wait_ready(5, everyone=True)
    calm, stopped, local_calm, local_stopped, back = [], [], [], [], []
    for length in full([0.5, 0.5, 0.5], [4.0] * 5 + [20.0]):
        publisher("lap")
        pause(full(0.5, 3.0))
        lap = publisher("lap")
        calm.append(lap["publish"]["p50"])
        local_calm.append(lap["delivery"]["p99"])
        fabric_proxy.signal(signal.SIGSTOP)
        try:
            publisher("lap")
            pause(length)
            lap = publisher("lap")
        finally:
            fabric_proxy.signal(signal.SIGCONT)
        stopped.append(lap["publish"]["p50"])
        local_stopped.append(lap["delivery"]["p99"])
        back.append(_full_service(publisher, subscriber, watcher))
    rows = load.settle()
    record(
        "stop",
        f"proxy stopped, 5 times 4 s and once 20 s ({len(stopped)} runs)",
        "median `publish` ≤ 2× and ≤ 1 ms above undisturbed; full service ≤ 2 s after; nobody lost by it",
        publish_calm_ms=milliseconds(median(calm)),
        publish_stopped_ms=milliseconds(median(stopped)),
        local_p99_calm_ms=milliseconds(median(local_calm)),
        local_p99_stopped_ms=milliseconds(median(local_stopped)),
        back_longest_ms=milliseconds(max(back)),
        nodes_lost=len(lost),
        missed=rows["subscriber"].missed,
    )
    assert lost == []
    assert rows["subscriber"].dropped == 0
    if FULL:
        assert median(stopped) <= max(2 * median(calm), 0.000_05)  # below that it is the clock that is measured
        assert median(stopped) <= median(calm) + 0.001
        assert max(back) <= 2.0


def _full_service(publisher, subscriber, watcher):
    """Seconds until a request is answered, and the subscriber has had what waited for it."""
    begun = monotonic()
    while True:
        try:
            watcher.request("holder", {}, timeout=1.0).wait(1.0)
            break
        except fabric.FabricError:
            assert monotonic() - begun < 15.0
    goal = publisher("state")["published"]
    wait_until(lambda: subscriber("state")["delivered"] + subscriber("report")["stats"]["missed"] >= goal, 15.0)
    return monotonic() - begun


@row("burst")
def test_a_burst_is_accounted_for(fabric_proxy, program):
    load = Load(program, fabric_proxy.url)
    load.subscriber("plain")
    load.subscriber("recovering", recover=True)
    publisher = load.publisher("publisher", TOPICS, 0)
    count = full(20_000, 100_000)
    publisher("burst", count=count)
    rows = load.settle()
    record(
        "burst",
        f"{count:,} events at once",
        "0 unexplained",
        delivered=rows["plain"].delivered,
        missed=rows["plain"].missed,
        dropped=rows["plain"].dropped,
        unexplained=rows["plain"].unexplained,
    )
    assert rows["plain"].published == count
