"""The self-check of real proxies: round trips, stopped and missing planes, and nodes beside it."""

import contextlib
import signal
import threading

import pytest

from fabric.config.address import parse_address
from fabric.config.settings import load
from fabric.testing import ProxyProcess, wait_until
from proxy.health.self_check import CheckResult, SelfCheck
from proxy.server import Server
from proxy.settings import ProxySettings
from tests.ports import free_port

#: Seconds that a check may take before a test fails; it takes a millisecond.
LONG = 10.0


@pytest.fixture
def self_check(fabric_proxy):
    with contextlib.closing(SelfCheck(parse_address(fabric_proxy.url))) as self_check:
        yield self_check


def test_a_check_passes_through_both_planes_and_measures_the_round_trips(self_check):
    result = self_check.check(LONG)
    assert result.good
    assert 0 < result.events < LONG
    assert 0 < result.messages < LONG
    assert self_check.last == self_check.known == result


def test_many_checks_in_a_row_are_good(self_check):
    for _ in range(20):
        assert self_check.check(LONG).good
    before = self_check.answered_at
    assert self_check.check(LONG).good
    assert self_check.answered_at > before


def test_before_the_first_check_nothing_is_known(self_check):
    assert (self_check.last, self_check.known, self_check.alive, self_check.answered_at) == (
        CheckResult(),
        CheckResult(),
        False,
        0.0,
    )


def test_without_a_proxy_no_plane_answers(lonely_url):
    with contextlib.closing(SelfCheck(parse_address(lonely_url))) as self_check:
        assert self_check.check(0.1) == CheckResult(None, None)
        assert not self_check.alive


def test_a_stopped_proxy_does_not_answer_and_answers_again_when_it_continues(fabric_proxy, self_check):
    good = self_check.check(LONG)
    fabric_proxy.signal(signal.SIGSTOP)
    assert self_check.check(0.2) == CheckResult(None, None)
    assert (self_check.alive, self_check.known) == (False, good)
    fabric_proxy.signal(signal.SIGCONT)
    assert self_check.check(LONG).good


def test_a_late_answer_counts_with_its_long_round_trip(fabric_proxy, self_check):
    assert self_check.check(LONG).good
    fabric_proxy.signal(signal.SIGSTOP)
    for _ in range(3):
        assert not self_check.check(0.1).good
    fabric_proxy.signal(signal.SIGCONT)
    late = self_check.check(LONG)
    assert late.events > 0.3
    assert late.messages > 0.3


def test_it_finds_a_proxy_that_was_restarted(fabric_proxy, self_check):
    assert self_check.check(LONG).good
    fabric_proxy.kill()
    assert not self_check.check(0.1).good
    fabric_proxy.start()
    wait_until(lambda: self_check.check(1.0).good)


def test_a_plane_that_is_not_bound_yet_does_not_answer_while_the_other_does(lonely_url):
    server, ready = Server(load(ProxySettings, "proxy", {"url": lonely_url, "settle": 60.0})), threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"ready": ready.set})
    thread.start()
    try:
        assert ready.wait(LONG)
        with contextlib.closing(SelfCheck(server.address)) as self_check:
            wait_until(lambda: self_check.check(0.1).messages is not None)
            assert self_check.last.events is None
            assert not self_check.alive
    finally:
        server.stop()
        thread.join(LONG)


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "0.0.0.0", "localhost"])
def test_it_reaches_a_proxy_on_tcp_wherever_that_listens(host):
    url = f"tcp://{host}:{free_port()}"
    with (
        ProxyProcess(url, insecure=True) as proxy,
        contextlib.closing(SelfCheck(parse_address(proxy.url))) as self_check,
    ):
        assert self_check.check(LONG).good


def test_nodes_ignore_the_probes(fabric_proxy, self_check, fabric_node):
    node, seen = fabric_node(), []
    node.subscribe("**", seen.append).wait_ready(everyone=True)
    for _ in range(10):
        assert self_check.check(LONG).good
    node.publish("after")
    wait_until(lambda: seen)
    assert [event["type"] for event in seen if not event["type"].startswith("fabric.")] == ["after"]
    assert node.stats()["rejected"] == 0


def test_it_does_not_count_as_a_node(fabric_proxy, self_check, fabric_node):
    assert self_check.check(LONG).good
    assert [row["node"] for row in fabric_node("only").members().nodes] == ["only"]
