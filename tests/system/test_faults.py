"""What goes wrong, and that every event is accounted for: published = delivered + counted drops + reported gaps."""

import itertools
import os
import signal
import time

import pytest

from fabric.testing import ProxyProcess, wait_until
from tests.processes import stop

TOPICS = [f"load.t{n}" for n in range(5)]


def assert_in_order_and_never_twice(seen):
    assert all(earlier < later for earlier, later in itertools.pairwise(seen))


def account(publisher, subscriber):
    """(everything that became of an event, of which reported missing): as the counters say just now."""
    ours, theirs = publisher("report")["stats"], subscriber("report")
    stats = theirs["stats"]
    assert stats["missed"] == sum(missed for _, missed in theirs["gaps"])
    lost_before = ours["dropped"] + ours["unwanted"] + ours["unencodable"]
    return len(theirs["seen"]) + stats["missed"] + stats["joining"] + lost_before + ours["waiting"], stats["missed"]


def wait_until_accounted_for(publisher, subscriber, published):
    """The marks close the tail about a second after the last event."""
    found = []

    def is_exact():  # two processes are asked one after the other: on the way from one to the other an event is in neither
        found[:] = account(publisher, subscriber)
        return found[0] == published

    wait_until(is_exact, 15, "all events are accounted for")
    return found[1]


@pytest.fixture
def pair(fabric_proxy, program):
    """A publisher and a subscriber that is ready for it, each in a process of its own."""
    publisher, subscriber = program(fabric_proxy.url, "publisher"), program(fabric_proxy.url, "subscriber")
    publisher("ready")
    subscriber("subscribe", pattern="load.**", everyone=True)
    return publisher, subscriber


def test_without_faults_nothing_is_lost(pair):
    publisher, subscriber = pair
    publisher("publish", topics=TOPICS, count=20_000, rate=0)
    published = publisher("wait")["published"]
    assert wait_until_accounted_for(publisher, subscriber, published) == 0
    wait_until(lambda: len(subscriber("report")["seen"]) == published)  # what waited in the outbox has arrived, too
    assert subscriber("report")["seen"] == list(range(published))


def test_a_killed_proxy_that_is_restarted_under_load(fabric_proxy, pair):
    publisher, subscriber = pair
    publisher("publish", topics=TOPICS, count=5_000, rate=2_000)
    wait_until(lambda: publisher("progress")["published"] > 1_000)
    fabric_proxy.restart()
    back = time.monotonic() + 2.0
    for each in (publisher, subscriber):
        wait_until(lambda each=each: [what for what, _ in each("report")["links"]][-1] == "fabric.link.up")
        assert each("report")["links"][-1][1] < back
        assert [what for what, _ in each("report")["links"]] == ["fabric.link.up", "fabric.link.down", "fabric.link.up"]
    published = publisher("wait")["published"]
    wait_until_accounted_for(publisher, subscriber, published)
    seen = subscriber("report")["seen"]
    assert_in_order_and_never_twice(seen)
    assert seen[-1] == published - 1
    assert subscriber("report")["stats"]["joining"] == 0


def test_a_proxy_killed_again_and_again(fabric_proxy, pair):
    publisher, subscriber = pair
    publisher("publish", topics=TOPICS, count=1_000_000, rate=2_000)
    for _ in range(3):
        start = publisher("progress")["published"]
        wait_until(lambda start=start: publisher("progress")["published"] > start + 700)
        fabric_proxy.restart(settle=0.1)
    publisher("halt")
    wait_until_accounted_for(publisher, subscriber, publisher("wait")["published"])
    assert_in_order_and_never_twice(subscriber("report")["seen"])


def test_what_is_published_while_there_is_no_proxy_waits_for_it(fabric_proxy, pair):
    publisher, subscriber = pair
    fabric_proxy.kill()
    wait_until(lambda: publisher("report")["stats"]["state"] == "down")
    publisher("publish", topics=TOPICS, count=1_000, rate=0)
    assert publisher("wait")["longest"] < 1.0
    assert publisher("report")["stats"]["waiting"] == 1_000
    fabric_proxy.start(settle=0.3)
    published = 1_000
    wait_until_accounted_for(publisher, subscriber, published)
    assert_in_order_and_never_twice(subscriber("report")["seen"])


def test_a_stopped_proxy_that_continues(fabric_proxy, pair):
    publisher, subscriber = pair
    fabric_proxy.signal(signal.SIGSTOP)
    publisher("publish", topics=TOPICS, count=5_000, rate=0)
    assert publisher("wait")["longest"] < 1.0
    fabric_proxy.signal(signal.SIGCONT)
    wait_until_accounted_for(publisher, subscriber, 5_000)
    assert_in_order_and_never_twice(subscriber("report")["seen"])


def test_a_stopped_subscriber_costs_the_others_nothing(fabric_proxy, pair, program):
    publisher, stopped = pair
    other = program(fabric_proxy.url, "other")
    other("subscribe", pattern="load.**", everyone=True)
    stop(stopped.pid)
    try:
        publisher("publish", topics=TOPICS, count=10_000, rate=0, pad=100)
        published = publisher("wait")["published"]
        assert wait_until_accounted_for(publisher, other, published) == 0
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    wait_until_accounted_for(publisher, stopped, published)
    assert_in_order_and_never_twice(stopped("report")["seen"])


def test_a_subscriber_stopped_for_longer_than_its_pipe_is_told_what_it_missed(program):
    # A subscriber here may pile up a quarter of a megabyte in the proxy: it misses most of 40.
    with ProxyProcess(peer_bytes=256 * 1024) as proxy:
        publisher, stopped = program(proxy.url, "publisher"), program(proxy.url, "stopped")
        publisher("ready")
        stopped("subscribe", pattern="load.**", everyone=True)
        stop(stopped.pid)
        try:
            publisher("publish", topics=TOPICS, count=20_000, rate=0, pad=2_000)
            published = publisher("wait")["published"]
            wait_until(lambda: publisher("report")["stats"]["waiting"] == 0)
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        wait_until_accounted_for(publisher, stopped, published)
        assert_in_order_and_never_twice(stopped("report")["seen"])


def test_a_slow_handler_delays_only_its_own_process(fabric_proxy, pair, program):
    publisher, quick = pair
    slow = program(fabric_proxy.url, "slow")
    slow("subscribe", pattern="load.**", handling=0.005)
    publisher("publish", topics=TOPICS, count=200, rate=0)
    wait_until(lambda: len(quick("report")["seen"]) == 200)
    assert len(slow("report")["seen"]) < 200
    wait_until_accounted_for(publisher, slow, 200)


def test_a_killed_subscriber_is_no_burden_to_the_others(fabric_proxy, pair, program):
    publisher, other = pair
    killed = program(fabric_proxy.url, "killed")
    killed("subscribe", pattern="load.**")
    publisher("publish", topics=TOPICS, count=4_000, rate=4_000)
    wait_until(lambda: publisher("progress")["published"] > 500)
    killed.kill()
    assert wait_until_accounted_for(publisher, other, publisher("wait")["published"]) == 0


def test_a_killed_publisher_leaves_the_others_in_order(fabric_proxy, pair, program):
    publisher, subscriber = pair
    killed = program(fabric_proxy.url, "killed")
    killed("ready")
    killed("publish", topics=["noise.a"], count=100_000, rate=4_000)
    wait_until(lambda: killed("progress")["published"] > 100)
    publisher("publish", topics=TOPICS, count=2_000, rate=4_000)
    killed.kill()
    assert wait_until_accounted_for(publisher, subscriber, publisher("wait")["published"]) == 0
