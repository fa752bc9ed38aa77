"""The pulse, at real proxies: what beats, what does not, and who notices."""

import contextlib
import signal
import threading

import pytest

from fabric.config.settings import load, parse_address
from fabric.testing import ProxyProcess, wait_until
from proxy.health.self_check import Beat, Pulse
from proxy.server import Server
from proxy.settings import ProxySettings
from tests.ports import free_port

#: Seconds a beat may take before a test fails; it takes a millisecond.
LONG = 10.0


@pytest.fixture
def pulse(fabric_proxy):
    with contextlib.closing(Pulse(parse_address(fabric_proxy.url))) as pulse:
        yield pulse


def test_a_beat_goes_through_both_planes_and_says_how_long_it_took(pulse):
    beat = pulse.beat(LONG)
    assert beat.good
    assert 0 < beat.events < LONG
    assert 0 < beat.messages < LONG
    assert pulse.last == pulse.known == beat


def test_beats_are_counted_from_their_own_question(pulse):
    for _ in range(20):
        assert pulse.beat(LONG).good
    before = pulse.at
    assert pulse.beat(LONG).good
    assert pulse.at > before


def test_before_the_first_beat_nothing_is_known(pulse):
    assert (pulse.last, pulse.known, pulse.alive, pulse.at) == (Beat(), Beat(), False, 0.0)


def test_without_a_proxy_there_is_none(lonely_url):
    with contextlib.closing(Pulse(parse_address(lonely_url))) as pulse:
        assert pulse.beat(0.1) == Beat(None, None)
        assert not pulse.alive


def test_a_proxy_that_is_stopped_has_none_and_has_one_again_when_it_goes_on(fabric_proxy, pulse):
    good = pulse.beat(LONG)
    fabric_proxy.signal(signal.SIGSTOP)
    assert pulse.beat(0.2) == Beat(None, None)
    assert (pulse.alive, pulse.known) == (False, good)
    fabric_proxy.signal(signal.SIGCONT)
    assert pulse.beat(LONG).good


def test_an_answer_that_is_late_still_counts_and_says_how_late(fabric_proxy, pulse):
    assert pulse.beat(LONG).good
    fabric_proxy.signal(signal.SIGSTOP)
    for _ in range(3):
        assert not pulse.beat(0.1).good
    fabric_proxy.signal(signal.SIGCONT)
    late = pulse.beat(LONG)
    assert late.events > 0.3
    assert late.messages > 0.3


def test_it_finds_a_proxy_that_was_restarted(fabric_proxy, pulse):
    assert pulse.beat(LONG).good
    fabric_proxy.kill()
    assert not pulse.beat(0.1).good
    fabric_proxy.start()
    wait_until(lambda: pulse.beat(1.0).good)


def test_a_plane_that_is_not_there_yet_is_told_from_one_that_is(lonely_url):
    server, ready = Server(load(ProxySettings, "proxy", {"url": lonely_url, "settle": 60.0})), threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"ready": ready.set})
    thread.start()
    try:
        assert ready.wait(LONG)
        with contextlib.closing(Pulse(server.address)) as pulse:
            wait_until(lambda: pulse.beat(0.1).messages is not None)
            assert pulse.last.events is None
            assert not pulse.alive
    finally:
        server.stop()
        thread.join(LONG)


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "0.0.0.0", "localhost"])
def test_it_reaches_a_proxy_on_tcp_wherever_that_listens(host):
    url = f"tcp://{host}:{free_port()}"
    with ProxyProcess(url, insecure=True) as proxy, contextlib.closing(Pulse(parse_address(proxy.url))) as pulse:
        assert pulse.beat(LONG).good


def test_nodes_do_not_notice_it(fabric_proxy, pulse, fabric_node):
    node, seen = fabric_node(), []
    node.subscribe("**", seen.append).wait_ready(everyone=True)
    for _ in range(10):
        assert pulse.beat(LONG).good
    node.publish("after")
    wait_until(lambda: seen)
    assert [event["type"] for event in seen if not event["type"].startswith("fabric.")] == ["after"]
    assert node.stats()["rejected"] == 0


def test_it_is_no_node(fabric_proxy, pulse, fabric_node):
    assert pulse.beat(LONG).good
    assert [row["node"] for row in fabric_node("only").members().nodes] == ["only"]
