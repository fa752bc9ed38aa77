"""Waiting until a node or a subscription is ready, at a real proxy."""

import asyncio

import pytest

from fabric.errors import NotReady
from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect


def test_a_node_that_is_ready_is_up_and_known(shared_proxy, fabric_node):
    node = fabric_node("ready", url=shared_proxy.url)
    assert node.state == "up"
    assert "ready" in [entry["node"] for entry in node.members().nodes]


def test_readiness_of_everyone_can_be_awaited(shared_proxy, fabric_node):
    node, other = fabric_node("one", url=shared_proxy.url), fabric_node("two", url=shared_proxy.url)

    async def main():
        events = node.events("awaited.by.everyone", timeout=10)
        await events.subscription.ready(10, everyone=True)
        other.publish("awaited.by.everyone", {"n": 1})
        event = await anext(events)
        events.close()
        return event["n"]

    assert asyncio.run(main()) == 1


def test_a_node_that_goes_away_while_everyone_is_asked_is_not_waited_for(shared_proxy, fabric_node):
    node = fabric_node("asker", url=shared_proxy.url)
    for round_ in range(5):
        brief = fabric_node(f"brief-{round_}", url=shared_proxy.url)
        subscription = node.subscribe(f"round.n{round_}", lambda event: None)
        brief.close()
        subscription.wait_ready(10, everyone=True)


def test_a_subscription_that_ends_itself_at_its_first_event_gets_no_second_one(shared_proxy, fabric_node):
    node, other = fabric_node("one", url=shared_proxy.url), fabric_node("two", url=shared_proxy.url)
    seen, last = [], []

    def once(event):
        seen.append(event["n"])
        subscription.cancel()

    subscription = node.subscribe("once.event", once)
    node.subscribe("once.*", lambda event: last.append(event["n"])).wait_ready(10, everyone=True)
    for n in range(500):
        other.publish("once.event", {"n": n})
    wait_until(lambda: len(last) == 500)
    assert seen == [0]


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


def test_the_event_of_a_one_shot_publisher_arrives(node):
    events = collect(node(), "node.a")
    for n in range(1, 11):
        with node(ready=False) as shot:
            shot.publish("node.a", {"n": n})
    assert [event["n"] for event in arrive(events, 10)] == list(range(1, 11))
