"""Against a real event plane: an `EventPlane` in this process, or a proxy in its own."""

import pytest
import zmq

import fabric
from fabric.config.address import parse_address
from fabric.testing import wait_until
from proxy import client
from proxy.events.observer import QUEUE_LENGTH
from proxy.events.plane import EventPlane


@pytest.fixture
def address(tmp_path):
    return parse_address(f"ipc://{tmp_path}")


@pytest.fixture
def plane(address):
    plane = EventPlane(address, boot=b"bootboot", settle=0.0, max_bytes=10**6, peer_bytes=10**7, topics=100)
    plane.start()
    assert plane.bound.wait(5)
    yield plane
    plane.stop()


class Publisher:
    """Publishes events, each in its own message. Without its subscriber of everything none would be sent."""

    def __init__(self, plane, address):
        self._announcer = plane.announcer(b"12345678", "test")
        self._context = zmq.Context()
        self._subscriber = self._context.socket(zmq.SUB)
        self._subscriber.rcvhwm = 0
        self._subscriber.connect(address.events_out)
        self._subscriber.subscribe(b"")
        self.sent = 0
        wait_until(self._arrives)

    def _arrives(self):
        self("first")
        # Not the greeting, which every subscriber of the empty prefix gets.
        return self._subscriber.poll(50) and self._subscriber.recv_multipart()[0].startswith(b"first")

    def __call__(self, topic, times=1):
        self.sent += times
        for _ in range(times):
            self._announcer.announce(topic, {})

    def close(self):
        self._announcer.close()
        self._context.destroy(linger=0)


@pytest.fixture
def publish(plane, address):
    publisher = Publisher(plane, address)
    yield publisher
    publisher.close()


def events(plane):
    return {row.topic: row.events for row in plane.observer.topic_counts.rows(9)}


def test_frames_and_bytes_are_what_libzmq_has_counted(plane, publish):
    wait_until(lambda: plane.observer.counted.frames_in)
    before = plane.observer.counted
    publish("a", 10)
    wait_until(lambda: plane.observer.counted.frames_in == before.frames_in + 20)
    counted = plane.observer.counted
    assert (counted.frames_out, counted.bytes_out) == (counted.frames_in, counted.bytes_in)
    assert counted.bytes_in - before.bytes_in > 10 * len("a")


def test_events_are_counted_by_topic(plane, publish):
    publish("a", 3)
    publish("b", 2)
    wait_until(lambda: events(plane).items() >= {"a": 3, "b": 2}.items())
    assert plane.observer.topic_counts.observed == 1


def test_events_beyond_the_sample_are_estimated_from_libzmqs_totals(plane, publish):
    messages = 50 * QUEUE_LENGTH
    publish("a", messages)
    wait_until(lambda: plane.observer.counted.frames_in >= 2 * messages)
    publish("b")
    wait_until(lambda: "b" in events(plane))
    assert events(plane)["a"] == pytest.approx(messages, rel=0.1)
    assert plane.observer.topic_counts.observed < 1


def test_a_subscription_is_not_counted_as_an_event(plane, address, publish):
    context = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    try:
        subscriber.connect(address.events_out)
        for number in range(50):
            subscriber.subscribe(b"topic-%d" % number)
        publish("a")
        wait_until(lambda: "a" in events(plane))
        assert set(events(plane)) <= {"first", "a"}
    finally:
        context.destroy(linger=0)


def test_after_the_settle_time_events_are_counted(address):
    plane = EventPlane(address, boot=b"bootboot", settle=0.3, max_bytes=10**6, peer_bytes=10**7, topics=100)
    plane.start()
    publish = Publisher(plane, address)
    try:
        wait_until(lambda: plane.observer.counted.frames_in and events(plane))
    finally:
        publish.close()
        plane.stop()


def test_without_topics_to_count_there_is_no_observer(address):
    plane = EventPlane(address, boot=b"bootboot", settle=0.0, max_bytes=10**6, peer_bytes=10**7, topics=0)
    plane.start()
    try:
        assert plane.observer is None
        assert plane.bound.wait(5)
    finally:
        plane.stop()


def test_a_plane_that_could_not_start_closes_all_its_sockets(tmp_path):
    missing = parse_address(f"ipc://{tmp_path}/missing")
    plane = EventPlane(missing, boot=b"bootboot", settle=0.0, max_bytes=10**6, peer_bytes=10**7, topics=100)
    with pytest.raises(fabric.ProxyError, match="cannot listen"):
        plane.start()


def test_the_record_of_a_running_proxy_has_its_topics(shared_proxy, node):
    address = parse_address(shared_proxy.url)
    publisher, subscriber = node("publisher"), node("subscriber")
    subscriber.subscribe("observed.*", lambda event: None).wait_ready(everyone=True)
    publisher.publish("observed.topic", {"n": 1})
    wait_until(lambda: "observed.topic" in [row.topic for row in client.stats(address, topics=10_000).busiest])
