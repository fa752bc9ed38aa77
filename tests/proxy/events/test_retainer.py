"""Against a real event plane: an `EventPlane` in this process, or a proxy in its own."""

import logging

import orjson
import pytest
import zmq

import fabric
from fabric.config.address import parse_address
from fabric.protocol.events import PROBE, encode_event, encode_event_head, encode_pack, encode_topic
from fabric.testing import ProxyProcess, wait_until
from proxy import client
from proxy.events.plane import EventPlane

ORIGIN = b"12345678"


def make(address, retain=("state.**",), **options):
    return EventPlane(
        address,
        boot=b"bootboot",
        settle=0.0,
        max_bytes=10**6,
        peer_bytes=10**7,
        retain=retain,
        **options,
    )


@pytest.fixture
def address(tmp_path):
    return parse_address(f"ipc://{tmp_path}")


@pytest.fixture
def plane(address):
    plane = make(address)
    plane.start()
    assert plane.bound.wait(5)
    yield plane
    plane.stop()


@pytest.fixture
def announcer(plane):
    """A publisher; the retainer is the only subscriber."""
    announcer = plane.announcer(ORIGIN, "test")
    yield announcer
    announcer.close()


def ask(plane, pattern="**", **query):
    return orjson.loads(plane.retainer.answer({"pattern": pattern, **query}).data)


def kept(plane):
    return {topic: envelope["n"] for topic, _, _, envelope in ask(plane)["events"]}


def publish(announcer, plane, topic, n):
    """Publish until the event is retained: the publisher must receive the subscription first."""

    def published():
        announcer.announce(topic, {"n": n})
        return kept(plane).get(topic) == n

    wait_until(published)


def test_it_keeps_topics_without_other_subscribers(plane, announcer):
    publish(announcer, plane, "state.a", 1)
    publish(announcer, plane, "state.b", 2)
    announcer.announce("other", {"n": 3})
    publish(announcer, plane, "state.a", 4)
    assert kept(plane) == {"state.b": 2, "state.a": 4}
    stats = plane.retainer.stats()
    assert (stats["retained"], stats["retained_evicted"], stats["retained_missed"]) == (2, 0, 0)
    assert stats["retained_bytes"] > len("state.a") + len("state.b")


def test_a_place_mark_passes_among_the_events(plane, announcer):
    publish(announcer, plane, "state.a", 1)
    _, mark = plane.retainer.answer({"pattern": "**", "mark": "t"})
    announcer.announce(*mark)
    announcer.announce("state.b", {"n": 2})
    wait_until(lambda: "state.b" in kept(plane))
    assert [topic for topic, *_ in ask(plane, mark="t")["events"]] == ["state.a"]


class RawPublisher:
    """A publisher of frames, in the order of its calls."""

    def __init__(self, address, prefix):
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.connect(address.events_in)
        while self._receive() != b"\x01" + prefix:
            pass
        self._number = 0

    def _receive(self):
        assert self._socket.poll(5_000)
        return self._socket.recv()

    def send(self, *frames):
        self._socket.send_multipart(frames)

    def publish(self, topic, n):
        self._number += 1
        event = encode_event(encode_event_head(topic), self._number, orjson.dumps({"n": n}))
        self.send(encode_topic(topic, ORIGIN), encode_pack([event]))

    def close(self):
        self._context.destroy(linger=0)


def test_a_pattern_of_everything_skips_greetings_and_probes(address, caplog):
    plane = make(address, retain=["**"])
    plane.start()
    assert plane.bound.wait(5)
    publisher = RawPublisher(address, b"")
    try:
        publisher.publish("a", 1)
        publisher.send(PROBE + b"12345678")
        publisher.publish("b", 2)
        wait_until(lambda: kept(plane) == {"a": 1, "b": 2})
        assert not caplog.records
    finally:
        publisher.close()
        plane.stop()


def test_bytes_that_are_no_events_are_logged_once_and_harm_nothing(plane, address, caplog):
    publisher = RawPublisher(address, b"state.")
    try:
        publisher.publish("state.a", 1)
        with caplog.at_level(logging.WARNING, "fabric.proxy"):
            for junk in ([b"state.a", b"[]"], [encode_topic("state.a", ORIGIN), b"{"], [b"state.b\0", b"\xff"]):
                publisher.send(*junk)
            publisher.send(b"state.x\0", b"1", b"2")
            publisher.publish("state.a", 2)
            wait_until(lambda: kept(plane) == {"state.a": 2})
    finally:
        publisher.close()
    assert len(caplog.records) == 1


def test_a_plane_that_could_not_start_closes_all_its_sockets(tmp_path):
    plane = make(parse_address(f"ipc://{tmp_path}/missing"))
    with pytest.raises(fabric.ProxyError, match="cannot listen"):
        plane.start()


def test_without_patterns_there_is_no_retainer(address):
    plane = make(address, retain=())
    assert plane.retainer is None
    plane.close_unstarted()


def test_the_record_of_a_running_proxy_counts_retained_topics(fabric_node):
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


def test_last_needs_no_hello_and_a_malformed_query_is_answered_with_an_error():
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
