"""A node's life: connecting, waiting, counting, closing."""

import os
import threading
import time

import pytest

import fabric
from fabric.errors import AlreadyConnected, NotReady, SettingsError
from fabric.node.drain import Drained
from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect

# Connecting


def test_connect_returns_at_once_without_a_proxy_and_the_bus_works(lonely_url, fabric_node):
    start = time.monotonic()
    alone = fabric_node("alone", url=lonely_url, ready=False, close_timeout=0.0)
    assert time.monotonic() - start < 1.0
    events = []
    alone.subscribe("node.a", events.append)
    alone.publish("node.a")
    assert (len(events), alone.state) == (1, "connecting")


def test_connect_without_a_bus_joins_the_default_bus(shared_proxy, node):
    events = collect(node(), "node.a")
    with fabric.connect("mine", url=shared_proxy.url, autostart=False) as mine:
        assert mine.bus is fabric.default_bus
        mine.wait_ready()
        fabric.publish("node.a")
        assert arrive(events, 1)[0]["src"] == "mine"
    fabric.default_bus.source = None


def test_the_same_bus_and_address_is_the_same_node_closed_by_its_last_holder(node, fabric_bus):
    first, second = node("one", bus=fabric_bus), node("one", bus=fabric_bus)
    assert first is second
    first.close()
    assert second.state == "up"
    second.close()
    assert second.state == "closed"


def test_the_same_bus_and_another_address_is_an_error(node, fabric_bus, lonely_url):
    node(bus=fabric_bus)
    with pytest.raises(AlreadyConnected, match="nobody") as caught:
        node(bus=fabric_bus, url=lonely_url)
    assert "already joined" in str(caught.value)


def test_the_same_bus_under_another_name_is_an_error(node, fabric_bus):
    node("one", bus=fabric_bus)
    with pytest.raises(AlreadyConnected, match="'one', not as 'two'"):
        node("two", bus=fabric_bus)


def test_the_same_bus_with_other_settings_is_an_error(node, fabric_bus):
    node(bus=fabric_bus, max_bytes=1_000)
    with pytest.raises(AlreadyConnected, match="max_bytes"):
        node(bus=fabric_bus, max_bytes=2_000)


def test_after_close_a_bus_can_join_again(node, fabric_bus):
    node(bus=fabric_bus).close()
    again = node(bus=fabric_bus)
    events = collect(again, "node.a")
    node().publish("node.a")
    arrive(events, 1)


def test_an_unknown_setting_is_a_type_error(lonely_url):
    with pytest.raises(TypeError, match="no setting 'colour'"):
        fabric.connect(url=lonely_url, bus=fabric.Bus(), colour="red")


def test_a_wrong_address_is_a_settings_error():
    with pytest.raises(SettingsError, match="addresses look like"):
        fabric.connect(url="http://localhost", bus=fabric.Bus())


def test_the_environment_names_the_address(shared_proxy, monkeypatch):
    monkeypatch.setenv("FABRIC_URL", shared_proxy.url)
    with fabric.connect(bus=fabric.Bus()) as node:
        node.wait_ready()
        assert node.url == shared_proxy.url


def test_a_name_given_to_connect_leaves_the_buss_own_source(node):
    bus = fabric.Bus(source="bus")
    node("name", bus=bus)
    assert bus.source == "bus"


def test_nodes_have_origins_of_their_own(node):
    assert len({node().origin for _ in range(3)}) == 3


def test_a_node_says_what_it_is(node):
    single = node("me")
    assert repr(single) == f"<Node 'me' up at {single.url}>"


# Closing


def test_closing_sends_what_waits(node):
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


def test_closing_while_events_pour_in_does_not_hang(node):
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


# Waiting


def test_waiting_without_a_proxy_ends_with_not_ready(lonely_url, fabric_node):
    alone = fabric_node("alone", url=lonely_url, ready=False)
    with pytest.raises(NotReady, match=r"'alone' was not ready after 0\.05 s.*fabric proxy --url") as caught:
        alone.wait_ready(0.05)
    assert (caught.value.url, caught.value.waited) == (lonely_url, 0.05)


def test_waiting_for_a_subscription_without_a_proxy_names_its_pattern(lonely_url, fabric_node):
    handle = fabric_node(url=lonely_url, ready=False).subscribe("node.*", print)
    with pytest.raises(NotReady, match=r"the subscription to 'node\.\*'"):
        handle.wait_ready(0.05)


def test_waiting_inside_a_callback_of_a_remote_event_raises(node):
    listener, errors = node(), []

    def wait(event):
        try:
            listener.wait_ready()
        except RuntimeError as error:
            errors.append(str(error))

    listener.subscribe("node.a", wait).wait_ready(everyone=True)
    node().publish("node.a")
    arrive(errors, 1)
    assert "inside a callback" in errors[0]


def test_a_subscription_that_is_ready_misses_nothing(node):
    listener, speaker = node(), node()
    for n in range(30):
        events = collect(listener, f"node.r{n}")
        speaker.publish(f"node.r{n}")
        arrive(events, 1)


def test_a_one_shot_publisher_is_heard(node):
    events = collect(node(), "node.a")
    for n in range(1, 11):
        with node(ready=False) as shot:
            shot.publish("node.a", {"n": n})
    assert [event["n"] for event in arrive(events, 10)] == list(range(1, 11))


# Counting


def test_the_counters_name_every_fate(node):
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
