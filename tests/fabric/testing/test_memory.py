"""The fabric in memory: its own properties. Those that it shares with a real one are in `test_contract`."""

import asyncio
import threading

import pytest

import fabric
from fabric import DeliveryTimeout, MessageTooLarge, NoSuchEndpoint, NotReady
from fabric.testing import await_until, wait_until
from fabric.testing.memory import InMemoryFabric


@pytest.fixture
def memory():
    with InMemoryFabric() as made:
        yield made


@pytest.fixture
def small_memory():
    with InMemoryFabric(peer_bytes=5_000) as made:
        yield made


def ns(events):
    return [event["n"] for event in events]


# Deterministic


def test_a_subscription_is_live_when_subscribe_returns(memory):
    a, b = memory.node("a"), memory.node("b")
    for n in range(100):
        with b.capture(f"topic.{n}") as captured:
            a.publish(f"topic.{n}")
            captured.wait(1)


def test_an_event_has_left_when_publish_returns(memory):
    a, b = memory.node("a"), memory.node("b")
    captured = b.capture("a")
    for n in range(100):
        a.publish("a", {"n": n})
        assert (a.stats()["waiting"], a.stats()["sent"]) == (0, n + 1)
    assert ns(captured.wait(100)) == list(range(100))


def test_a_node_is_ready_when_it_is_made_also_on_a_loop(memory):
    async def main():
        return memory.node("a").state

    assert asyncio.run(main()) == "up"


def test_two_fabrics_share_no_events(memory):
    with InMemoryFabric() as other:
        assert other.url != memory.url
        captured = other.node("a").capture("a")
        memory.node("a").publish("a")
        other.node("b").publish("a", {"n": 1})
        assert ns(captured.wait(1)) == [1]


def test_closing_leaves_no_thread():
    before = set(threading.enumerate())
    with InMemoryFabric() as memory:
        a = memory.node("a")
        a.endpoint("inbox", print)
        memory.node("b").request("inbox", {})
    assert a.state == "closed"
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_closing_does_not_wait_for_answers(memory):
    a = memory.node("a")
    a.endpoint("inbox")
    receipt = a.request("inbox", {}, timeout=600)
    wait_until(lambda: receipt.state == "delivered")
    memory.close()
    assert isinstance(receipt.error, fabric.FabricError)


def test_a_closed_fabric_makes_no_nodes(memory):
    memory.close()
    with pytest.raises(RuntimeError, match="was closed"):
        memory.node("a")


def test_it_can_be_used_in_a_coroutine():
    async def main():
        async with InMemoryFabric() as memory:
            a, b = memory.node("a"), memory.node("b")
            seen = []

            async def receive(event):
                seen.append(event["n"])

            b.subscribe("a", receive)
            a.publish("a", {"n": 1})
            await await_until(lambda: seen)
            endpoint = b.endpoint("adder", lambda message: message.body["n"] + 1)
            await endpoint.ready()
            with pytest.raises(RuntimeError, match="aclose"):
                memory.close()
            return seen, await a.request("adder", {"n": 1})

    assert asyncio.run(main()) == ([1], 2)


def test_a_publisher_beside_its_own_threads_loses_nothing(memory):
    a, b = memory.node("a"), memory.node("b")
    captured = b.capture("n.**", limit=5_000)

    def publish(number):
        for n in range(500):
            a.publish(f"n.{number}", {"n": n})

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    captured.wait(3_000)
    for number in range(6):
        assert [event["n"] for event in captured if event["type"] == f"n.{number}"] == list(range(500))


# As a replacement for `fabric.connect`


def test_code_that_calls_connect_can_be_tested(memory, monkeypatch):
    monkeypatch.setattr(fabric, "connect", memory.connect)
    captured = memory.node("watcher").capture("app.**")
    with fabric.connect("app", url="tcp://10.0.0.1:7400", bus=fabric.Bus(), autostart=True) as node:
        node.publish("app.started")
    assert captured.wait(1)[0]["src"] == "app"


def test_a_bus_that_is_connected_gets_the_same_node_again(memory):
    bus = fabric.Bus()
    node = memory.connect("app", bus=bus)
    assert memory.connect(bus=bus) is node
    with pytest.raises(fabric.AlreadyConnected):
        memory.connect("other", bus=bus)
    node.close()
    assert node.state != "closed"  # it has another holder
    node.close()
    assert node.state == "closed"


