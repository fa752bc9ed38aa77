"""Barriers, against a real proxy."""

import asyncio

import pytest

import fabric
from fabric.testing import wait_until


def test_a_node_that_is_ready_is_up_and_known(shared_proxy, fabric_node):
    node = fabric_node("ready", url=shared_proxy.url)
    assert node.state == "up"
    assert "ready" in [entry["node"] for entry in node.members().nodes]


def test_without_a_proxy_it_says_where_none_answers(fabric_node, runtime_dir):
    node = fabric_node("alone", url=f"ipc://{runtime_dir}/nobody", ready=False)
    with pytest.raises(fabric.NotReady, match="nobody"):
        node.wait_ready(0.05)


def test_inside_a_callback_it_is_refused(shared_proxy, fabric_node):
    node, other = fabric_node("one", url=shared_proxy.url), fabric_node("two", url=shared_proxy.url)
    raised = []

    def callback(event):
        try:
            node.wait_ready(1)
        except RuntimeError as error:
            raised.append(error)

    node.subscribe("inside.callback", callback).wait_ready(10, everyone=True)
    other.publish("inside.callback")
    wait_until(lambda: raised)


def test_everyone_can_be_awaited(shared_proxy, fabric_node):
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
