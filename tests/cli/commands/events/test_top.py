"""`fabric top`: live against a real proxy, at a real terminal, and once for scripts."""

import re

import pytest

from cli.main import run
from cli.terminal.text import cells
from fabric.config.address import parse_address
from fabric.testing import ProxyProcess, wait_until
from proxy import client

SGR = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def busy():
    """A proxy that hears of its nodes five times a second."""
    with ProxyProcess(timeout=0.6) as proxy:
        yield proxy


@pytest.fixture
def traffic(busy, fabric_node):
    """Two nodes, and events that have passed from one to the other."""
    sender, receiver = fabric_node("sender", url=busy.url), fabric_node("receiver-日本語", url=busy.url)
    heard = []
    receiver.subscribe("**", heard.append).wait_ready(everyone=True)
    for number in range(30):
        sender.publish("order.created", {"number": number})
        sender.publish(f"order.{number % 3}")
    wait_until(lambda: sum(each["type"].startswith("order") for each in heard) == 60)
    wait_until(lambda: {"order.created", "order.0"} <= {row.topic for row in record(busy).busiest})
    return sender, receiver


def record(proxy):
    return client.stats(parse_address(proxy.url), topics=50, nodes=50)


def screens(command):
    """The drawings, one list of lines each; the last one may be incomplete."""
    drawn = command.out.split("\x1b[H\x1b[K")[1:]
    return [
        [SGR.sub("", line).removeprefix("\x1b[K") for line in each.split("\x1b[J")[0].splitlines()] for each in drawn
    ]


# Once


def test_once_it_prints_the_topics_as_plain_text(traffic, busy, capfd):
    assert run(["top", "--once", "--url", busy.url, "--sort", "events"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"{busy.url} at ")
    assert lines[5] == "lost    0"
    rows = [line.split() for line in lines[lines.index("") + 2 :]]
    assert rows[0][0] == "order.created"
    assert "30" in rows[0]


def test_where_there_is_no_terminal_it_is_once_too(traffic, busy, start):
    command = start("top", "--nodes", "--sort", "node", "-n", "1", "--url", busy.url)
    assert command.end() == 0
    assert "\x1b" not in command.out
    assert command.out.splitlines()[-2].startswith("receiver-日本語 ")
    assert command.out.splitlines()[-1] == "… and 1 more"


def test_a_terminal_that_can_do_nothing_gets_it_once(traffic, busy, start):
    command = start("top", "--url", busy.url, terminal=True, env={"TERM": "dumb"})
    assert command.end() == 0
    assert "\x1b" not in command.out


def test_once_without_a_proxy_is_3(lonely_url, capfd):
    assert run(["top", "--once", "--url", lonely_url]) == 3
    assert capfd.readouterr().err == f"fabric: no proxy is running at {lonely_url}\n"


def test_the_order_must_be_one_of_the_tables(lonely_url, capfd):
    assert run(["top", "--topics", "--sort", "lag", "--url", lonely_url]) == 2
    assert "--topics are sorted by topic, rate" in capfd.readouterr().err


def test_an_order_of_the_nodes_shows_the_nodes(traffic, busy, capfd):
    assert run(["top", "--once", "--sort", "lag", "--url", busy.url]) == 0
    assert "LAG↓" in capfd.readouterr().out


# Live


def test_it_fits_into_80_columns_and_shows_topics_then_nodes_by_key(traffic, busy, start):
    command = start("top", "--interval", "0.1", "--url", busy.url, terminal=True, size=(80, 24))
    command.wait_for("order.created")
    command.write(b"n")
    command.wait_for("receiver-日本語")
    command.write(b"t")
    command.wait_until(lambda: "order.created" in command.out.rpartition("receiver-")[2], what="topics again")
    command.write(b"q")
    assert command.end() == 0
    assert len(screens(command)) >= 3
    for lines in screens(command):
        assert len(lines) <= 24
        assert max(map(cells, lines)) <= 80


def test_what_a_node_loses_is_red(traffic, busy, start):
    sender, _ = traffic
    command = start("top", "--interval", "0.1", "--url", busy.url, terminal=True)
    command.wait_for("lost    0")
    sender.publish("order.broken", {"payload": object()})
    command.wait_for("\x1b[31mlost    1 event: unencodable 1\x1b[0m")
    command.write(b"n")
    command.wait_for("\x1b[31m     1\x1b[0m")
    command.interrupt()


def test_help_is_there_until_the_next_key(traffic, busy, start):
    command = start("top", "--url", busy.url, terminal=True)
    command.wait_for("order.created")
    command.write(b"?")
    command.wait_for("this help")
    command.write(b"x")
    command.wait_until(lambda: "order.created" in command.out.rpartition("this help")[2], what="the table again")
    command.write(b"q")
    assert command.end() == 0


def test_paused_it_asks_nothing_until_it_goes_on(traffic, busy, start):
    sender, _ = traffic
    command = start("top", "--interval", "0.1", "--url", busy.url, terminal=True)
    command.wait_for("order.created")
    command.write(b"p")
    command.wait_for("  paused  ")
    sender.publish("order.later")
    wait_until(lambda: "order.later" in {row.topic for row in record(busy).busiest})
    command.write(b"r")  # which draws
    command.wait_until(lambda: "/S↑" in command.out, what="drawn in the other order")
    assert "order.later" not in command.out
    command.write(b"p")
    command.wait_for("order.later")
    command.interrupt()


def test_it_reports_that_the_proxy_has_gone_and_goes_on_when_it_is_back(traffic, busy, start):
    command = start("top", "--interval", "0.1", "--url", busy.url, terminal=True, size=(120, 24))
    command.wait_for("order.created")
    busy.kill()
    command.wait_for(f"no proxy is running at {busy.url}; this is ")
    busy.restart()
    command.wait_until(lambda: f"pid {busy.pid} " in command.out, what="the next one answers")
    command.wait_until(lambda: "no proxy is running" not in "".join(screens(command)[-2]), what="and nothing is wrong")
    command.write(b"q")
    assert command.end() == 0


def test_it_may_be_started_before_the_proxy(start):
    with ProxyProcess() as proxy:
        proxy.kill()
        command = start("top", "--interval", "0.1", "--url", proxy.url, terminal=True)
        command.wait_for(f"no proxy is running at {proxy.url}; waiting for it")
        proxy.restart()
        command.wait_for("lost    0")
        assert command.interrupt() == 0


def test_it_joins_nothing_and_keeps_one_connection(traffic, busy, start):
    before = record(busy).process.descriptors
    command = start("top", "--interval", "0.1", "--nodes", "--url", busy.url, terminal=True)
    command.wait_until(lambda: len(screens(command)) > 20, what="it has asked many times")
    seen = record(busy)
    assert seen.nodes == 2
    assert seen.process.descriptors <= before + 2
    command.write(b"q")
    assert command.end() == 0