def test_without_a_bus_the_default_bus_is_connected(memory):
    node = memory.connect("app")
    try:
        assert node.bus is fabric.default_bus
        captured = memory.node("watcher").capture("app.**")
        fabric.publish("app.started")
        captured.wait(1)
    finally:
        node.close()
        fabric.default_bus.source = None


def test_an_unknown_setting_is_an_error(memory):
    with pytest.raises(TypeError, match="colour"):
        memory.node("a", colour="red")


def test_settings_reach_the_node(memory):
    assert memory.node("a", outbox_events=7).settings.outbox_events == 7


def test_max_bytes_is_the_fabrics():
    with InMemoryFabric(max_bytes=1_000) as memory:
        a = memory.node("a")
        with pytest.raises(MessageTooLarge):
            a.send("inbox", {"pad": "x" * 1_000})


# Faults


def test_events_wait_while_a_link_is_cut_and_leave_when_it_is_healed(memory):
    a, b = memory.node("a"), memory.node("b")
    captured = b.capture("a")
    a.publish("a", {"n": 0})
    captured.wait(1)
    memory.cut("a")
    wait_until(lambda: a.state == "down")
    for n in (1, 2, 3):
        a.publish("a", {"n": n})
    assert (len(captured), a.stats()["waiting"]) == (1, 3)
    memory.heal("a")
    assert ns(captured.wait(4)) == [0, 1, 2, 3]
    wait_until(lambda: a.state == "up")


def test_the_outbox_keeps_its_bounds_while_a_link_is_cut(memory):
    a, b = memory.node("a", outbox_events=2), memory.node("b")
    captured = b.capture("a")
    memory.cut("a")
    for n in range(5):
        a.publish("a", {"n": n})
    assert (a.stats()["waiting"], a.stats()["dropped"]) == (2, 3)
    memory.heal("a")
    assert ns(captured.wait(2)) == [3, 4]


def test_an_event_that_a_cut_subscriber_missed_is_a_gap(memory):
    a, b, c = memory.node("a"), memory.node("b"), memory.node("c")
    captured, gaps, witness = b.capture("a"), b.capture("fabric.gap"), c.capture("a")
    captured.wait_ready(everyone=True)
    a.publish("a", {"n": 0})
    captured.wait(1)
    memory.cut("b")
    a.publish("a", {"n": 1})
    a.publish("a", {"n": 2})
    witness.wait(3)
    memory.heal("b")
    wait_until(lambda: b.state == "up" and a.has_interest("a"))
    a.publish("a", {"n": 3})
    assert ns(captured.wait(2)) == [0, 3]
    assert (gaps.wait(1)[0]["missed"], b.stats()["missed"]) == (2, 2)


def test_link_down_and_up_are_events_on_the_nodes_own_bus(memory):
    a = memory.node("a")
    states = a.capture("fabric.link.*")
    memory.cut("a")
    states.wait(1)
    memory.heal("a")
    states.wait(2)
    assert states.topics == ["fabric.link.down", "fabric.link.up"]


def test_a_node_that_is_cut_is_not_ready(memory):
    a = memory.node("a")
    memory.cut("a")
    wait_until(lambda: a.state == "down")
    with pytest.raises(NotReady):
        a.wait_ready(0.02)


def test_a_message_waits_for_the_link_of_its_sender(memory):
    a, b = memory.node("a"), memory.node("b")
    inbox = b.endpoint("inbox")
    memory.cut("a")
    wait_until(lambda: a.state == "down")
    receipt = a.send("inbox", {"n": 1}, timeout=10)
    assert not receipt.done
    memory.heal("a")
    assert receipt.wait() == 1
    assert inbox.receive(5).body == {"n": 1}


def test_a_message_of_a_node_that_stays_cut_fails_at_its_deadline(memory):
    a = memory.node("a")
    memory.cut("a")
    with pytest.raises((DeliveryTimeout, fabric.NotConnected)):
        a.send("inbox", {}, timeout=0.05).wait()


