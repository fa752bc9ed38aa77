"""`fabric.connect`: one node for a bus, and the settings that it takes."""

import threading
import time

import pytest

import fabric
from fabric.errors import AlreadyConnected, SettingsError
from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect


def test_an_unknown_setting_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="no setting 'colour'"):
        fabric.connect(bus=fabric.Bus(), colour="red")


def test_many_threads_that_connect_one_bus_get_one_node(shared_proxy):
    bus, nodes = fabric.Bus(), []
    threads = [
        threading.Thread(target=lambda: nodes.append(fabric.connect("one", url=shared_proxy.url, bus=bus)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, nodes))) == 1
    for node in nodes:
        node.close()
    assert nodes[0].state == "closed"


def test_the_counters_of_a_closed_node_can_be_read(shared_proxy):
    node = fabric.connect("counted", url=shared_proxy.url, bus=fabric.Bus())
    node.subscribe("counted.*", lambda event: None).wait_ready(10)
    node.publish("counted.once")
    wait_until(lambda: node.stats()["sent"] == 1)
    node.close()
    assert node.stats()["sent"] == 1


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
    first = node(bus=fabric_bus)
    first.close()
    again = node(bus=fabric_bus)
    assert again is not first
    events = collect(again, "node.a")
    node().publish("node.a")
    arrive(events, 1)


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
