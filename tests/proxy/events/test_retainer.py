"""Against a real event plane: an `EventPlane` in this process, or a proxy in its own."""

import logging

import orjson
import pytest
import zmq

import fabric
from fabric.config.settings import parse_address
from fabric.protocol.events import PROBE, encode_topic
from fabric.testing import ProxyProcess, wait_until
from proxy import client
from proxy.events.plane import EventPlane


def make(tmp_path, retain=("state.**",), **options):
    return EventPlane(
        parse_address(f"ipc://{tmp_path}"),
        boot=b"bootboot",
        settle=0.0,
        max_bytes=10**6,
        peer_bytes=10**7,
        retain=retain,
        **options,
    )


@pytest.fixture
def plane(tmp_path):
    plane = make(tmp_path)
    plane.start()
    assert plane.bound.wait(5)
    yield plane
    plane.stop()


@pytest.fixture
def announcer(plane):
    """A publisher; nobody but the retainer is subscribed to anything."""
    announcer = plane.announcer(b"12345678", "test")
    yield announcer
    announcer.close()


def ask(plane, pattern="**", **query):
    return orjson.loads(plane.retainer.answer({"pattern": pattern, **query}).data)


def kept(plane):
    return {topic: envelope["n"] for topic, _, _, envelope in ask(plane)["events"]}


def publish(announcer, plane, topic, n):
    """Until it is there: the publisher has to hear of the subscription first."""

    def published():
        announcer.announce(topic, {"n": n})
        return kept(plane).get(topic) == n

    wait_until(published)


def test_it_keeps_what_nobody_else_subscribes_to(plane, announcer):
    publish(announcer, plane, "state.a", 1)
    publish(announcer, plane, "state.b", 2)
    announcer.announce("other", {"n": 3})
    publish(announcer, plane, "state.a", 4)
    assert kept(plane) == {"state.b": 2, "state.a": 4}
    stats = plane.retainer.stats()
    assert (stats["retained"], stats["retained_evicted"], stats["retained_missed"]) == (2, 0, 0)
    assert stats["retained_bytes"] > len("state.a") + len("state.b")


def test_a_place_mark_goes_the_way_of_events(plane, announcer):
    publish(announcer, plane, "state.a", 1)
    _, mark = plane.retainer.answer({"pattern": "**", "mark": "t"})
    announcer.announce(*mark)
    announcer.announce("state.b", {"n": 2})
    wait_until(lambda: "state.b" in kept(plane))
    assert [topic for topic, *_ in ask(plane, mark="t")["events"]] == ["state.a"]


def test_a_pattern_of_everything_skips_greetings_and_probes(tmp_path, caplog):
    plane = make(tmp_path, retain=["**"])
    plane.start()
    announcer = plane.announcer(b"12345678", "test")
    try:
        assert plane.bound.wait(5)
        publish(announcer, plane, "a", 1)
        announcer._socket.send(PROBE + b"12345678")
        publish(announcer, plane, "b", 2)
        assert set(kept(plane)) == {"a", "b"}
        assert not caplog.records
    finally:
        announcer.close()
        plane.stop()


def test_bytes_that_are_no_events_are_logged_once_and_harm_nothing(plane, announcer, caplog):
    publish(announcer, plane, "state.a", 1)
    with caplog.at_level(logging.WARNING, "fabric.proxy"):
        for junk in ([b"state.a", b"[]"], [encode_topic("state.a", b"12345678"), b"{"], [b"state.b\0", b"\xff"]):
            announcer._socket.send_multipart(junk)
        announcer._socket.send_multipart([b"state.x\0", b"1", b"2"])
        publish(announcer, plane, "state.a", 2)
    assert len(caplog.records) == 1


def test_a_plane_that_could_not_start_lets_go_of_everything(tmp_path):
    plane = make(tmp_path / "missing")
    with pytest.raises(fabric.ProxyError, match="cannot listen"):
        plane.start()


def test_without_patterns_there_is_none(tmp_path):
    plane = make(tmp_path, retain=())
    assert plane.retainer is None
    plane.close_unstarted()


def test_a_running_proxy_tells_what_it_keeps(fabric_node):
    with ProxyProcess(retain="state.**", retain_topics=1) as proxy:
        node = fabric_node("publisher", url=proxy.url)
        wait_until(lambda: node.state == "up")
        node.publish("state.a", {"n": 1})
        node.publish("state.b", {"n": 2})
        address = parse_address(proxy.url)
        wait_until(lambda: client.stats(address).plane.retained_evicted == 1)
        plane = client.stats(address).plane
        assert plane.retained == 1
        assert 0 < plane.retained_bytes < 200


def test_a_question_needs_no_hello_and_a_bad_one_is_answered_with_an_error():
    with ProxyProcess(retain="state.**") as proxy:
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.connect(parse_address(proxy.url).messages)
        try:
            dealer.send_multipart([b"LAST", b"id-1", b'{"pattern":"state.*"}'])
            assert dealer.poll(5_000)
            assert dealer.recv_multipart() == [
                b"KEPT", b"id-1", b'{"events":[],"more":false,"after":0,"mark":null}'
            ]  # fmt: skip
            for query in (b"", b"[]", b'{"pattern":"a..b"}'):
                dealer.send_multipart([b"LAST", b"id-2", query])
                assert dealer.poll(5_000)
                assert dealer.recv_multipart()[:1] == [b"ERROR"]
        finally:
            context.destroy(linger=0)
