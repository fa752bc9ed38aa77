"""The state of a node, its counters, and closing it."""

import os
import threading
import time

from fabric.node.drain import Drained
from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect

# State


def test_the_repr_of_a_node_has_its_name_state_and_address(node):
    single = node("me")
    assert repr(single) == f"<Node 'me' up at {single.url}>"


def test_nodes_have_origins_of_their_own(node):
    assert len({node().origin for _ in range(3)}) == 3


# Closing


def test_closing_sends_the_waiting_events(node):
    events, speaker = collect(node(), "node.a"), node()
    for n in range(2_000):
        speaker.publish("node.a", {"n": n})
    assert speaker.close().abandoned == 0
    assert [event["n"] for event in arrive(events, 2_000)] == list(range(2_000))


def test_closing_without_a_proxy_returns_how_many_could_not_be_sent(lonely_url, fabric_node, caplog):
    alone = fabric_node("alone", url=lonely_url, ready=False)
    for _ in range(5):
        alone.publish("node.a")
    assert alone.close(0.05) == Drained(events=5)
    assert "alone closed: 0 messages handled, 0 events sent; given up: 5 events" in caplog.text


def test_closing_does_not_wait_longer_than_its_timeout(lonely_url, fabric_node):
    alone = fabric_node(url=lonely_url, ready=False)
    alone.publish("node.a")
    start = time.monotonic()
    alone.close(0.1)
    assert time.monotonic() - start < 1.5


def test_closing_an_idle_node_is_quick(node):
    single = node()
    start = time.monotonic()
    single.close()
    assert time.monotonic() - start < 1.0


def test_closing_twice_is_closing_once(node):
    single = node()
    assert (single.close(), single.close()) == (Drained(), Drained())


def test_after_close_the_local_bus_goes_on(node):
    single, events = node(), []
    single.subscribe("node.a", events.append)
    single.close()
    single.publish("node.a")
    assert len(events) == 1


def test_a_callback_can_close_its_node(node):
    listener, speaker = node(), node()
    listener.subscribe("node.a", lambda event: listener.close()).wait_ready(everyone=True)
    speaker.publish("node.a")
    wait_until(lambda: listener.state == "closed")


def test_closing_while_events_arrive_does_not_hang(node):
    listener, speaker, stop = node(), node(), threading.Event()
    events = collect(listener, "node.a")

    def pour():
        while not stop.is_set():
            speaker.publish("node.a")

    thread = threading.Thread(target=pour)
    thread.start()
    arrive(events, 100)
    listener.close()
    stop.set()
    thread.join()
    assert listener.state == "closed"


def test_a_slow_callback_delays_close_but_does_not_hang_it(node):
    listener, speaker = node(), node()
    inside, leave = threading.Event(), threading.Event()
    listener.subscribe("node.a", lambda event: (inside.set(), leave.wait(5))).wait_ready(everyone=True)
    speaker.publish("node.a")
    assert inside.wait(5)
    threading.Timer(0.1, leave.set).start()
    listener.close()
    assert listener.state == "closed"


# Counting


def test_there_is_a_counter_for_every_fate_of_an_event(node):
    stats = node().stats()
    fates = {"sent", "delivered", "waiting", "dropped", "unwanted", "unencodable", "missed", "joining", "duplicates"}
    assert fates | {"node", "url", "state", "origin", "rejected", "echoes", "gaps"} <= stats.keys()


def test_counters_count(node):
    listener, speaker = node(), node()
    events = collect(listener, "node.a")
    for _ in range(100):
        speaker.publish("node.a")
        speaker.publish("node.unwanted")
    arrive(events, 100)
    assert listener.stats()["delivered"] == 100
    wait_until(lambda: speaker.stats()["sent"] == 100)
    assert {name: speaker.stats()[name] for name in ("waiting", "dropped", "unencodable")} == {
        "waiting": 0,
        "dropped": 0,
        "unencodable": 0,
    }


def test_opening_and_closing_leaves_no_descriptor(node):
    node().close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        node().close()
    assert len(os.listdir("/proc/self/fd")) <= before
