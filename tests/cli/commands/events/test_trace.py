"""`fabric trace`: the subscriptions that a topic matches."""

import subprocess
import sys

import orjson
import pytest
import zmq

from cli.main import run

SERVICE = """
import asyncio, sys, fabric

class Orders:
    def created(self, event): raise AssertionError("nothing is published")

async def audit(event): pass

async def main():
    node = fabric.connect("orders", url=sys.argv[1])
    handlers = {"order.*": Orders().created, "order.**": audit, "Order.created": audit, "order": audit}
    for pattern, handler in handlers.items():
        await node.subscribe(pattern, handler).ready()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await node.aclose()

asyncio.run(main())
"""


@pytest.fixture
def service(fabric_proxy):
    """Another process that subscribes."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, fabric_proxy.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


def test_it_shows_the_matching_and_the_nearly_matching_subscriptions(service, fabric_proxy, start):
    command = start("trace", "order.created", "--url", fabric_proxy.url)
    assert command.end() == 0
    lines = command.out.splitlines()
    assert lines[0] == "order.created: 2 subscribers in 1 node, of 1 that answered"
    assert lines[2].startswith(f"orders (pid {service.pid} on ")
    assert [line.split() for line in lines[3:5]] == [
        ["gets", "it", "order.*", "__main__.Orders.created"],
        ["gets", "it", "order.**", "async", "__main__.audit"],
    ]
    assert lines[5].endswith("Order.created  async __main__.audit: only upper and lower case differ")
    assert lines[6].endswith("async __main__.audit: it does not reach below order; order.** would match")
    assert command.err == ""


def test_without_a_matching_subscription_it_ends_with_4(service, fabric_proxy, start):
    command = start("trace", "invoice.sent", "--url", fabric_proxy.url)
    assert command.end() == 4
    assert command.out == "invoice.sent: 0 subscribers in 0 nodes, of 1 that answered\n"
    assert command.err == "fabric: nobody would get invoice.sent\n"


def test_as_json_it_is_one_line(service, fabric_proxy, capfd):
    assert run(["trace", "order.created", "--json", "--url", fabric_proxy.url]) == 0
    found = orjson.loads(capfd.readouterr().out)
    (node,) = found["nodes"]
    assert (found["topic"], found["reached"], node["pid"]) == ("order.created", True, service.pid)
    assert node["matching"][1] == {"pattern": "order.**", "handler": "__main__.audit", "async": True}
    assert node["near"][0]["why"] == "only upper and lower case differ"
    assert (found["unclaimed"], found["silent"]) == ([], [])


def test_it_may_be_a_topic_of_the_systems_own(fabric_proxy, fabric_node, capfd):
    fabric_node("watch").subscribe("fabric.node.*", print).wait_ready()
    assert run(["trace", "fabric.node.joined", "--url", fabric_proxy.url]) == 0
    assert "fabric.node.*" in capfd.readouterr().out


def test_a_subscriber_that_is_no_node_is_shown_by_its_prefix(fabric_proxy, fabric_node, capfd):
    node = fabric_node("app")
    with zmq.Context() as context, context.socket(zmq.SUB) as stranger:
        stranger.linger = 0
        stranger.connect(node.address.events_out)
        stranger.subscribe(b"ord")
        while not node.trace("order.created").unclaimed:
            pass
        assert run(["trace", "order.created", "--url", fabric_proxy.url]) == 0
    assert "a subscriber that is no node takes whatever begins with 'ord'" in capfd.readouterr().out


def test_names_from_elsewhere_cannot_act_on_the_terminal(fabric_proxy, fabric_node, capfd):
    def odd(_event):
        pass

    odd.__qualname__ = "x\x1b[2J"
    fabric_node("app").subscribe("a.b", odd).wait_ready()
    assert run(["trace", "a.b", "--url", fabric_proxy.url]) == 0
    assert "\x1b" not in capfd.readouterr().out


def test_a_pattern_is_no_topic(capfd):
    assert run(["trace", "order.*"]) == 2
    assert "only patterns may" in capfd.readouterr().err
