"""Messages while proxies are killed and processes stopped: what a receipt says is true."""

import os
import random
import signal
import threading
from pathlib import Path
from time import monotonic

import pytest

import fabric
from fabric.testing import ProxyProcess, wait_until
from tests.processes import stop

HOLDER = Path(__file__).parent / "holder.py"
KILLS = 4
IDLE = 2.0
JOINS = 100


@pytest.fixture
def holder(program, fabric_proxy):
    return program(fabric_proxy.url, "holder", script=HOLDER)


def send_steadily(node, stop, receipts, rate=500):
    """Send numbered messages until told to stop; they wait 30 s for their acknowledgement."""
    start = monotonic()
    while not stop.is_set():
        if (ahead := start + len(receipts) / rate - monotonic()) > 0:
            stop.wait(ahead)
        receipts.append(node.send("worker", {"n": len(receipts)}, timeout=30))


def test_a_proxy_killed_under_acknowledged_messages(fabric_proxy, fabric_node, holder):
    send_through_kills(fabric_proxy, fabric_node, holder, KILLS)


def send_through_kills(fabric_proxy, fabric_node, holder, kills):
    """Messages at 500/s while the proxy is killed `kills` times; (seconds until the name was back, receipts)."""
    holder("handle", name="worker")
    node = fabric_node("sender")
    receipts, stop = [], threading.Event()
    sender = threading.Thread(target=send_steadily, args=(node, stop, receipts))
    sender.start()
    chance, back = random.Random(20), []
    try:
        for _ in range(kills):
            goal = len(receipts) + chance.randint(20, 400)
            wait_until(lambda goal=goal: len(receipts) >= goal)
            fabric_proxy.restart()
            restarted = monotonic()
            wait_until(lambda: [entry["endpoint"] for entry in node.endpoints()] == ["worker"], what="the name is back")
            back.append(monotonic() - restarted)
    finally:
        stop.set()
        sender.join()
    wait_until(lambda: all(receipt.done for receipt in receipts), 30.0, "every receipt is settled")
    handled = holder("report")["handled"]
    acknowledged = {number for number, receipt in enumerate(receipts) if receipt.state == "delivered"}
    assert not acknowledged - set(handled), "acknowledged, and never handled"
    assert len(handled) == len(set(handled)), "handled twice"
    assert handled == sorted(handled), "out of order"
    assert {type(receipt.error) for receipt in receipts} <= {type(None), fabric.DeliveryUnknown}
    return back, receipts


def test_requests_in_flight_at_a_kill_are_answered_by_one_run_of_the_handler(fabric_proxy, fabric_node, holder):
    holder("handle", name="worker")
    node = fabric_node("asker")
    node.request("worker", {"n": -1}).wait(10)  # a name that was never found may be nobody's right after a restart
    receipts = [node.request("worker", {"n": number}, timeout=30) for number in range(200)]
    fabric_proxy.restart()
    answers = [receipt.wait(30) for receipt in receipts]
    assert sorted(answers) == list(range(2, 202))


def test_a_stopped_holder_is_lost_after_the_timeout_and_comes_back(program):
    with ProxyProcess(timeout=1.0) as proxy:
        holder = program(proxy.url, "holder", script=HOLDER)
        holder("handle", name="worker")
        with fabric.connect("watcher", url=proxy.url, bus=fabric.Bus(), autostart=False) as node:
            node.wait_ready(10)
            with node.events("fabric.endpoint.*", timeout=10) as events:
                events.subscription.wait_ready(10)
                stop(holder.pid)
                lost = next(events)
                assert (lost["type"], lost["name"], lost["reason"]) == ("fabric.endpoint.lost", "worker", "timeout")
                with pytest.raises(fabric.NoSuchEndpoint):
                    node.send("worker", {"n": 1}).wait(5)
                os.kill(holder.pid, signal.SIGCONT)
                assert next(events)["type"] == "fabric.endpoint.joined"
            assert node.request("worker", {"n": 2}).wait(5) == 1


