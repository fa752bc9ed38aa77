"""Slow consumers of real nodes: what is told of them, and when it is over."""

import asyncio
import threading

import pytest

from fabric.testing import wait_until


@pytest.fixture
def pair(node):
    """Who publishes, and who does not keep up."""
    return node("publisher"), node("consumer")


def told(reports, state):
    return [report for report in reports if report["state"] == state]


def test_a_handler_that_holds_up_the_delivery_thread_is_named_and_so_is_its_end(pair):
    publisher, consumer = pair
    reports, go_on = [], threading.Event()
    consumer.subscribe("fabric.slow_consumer", reports.append)

    def handle(event):
        go_on.wait(20)

    consumer.subscribe("slow.*", handle).wait_ready(everyone=True)
    for number in range(100):
        publisher.publish("slow.topic", {"n": number})
        consumer.stats()
    wait_until(lambda: told(reports, "slow"))
    report = told(reports, "slow")[0]
    assert report["handler"].endswith("handle")
    assert (report["pattern"], report["topic"], report["dropped"]) == ("slow.*", "slow.topic", 0)
    assert report["lag"] >= 1
    assert report["waiting"] > 0
    go_on.set()
    wait_until(lambda: told(reports, "recovered"))
    assert len(told(reports, "slow")) == 1


def test_an_event_loop_that_is_stuck_is_told_with_the_callback_that_waits_for_it(pair):
    publisher, consumer = pair
    reports, go_on = [], threading.Event()
    consumer.subscribe("fabric.slow_consumer", reports.append)
    subscribed = threading.Event()

    async def on_event(event):
        pass

    async def main():
        await consumer.subscribe("looped.*", on_event).ready(everyone=True)
        subscribed.set()
        go_on.wait(20)
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert subscribed.wait(10)
        publisher.publish("looped.topic")
        wait_until(lambda: told(reports, "slow"))
    finally:
        go_on.set()
        thread.join()
    report = told(reports, "slow")[0]
    assert (report["pattern"], report["topic"], report["waiting"]) == ("looped.*", "looped.topic", 1)
    assert report["handler"].endswith("on_event")


def test_an_iteration_that_drops_is_told_with_how_many(pair):
    publisher, consumer = pair
    reports = []
    consumer.subscribe("fabric.slow_consumer", reports.append)
    with consumer.events("streamed.*", limit=10) as events:
        events.subscription.wait_ready(everyone=True)
        for number in range(50):
            publisher.publish("streamed.topic", {"n": number})
        wait_until(lambda: events.dropped == 40)
        wait_until(lambda: told(reports, "slow"))
        for _ in range(10):
            events.get(1)
        wait_until(lambda: told(reports, "recovered"))
    assert sum(report["dropped"] for report in told(reports, "recovered")) == 40
    assert told(reports, "slow")[0]["pattern"] == "streamed.*"


def test_consumers_that_keep_up_are_not_told_of(pair):
    publisher, consumer = pair
    reports, got = [], []
    consumer.subscribe("fabric.slow_consumer", reports.append)
    consumer.subscribe("quick.*", got.append).wait_ready(everyone=True)
    for number in range(2_000):
        publisher.publish("quick.topic", {"n": number})
    wait_until(lambda: len(got) == 2_000)
    consumer.wait_ready()
    assert reports == []
