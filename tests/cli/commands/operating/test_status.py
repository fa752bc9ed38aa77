"""`fabric status`, as users run it, at a proxy of its own."""

import re
import signal
import socket
from pathlib import Path

import orjson
import pytest

from cli.main import run
from fabric.testing import ProxyProcess, wait_until
from tests.cli.fabrics import TIMEOUT, lose, record, wait_for_report

_COLOUR = re.compile(r"\x1b\[\d*m")


@pytest.fixture
def proxy():
    with ProxyProcess(timeout=TIMEOUT) as made:
        yield made


@pytest.fixture
def status(proxy, start):
    """A function that runs `fabric status` and returns it when it has ended, its exit code as `code`."""

    def run_it(*options, **how):
        command = start("status", *options, "--url", proxy.url, **how)
        command.code = command.end()
        return command

    return run_it


def test_all_is_well_is_said_calmly_on_a_screen_of_80_columns(proxy, status, fabric_node):
    with fabric_node("reader", url=proxy.url) as reader, fabric_node("writer", url=proxy.url) as writer:
        reader.subscribe("a.**", lambda event: None).wait_ready(10, everyone=True)
        reader.endpoint("inbox", lambda message: None).wait_ready()
        for _ in range(100):
            writer.publish("a.b", {})
        writer.send("inbox", {}).wait()
        wait_for_report(
            proxy.url, lambda stats: stats.delivered == 100 and stats.plane.events == 100 and stats.plane.alive
        )
        shown = status("--strict", terminal=True, size=(80, 24))
    assert shown.code == 0
    lines = [line.rstrip("\r") for line in shown.out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert len(lines) < 24
    assert "\x1b" not in shown.out
    text = "\n".join(lines)
    for said in (
        f"at {proxy.url}",
        f"pid {proxy.pid} on {socket.gethostname()}",
        "events    alive (round trip ",
        "100 so far",
        "100 published by nodes, 100 sent, 100 delivered",
        "messages  1 routed, 1 acknowledged",
        "lost      nothing was lost",
        "1 endpoint: inbox",
    ):
        assert said in text
    assert re.search(r"^reader +\d+ +1 +1 ", text, re.MULTILINE)
    assert re.search(r"^a\.b +100 ", text, re.MULTILINE)


def test_a_loss_is_red_names_its_cause_and_its_node_and_fails_if_one_is_strict(proxy, status, fabric_node):
    with fabric_node("careless", url=proxy.url) as node:
        lose(node, 3)
        wait_for_report(proxy.url, lambda stats: stats.lost == 3)
        shown = status(terminal=True, size=(80, 24))
        assert shown.code == 0
        red = re.findall(r"\x1b\[31m(.*?)\x1b\[0m", shown.out)
        assert red[:2] == [
            "lost      3 events with a payload that is no JSON (unencodable)",
            "              careless 3",
        ]
        assert red[2].strip() == "3"  # in the table
        assert max(len(line.rstrip("\r")) for line in _COLOUR.sub("", shown.out).splitlines()) <= 80

        strict = status("--strict", terminal=True, env={"NO_COLOR": "1"})
        assert (strict.code, "\x1b" in strict.out, "careless 3" in strict.out) == (1, False, True)
        piped = status("--strict")
        assert (piped.code, "\x1b" in piped.out, "careless 3" in piped.out) == (1, False, True)
        found = status("--json", "--strict")
        assert found.code == 1
        facts = orjson.loads(found.out)
        assert (facts["state"], facts["lost"], facts["dropped"]) == ("up", 3, {"unencodable": 3})
        assert (facts["members"][0]["node"], facts["members"][0]["report"]["dropped"]) == (
            "careless",
            {"unencodable": 3},
        )
    # The losses of a node stay known when it has gone.
    wait_until(lambda: not record(proxy.url).members)
    assert "nodes that are gone 3" in status().out


def test_events_that_an_outbox_dropped_while_the_proxy_was_away_are_shown(proxy, status, fabric_node):
    with (
        fabric_node("reader", url=proxy.url) as reader,
        fabric_node("writer", url=proxy.url, outbox_events=5) as writer,
    ):
        reader.subscribe("a.**", lambda event: None).wait_ready(10, everyone=True)
        proxy.kill()
        wait_until(lambda: writer.state == "down")
        for _ in range(20):
            writer.publish("a.b", {})
        proxy.restart()
        wait_for_report(proxy.url, lambda stats: stats.dropped.get("outbox") == 15)
        shown = status("--strict")
    assert shown.code == 1
    assert re.search(r"15 events that waited .* \(outbox\)\n +writer 15\n", shown.out)


def test_long_lists_are_cut_and_all_of_them_are_to_be_had(proxy, status, fabric_node):
    nodes = [fabric_node(f"node-{i:02}", url=proxy.url) for i in range(11)]
    assert record(proxy.url).nodes == len(nodes)
    shown = status()
    assert "… and 3 more: fabric status --all" in shown.out
    assert "node-10" not in shown.out
    everything = status("--all").out
    assert "more:" not in everything
    assert all(node.name in everything for node in nodes)


def test_it_joins_nothing_and_starts_nothing(proxy, status, runtime_dir, capfd):
    status()
    stats = record(proxy.url)
    assert (stats.nodes, stats.messages["lost"]) == (0, 0)
    assert run(["status"]) == 3  # at the embedded default, where other commands would start one
    assert "fabric: no proxy is running at " in capfd.readouterr().err
    assert not (Path(runtime_dir) / "fabric" / "messages").exists()


def test_a_proxy_that_is_stopped_is_unhealthy(proxy, status):
    proxy.signal(signal.SIGSTOP)
    shown = status("--timeout", "0.3")
    assert (shown.code, shown.out) == (1, "")
    assert f"-- its lock was taken by pid {proxy.pid}" in shown.err
    assert "but did not answer within 0.3 s" in shown.err
    shown = status("--timeout", "0.3", "--json")
    assert (shown.code, orjson.loads(shown.out)["state"]) == (1, "not answering")


def test_another_program_at_the_address_is_unhealthy(capfd):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(["status", "--timeout", "0.2", "--url", f"tcp://127.0.0.1:{other.getsockname()[1]}"]) == 1
    assert "or it is no proxy" in capfd.readouterr().err