def test_a_holder_that_stops_reading_delays_nobody_and_its_sender_is_told(fabric_proxy, fabric_node, program):
    stopped = program(fabric_proxy.url, "stopped", script=HOLDER)
    stopped("hold", name="stopped", max_inbox=10)
    lively = program(fabric_proxy.url, "lively", script=HOLDER)
    lively("handle", name="lively")
    sender, other = fabric_node("sender"), fabric_node("other")
    stop(stopped.pid)
    try:
        receipts = [sender.send("stopped", {"n": number, "pad": "x" * 4_000}, timeout=3) for number in range(3_000)]
        for number in range(50):
            assert other.request("lively", {"n": number}).wait(5) == number + 1
        other.endpoint("registered-meanwhile").wait_ready(5)
        assert len(other.endpoints()) == 3
        wait_until(lambda: all(receipt.done for receipt in receipts), 20.0)
        assert fabric.EndpointBusy in {type(receipt.error) for receipt in receipts}
    finally:
        os.kill(stopped.pid, signal.SIGCONT)


def test_an_idle_endpoint_keeps_its_session_and_loses_nothing(program):
    idle(program, IDLE)


def idle(program, seconds):
    """An endpoint that is idle for longer than its lease holds."""
    with ProxyProcess(timeout=0.6) as proxy:  # a lapse every 0.6 s, if heartbeats did not hold it
        holder = program(proxy.url, "holder", script=HOLDER)
        session = holder("handle", name="worker")["session"]
        with fabric.connect("sender", url=proxy.url, bus=fabric.Bus(), autostart=False) as node:
            node.wait_ready(10)
            start = monotonic()
            wait_until(lambda: monotonic() - start > seconds, seconds + 10)  # idling is what is tested
            assert node.request("worker", {"n": 1}).wait(5) == 1
        assert holder("report")["sessions"] == [session]


def test_a_thousand_endpoints_are_each_reachable(fabric_proxy, fabric_node):
    holders = [fabric_node(f"holder-{number}") for number in range(4)]
    for number in range(1_000):
        holders[number % 4].endpoint(f"e-{number}")
    asker = fabric_node("asker")
    wait_until(lambda: len(asker.endpoints()) == 1_000)
    receipts = [asker.send(f"e-{number}", {"n": number}, timeout=20) for number in range(1_000)]
    assert [receipt.wait(20) for receipt in receipts] == [1] * 1_000


@pytest.mark.parametrize("policy", ["reject", "replace", "suffix", "share"])
def test_twenty_nodes_want_one_name_at_once(fabric_proxy, fabric_node, policy):
    nodes = [fabric_node(f"n-{number}") for number in range(20)]
    together = threading.Barrier(20)
    endpoints = [None] * 20

    def register(number):
        together.wait(10)
        try:
            endpoints[number] = nodes[number].endpoint("name", policy=policy)
        except fabric.NameTaken:
            endpoints[number] = None

    threads = [threading.Thread(target=register, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {"reject": 1, "replace": 1, "suffix": 20, "share": 20}[policy]
    wait_until(lambda: len(nodes[0].endpoints()) == expected)
    names = {entry["endpoint"] for entry in nodes[0].endpoints()}
    assert names == ({"name"} | {f"name-{n}" for n in range(2, 21)} if policy == "suffix" else {"name"})
    registered = [endpoint for endpoint in endpoints if endpoint is not None]
    wait_until(lambda: sum(endpoint.state == "registered" for endpoint in registered) == expected)


def test_a_join_that_waits_for_everyone_misses_nothing_published_from_then_on(fabric_proxy, fabric_node, program):
    """Beside a firehose subscriber: its presence is what lets events ride under topics that a newcomer did not ask for."""
    publisher = program(fabric_proxy.url, "publisher")
    publisher("ready")
    firehose = fabric_node("firehose")
    firehose.subscribe("**", lambda event: None).wait_ready(10)
    publisher("publish", topics=["load.a", "load.b", "load.c"], count=1_000_000, rate=2_000)
    joiner = fabric_node("joiner")
    for join in range(JOINS):
        topic = f"joined.t{join}"
        seen = []
        with joiner.subscribe(topic, lambda event, seen=seen: seen.append(event["i"])) as subscription:
            subscription.wait_ready(10, everyone=True)
            for i in range(5):
                firehose.publish(topic, {"i": i})
            wait_until(lambda seen=seen: len(seen) == 5, 5.0, f"join {join}")
            assert seen == [0, 1, 2, 3, 4]
    assert joiner.stats()["missed"] == 0
    publisher.kill()
