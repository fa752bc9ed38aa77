"""The state of a link, its barriers, and that it comes back whatever happens to the proxy."""

import threading

import pytest

import fabric
from fabric.testing import ProxyProcess, wait_until
from tests.ports import free_port


def states(bus):
    """A list that fills with the states of the link that `bus` will have."""
    seen = []
    bus.subscribe("fabric.link.*", lambda event: seen.append(event["type"].rpartition(".")[2]))
    return seen


@pytest.fixture
def late_proxy():
    """A proxy that has not been started."""
    proxy = ProxyProcess()
    yield proxy
    proxy.close()


def test_a_link_comes_up_when_the_proxy_does(late_proxy, fabric_node):
    node = fabric_node(url=late_proxy.url, ready=False)
    assert node.state == "connecting"
    late_proxy.start()
    node.wait_ready(5)
    assert node.state == "up"


def test_events_that_were_published_before_there_is_a_proxy_arrive(late_proxy, fabric_node):
    listener, speaker = (fabric_node(name, url=late_proxy.url, ready=False) for name in ("listener", "speaker"))
    events = []
    listener.subscribe("link.a", events.append)
    for n in range(10):
        speaker.publish("link.a", {"n": n})
    late_proxy.start(settle=0.3)
    wait_until(lambda: len(events) == 10)
    assert [event["n"] for event in events] == list(range(10))


def test_up_and_down_are_events_of_the_local_bus(fabric_proxy, fabric_node, fabric_bus):
    seen, facts = states(fabric_bus), []
    fabric_bus.subscribe("fabric.link.down", facts.append)
    fabric_node("me", bus=fabric_bus, ready=False)
    wait_until(lambda: seen == ["up"])
    fabric_proxy.kill()
    wait_until(lambda: seen == ["up", "down"])
    fabric_proxy.start()
    wait_until(lambda: seen == ["up", "down", "up"])
    assert (facts[0]["node"], facts[0]["url"]) == ("me", fabric_proxy.url)


def test_in_a_callback_for_the_link_being_up_the_node_is_up(late_proxy, fabric_node):
    node, found = fabric_node(url=late_proxy.url, ready=False), []
    node.subscribe("fabric.link.up", lambda event: found.append(node.state))
    late_proxy.start()
    wait_until(lambda: found)
    assert found == ["up"]


def test_a_node_that_is_ready_is_up(fabric_proxy, fabric_node):
    for _ in range(20):
        assert fabric_node().state == "up"


def test_subscriptions_survive_a_restart(fabric_proxy, fabric_node):
    listener, speaker, events = fabric_node("listener"), fabric_node("speaker"), []
    listener.subscribe("link.a", events.append).wait_ready(everyone=True)
    fabric_proxy.restart()
    wait_until(lambda: listener.stats()["links_lost"] == speaker.stats()["links_lost"] == 1)
    for node in (listener, speaker):
        node.wait_ready(5)
    speaker.publish("link.a", {"n": 1})
    wait_until(lambda: events)
    assert events[0]["n"] == 1


def test_a_subscription_made_while_the_proxy_is_away_is_live_when_it_is_back(fabric_proxy, fabric_node):
    listener, speaker, events = fabric_node("listener"), fabric_node("speaker"), []
    fabric_proxy.kill()
    wait_until(lambda: listener.state == "down")
    handle = listener.subscribe("link.a", events.append)
    fabric_proxy.start()
    speaker.wait_ready(10)
    handle.wait_ready(10, everyone=True)
    speaker.publish("link.a")
    wait_until(lambda: events)


def test_a_subscription_that_ended_while_the_proxy_is_away_is_not_wanted_when_it_is_back(fabric_proxy, fabric_node):
    listener, speaker = fabric_node("listener"), fabric_node("speaker")
    handle = listener.subscribe("link.a", print)
    handle.wait_ready(everyone=True)
    fabric_proxy.kill()
    wait_until(lambda: listener.state == "down")
    handle.cancel()
    fabric_proxy.start()
    speaker.wait_ready(10)
    wait_until(lambda: not speaker.has_interest("link.a"), what="the grace of the lost link is over")


def test_waiting_spans_a_restart(late_proxy, fabric_node):
    node, done = fabric_node(url=late_proxy.url, ready=False), []
    thread = threading.Thread(target=lambda: done.append(node.wait_ready(10)))
    thread.start()
    late_proxy.start()
    thread.join(10)
    assert done == [None]


def test_a_node_knows_the_boot_id_of_the_proxy(fabric_proxy, fabric_node):
    node = fabric_node()
    first = node.stats()["boot"]
    fabric_proxy.restart()
    wait_until(lambda: node.stats()["boot"] not in ("", first))


def test_a_subscriber_inside_a_callback_comes_back_after_a_restart(fabric_proxy, fabric_node):
    # A SUB sends its subscriptions to a new connection only when it is used: the control thread does that.
    listener, speaker = fabric_node("listener"), fabric_node("speaker")
    inside, leave, events = threading.Event(), threading.Event(), []

    def stay(event):
        events.append(event["n"])
        inside.set()
        leave.wait(20)

    listener.subscribe("link.a", stay).wait_ready(everyone=True)
    speaker.publish("link.a", {"n": 0})
    assert inside.wait(5)
    fabric_proxy.restart()
    wait_until(lambda: speaker.stats()["links_lost"] == 1)
    speaker.wait_ready(10)
    wait_until(
        lambda: speaker._connected.link.sender.interest.has(b"link.a\0"), what="the listener's subscription is back"
    )
    leave.set()
    speaker.publish("link.a", {"n": 1})
    wait_until(lambda: events == [0, 1])


def test_twenty_barriers_at_once_all_come_back(node):
    single, done = node(), []
    threads = [threading.Thread(target=lambda: done.append(single.wait_ready(10))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 20


def test_barriers_leave_nothing_behind(node):
    single = node()
    for _ in range(10):
        single.wait_ready()
    link = single._connected.link
    assert (len(link.barriers), link.sender._probes) == (0, {})
    # The proxy's own pulse is subscribed for as long as it lives.
    wait_until(lambda: len([prefix for prefix in link.sender.interest._reserved if prefix.startswith(b"\0probe")]) <= 1)


def test_tcp_works_like_ipc(fabric_node):
    with ProxyProcess(f"tcp://127.0.0.1:{free_port()}") as proxy:
        listener, speaker, events = fabric_node(url=proxy.url), fabric_node(url=proxy.url), []
        listener.subscribe("link.a", events.append).wait_ready(everyone=True)
        speaker.publish("link.a")
        wait_until(lambda: events)
        proxy.restart()
        wait_until(lambda: speaker.stats()["links_lost"] == 1)
        listener.wait_ready(10)
        speaker.wait_ready(10)
        speaker.publish("link.a")
        wait_until(lambda: len(events) == 2)
        for each in (listener, speaker):
            each.close()


def test_nodes_in_one_process_each_have_their_own_link(node):
    buses = [fabric.Bus() for _ in range(3)]
    nodes = [node(f"n{n}", bus=bus) for n, bus in enumerate(buses)]
    nodes[0].close()
    assert [each.state for each in nodes] == ["closed", "up", "up"]
