"""A node that wants to take in less than others send: what the fuzzers have found, and cannot show by themselves.

libzmq: a socket that connects, and gets a frame over its MAXMSGSIZE, hangs up and never connects again.
"""

import pytest

import fabric
from fabric.testing import ProxyProcess, wait_until

LARGE = "x" * 500_000


@pytest.fixture
def pair():
    """A node of the usual limits, and one that wants to take in less."""
    with ProxyProcess() as proxy, fabric.connect("big", url=proxy.url, bus=fabric.Bus(), autostart=False) as big:
        options = {"url": proxy.url, "bus": fabric.Bus(), "autostart": False, "max_bytes": 100_000}
        with fabric.connect("small", **options) as small:
            big.wait_ready(10)
            small.wait_ready(10)
            yield big, small


def test_a_node_hears_on_after_an_event_that_is_over_its_limit(pair):
    big, small = pair
    seen = []
    small.subscribe("a", lambda event: seen.append(event["n"])).wait_ready(10, everyone=True)
    big.publish("a", {"n": 1, "pad": LARGE})

    def again():
        big.publish("a", {"n": 2})
        return 2 in seen

    wait_until(again, 10, "later events arrive")


def test_a_node_can_be_sent_to_after_a_message_that_is_over_its_limit(pair):
    big, small = pair
    small.endpoint("worker", lambda message: "done").wait_ready(10)
    big.send("worker", {"pad": LARGE}, timeout=1)
    assert big.request("worker", {}, timeout=10).wait(10) == "done"
