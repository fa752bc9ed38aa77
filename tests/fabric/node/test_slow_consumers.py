import asyncio
import threading

import pytest

from fabric.node.slow_consumers import CALM_TIME, Backlog, SlowConsumers
from fabric.testing import wait_until


class Consumer:
    """A queue that is polled four times a second."""

    def __init__(self):
        self.now, self.handled, self.waiting, self.dropped = 0.0, 0, 0, 0
        self.detector = SlowConsumers()

    def look(self, *, arrived=0, done=0, dropped=0, seconds=0.25):
        self.now += seconds
        self.handled += done
        self.dropped += dropped
        self.waiting += arrived - done - dropped
        backlog = Backlog("queue", "app.handle", "a.**", "a.b", self.handled, self.waiting, self.dropped)
        return self.detector.look([backlog], self.now)


@pytest.fixture
def consumer():
    consumer = Consumer()
    assert consumer.look() == []
    return consumer


def test_a_consumer_that_keeps_up_is_not_reported_however_much_it_handles(consumer):
    assert [consumer.look(arrived=1_000, done=1_000) for _ in range(40)] == [[]] * 40


def test_a_consumer_with_a_constant_backlog_but_little_lag_is_not_reported(consumer):
    consumer.look(arrived=100)
    assert [consumer.look(arrived=100, done=100) for _ in range(40)] == [[]] * 40


def test_a_consumer_that_lags_by_a_second_is_reported_once(consumer):
    reports = [consumer.look(arrived=10, done=1) for _ in range(20)]
    episodes = [report for report in reports if report]
    assert len(episodes) == 1
    assert episodes[0][0] | {"lag": 0, "waiting": 0} == {
        "state": "slow",
        "handler": "app.handle",
        "pattern": "a.**",
        "topic": "a.b",
        "lag": 0,
        "waiting": 0,
        "dropped": 0,
    }
    assert episodes[0][0]["lag"] >= 1.0


def test_a_consumer_that_is_stuck_is_slow_after_a_second(consumer):
    consumer.look(arrived=1)
    reports = [consumer.look() for _ in range(4)]
    assert [bool(report) for report in reports] == [False, False, False, True]


def test_a_consumer_that_drops_is_slow_at_once_and_the_report_has_the_number(consumer):
    (report,) = consumer.look(arrived=100, done=10, dropped=80)
    assert (report["state"], report["dropped"], report["waiting"]) == ("slow", 80, 10)


def test_a_consumer_has_recovered_after_a_calm_time(consumer):
    consumer.look(arrived=100, dropped=60)
    consumer.look(arrived=0, done=20, dropped=20)
    reports = []
    while not reports:
        reports = consumer.look()
    assert (reports[0]["state"], reports[0]["dropped"]) == ("recovered", 80)
    assert reports[0]["lasted"] == pytest.approx(0.25 + CALM_TIME)
    assert consumer.look() == []


def test_a_later_drop_is_another_episode(consumer):
    consumer.look(arrived=10, dropped=10)
    while not consumer.look():
        pass
    assert consumer.look(arrived=5, dropped=5)[0]["dropped"] == 5


def test_drops_within_the_calm_time_are_one_episode(consumer):
    reports = [consumer.look(arrived=1, dropped=1, seconds=0.5) for _ in range(20)]
    assert [len(report) for report in reports] == [1] + [0] * 19


def test_drops_before_the_first_look_are_not_reported():
    consumer = Consumer()
    assert consumer.look(arrived=5, dropped=5) == []


def test_a_consumer_whose_queue_is_gone_is_forgotten(consumer):
    consumer.look(arrived=10, dropped=10)
    consumer.detector.look([], consumer.now)
    consumer.handled = consumer.waiting = consumer.dropped = 0
    assert consumer.look() == []


def test_a_new_consumer_that_has_dropped_is_slow():
    detector = SlowConsumers()
    detector.look([], 0.0)
    assert len(detector.look([Backlog("queue", "h", "a", "", 0, 10, 40)], 0.25)) == 1


# Consumers of real nodes


@pytest.fixture
def pair(node):
    """A node that publishes, and one that does not keep up."""
    return node("publisher"), node("consumer")


def of(state, reports):
    return [report for report in reports if report["state"] == state]


def test_a_handler_that_blocks_the_delivery_thread_is_named_and_reported_again_when_it_is_over(pair):
    publisher, consumer = pair
    reports, go_on = [], threading.Event()
    consumer.subscribe("fabric.slow_consumer", reports.append)

    def handle(event):
        go_on.wait(20)

    consumer.subscribe("slow.*", handle).wait_ready(everyone=True)
    for number in range(100):
        publisher.publish("slow.topic", {"n": number})
        consumer.stats()
    wait_until(lambda: of("slow", reports))
    report = of("slow", reports)[0]
    assert report["handler"].endswith("handle")
    assert (report["pattern"], report["topic"], report["dropped"]) == ("slow.*", "slow.topic", 0)
    assert report["lag"] >= 1
    assert report["waiting"] > 0
    go_on.set()
    wait_until(lambda: of("recovered", reports))
    assert len(of("slow", reports)) == 1


def test_an_event_loop_that_is_stuck_is_reported_with_the_callback_that_is_next(pair):
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
        wait_until(lambda: of("slow", reports))
    finally:
        go_on.set()
        thread.join()
    report = of("slow", reports)[0]
    assert (report["pattern"], report["topic"], report["waiting"]) == ("looped.*", "looped.topic", 1)
    assert report["handler"].endswith("on_event")


def test_an_iteration_that_drops_is_reported_with_the_number(pair):
    publisher, consumer = pair
    reports = []
    consumer.subscribe("fabric.slow_consumer", reports.append)
    with consumer.events("streamed.*", limit=10) as events:
        events.subscription.wait_ready(everyone=True)
        for number in range(50):
            publisher.publish("streamed.topic", {"n": number})
        wait_until(lambda: events.dropped == 40)
        wait_until(lambda: of("slow", reports))
        for _ in range(10):
            events.get(1)
        wait_until(lambda: of("recovered", reports))
    assert sum(report["dropped"] for report in of("recovered", reports)) == 40
    assert of("slow", reports)[0]["pattern"] == "streamed.*"


def test_consumers_that_keep_up_are_not_reported(pair):
    publisher, consumer = pair
    reports, got = [], []
    consumer.subscribe("fabric.slow_consumer", reports.append)
    consumer.subscribe("quick.*", got.append).wait_ready(everyone=True)
    for number in range(2_000):
        publisher.publish("quick.topic", {"n": number})
    wait_until(lambda: len(got) == 2_000)
    consumer.wait_ready()
    assert reports == []