def test_a_holder_that_reconnects_has_its_name(memory):
    a, b = memory.node("a"), memory.node("b")
    inbox = b.endpoint("inbox")
    memory.cut("b")
    wait_until(lambda: b.state == "down")
    memory.heal("b")
    wait_until(lambda: b.state == "up")
    b.wait_ready()
    inbox.wait_ready()
    wait_until(lambda: [facts for facts in a.endpoints() if facts["endpoint"] == "inbox"])
    assert a.send("inbox", {}).wait() == 1


def test_a_silent_node_is_lost_after_the_timeout():
    with InMemoryFabric(timeout=0.2) as memory:
        a, b = memory.node("a"), memory.node("b")
        b.endpoint("inbox")
        news = a.capture("fabric.endpoint.lost")
        memory.cut("b")
        assert news.wait(1)[0]["name"] == "inbox"
        with pytest.raises(NoSuchEndpoint):
            a.send("inbox", {}).wait()


def test_after_a_restart_subscriptions_and_endpoints_work_again(memory):
    a, b = memory.node("a"), memory.node("b")
    captured = b.capture("a")
    b.endpoint("adder", lambda message: message.body["n"] + 1)
    boot = a.stats()["boot"]
    memory.restart()
    a.publish("a", {"n": 1})
    assert ns(captured.wait(1)) == [1]
    wait_until(lambda: a.stats()["boot"] != boot and [f for f in a.endpoints() if f["endpoint"] == "adder"])
    assert a.request("adder", {"n": 1}).wait() == 2


def test_a_node_that_is_cut_stays_cut_after_a_restart(memory):
    a, b = memory.node("a"), memory.node("b")
    memory.cut("b")
    memory.restart()
    wait_until(lambda: a.state == "up" and {facts["node"] for facts in a.members().nodes} == {"a"})
    assert b.state == "down"
    memory.heal()
    wait_until(lambda: {facts["node"] for facts in a.members().nodes} == {"a", "b"})


def test_all_nodes_can_be_cut_at_once(memory):
    nodes = [memory.node() for _ in range(3)]
    memory.cut()
    wait_until(lambda: {node.state for node in nodes} == {"down"})
    memory.heal()
    wait_until(lambda: {node.state for node in nodes} == {"up"})


def test_every_event_lost_by_cutting_and_healing_is_counted(memory):
    a, b = memory.node("a"), memory.node("b")
    captured = b.capture("a", limit=2_000)
    captured.wait_ready(everyone=True)
    for n in range(1_000):
        if n % 100 == 50:
            memory.cut("a")
        if n % 100 == 60:
            memory.heal("a")
        a.publish("a", {"n": n})
    wait_until(lambda: len(captured) + b.stats()["missed"] + a.stats()["dropped"] == 1_000)
    assert ns(captured) == sorted(ns(captured))


def test_cutting_an_unknown_name_is_an_error(memory):
    memory.node("a")
    with pytest.raises(ValueError, match="no node here is called 'b'; there are 'a'"):
        memory.cut("b")


def test_a_new_node_is_connected_although_its_name_was_cut(memory):
    memory.node("a")
    memory.cut("a")
    assert memory.node("a").state == "up"


def test_events_over_the_byte_budget_of_a_slow_subscriber_are_a_gap(small_memory):
    memory = small_memory
    a, b = memory.node("a"), memory.node("b", inbox_bytes=5_000)
    entered, go_on, seen = threading.Event(), threading.Event(), []

    def slow(event):
        seen.append(event["n"])
        entered.set()
        go_on.wait(20)

    b.subscribe("a", slow).wait_ready(everyone=True)
    a.publish("a", {"n": 0})
    assert entered.wait(5)
    for n in range(1, 100):
        a.publish("a", {"n": n, "pad": "x" * 1_000})
    go_on.set()
    wait_until(lambda: not b.stats()["backlog"] and len(seen) > 5)
    a.publish("a", {"n": 100})
    wait_until(lambda: seen[-1] == 100)
    assert len(seen) + b.stats()["missed"] == 101
    assert b.stats()["missed"] > 80


# Errors and repr


def test_another_package_called_proxy_is_named_as_the_cause(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "proxy.messages.directory", None)
    with pytest.raises(ImportError, match="hides it"):
        InMemoryFabric()


def test_the_repr_lists_the_nodes(memory):
    memory.node("a")
    assert repr(memory) == f"<InMemoryFabric {memory.url}: a>"
