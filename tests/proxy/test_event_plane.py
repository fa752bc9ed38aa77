"""The event plane in this process, with bare sockets around it."""

import tempfile
from pathlib import Path
from time import monotonic

import orjson
import pytest
import zmq

from fabric.errors import ProxyError
from fabric.settings import parse_address
from fabric.testing import wait_until
from fabric.wire import decode_events, decode_topic
from proxy.event_plane import EventPlane
from tests.system import raw


class Bench:
    """A running plane, and sockets towards it."""

    def __init__(self, directory, context, **options):
        self.address = parse_address(f"ipc://{directory}")
        defaults = {"boot": b"bootboot", "settle": 0.0, "max_bytes": 100_000, "peer_bytes": 1_000_000}
        self.plane = EventPlane(self.address, **(defaults | options))
        self.context = context
        self.sockets = []
        self.plane.start()

    def socket(self, kind, address, *prefixes):
        made = self.context.socket(kind)
        made.linger = 0
        made.reconnect_ivl = 10
        made.immediate = kind == zmq.XPUB  # notices when it is hung up on
        self.sockets.append(made)
        for prefix in prefixes:
            made.subscribe(prefix)
        made.connect(address)
        return made

    def publisher(self):
        return self.socket(zmq.XPUB, self.address.events_in)

    def subscriber(self, *prefixes):
        return self.socket(zmq.SUB, self.address.events_out, *prefixes)

    def close(self):
        for each in self.sockets:
            each.close()
        self.plane.stop()


@pytest.fixture
def make():
    benches = []
    with zmq.Context() as context, tempfile.TemporaryDirectory(prefix="fabric-") as directory:

        def make_bench(**options):
            benches.append(Bench(Path(directory), context, **options))
            return benches[-1]

        yield make_bench
        for bench in benches:
            bench.close()


def receive(subscriber, milliseconds=5_000):
    assert subscriber.poll(milliseconds)
    return subscriber.recv_multipart()


def read_until(publisher, wanted):
    """What a publisher reads up to and with the frame `wanted`."""
    frames = []
    while wanted not in frames:
        [frame] = receive(publisher)
        frames.append(frame)
    return frames


def test_what_goes_in_comes_out(make):
    bench = make()
    publisher, subscriber = bench.publisher(), bench.subscriber(b"a\0")
    read_until(publisher, b"\x01a\0")
    publisher.send_multipart([b"a\0header", b"events"])
    assert receive(subscriber) == [b"a\0header", b"events"]


def test_a_publisher_reads_the_proxys_own_prefixes_first_and_last(make):
    bench = make()
    bench.subscriber(b"", b"a\0", b"z\0")
    first = bench.publisher()
    read_until(first, b"\x01z\0")
    assert read_until(bench.publisher(), b"\x01\xff") == [b"\x01", b"\x01\0up", b"\x01a\0", b"\x01z\0", b"\x01\xff"]


def test_a_publisher_without_subscribers_reads_only_the_proxys_own(make):
    assert read_until(make().publisher(), b"\x01\xff") == [b"\x01\0up", b"\x01\xff"]


def test_a_subscriber_is_greeted_with_the_boot_id(make):
    assert receive(make().subscriber(b"\0up")) == [b"\0upbootboot"]


def test_subscribers_are_let_in_before_publishers(make):
    start = monotonic()
    bench = make(settle=0.3)
    assert receive(bench.subscriber(b"\0up")) == [b"\0upbootboot"]
    assert not bench.plane.bound.is_set()
    assert bench.plane.bound.wait(5)
    assert monotonic() - start >= 0.3


def test_subscriptions_made_while_it_settles_are_passed_on(make):
    bench = make(settle=0.3)
    subscriber, publisher = bench.subscriber(b"a\0"), bench.publisher()
    assert read_until(publisher, b"\x01\xff") == [b"\x01\0up", b"\x01a\0", b"\x01\xff"]
    publisher.send_multipart([b"a\0", b"events"])
    assert receive(subscriber) == [b"a\0", b"events"]


def test_a_subscription_ends_when_the_subscriber_leaves(make):
    bench = make()
    publisher, subscriber = bench.publisher(), bench.subscriber(b"a\0")
    read_until(publisher, b"\x01a\0")
    subscriber.close()
    assert read_until(publisher, b"\x00a\0")[-1] == b"\x00a\0"


def test_a_frame_over_the_limit_is_not_passed_on(make):
    bench = make(max_bytes=10_000)
    publisher, subscriber = bench.publisher(), bench.subscriber(b"a\0")
    read_until(publisher, b"\x01a\0")
    publisher.send_multipart([b"a\0", b"x" * 20_000])
    read_until(publisher, b"\x01a\0")  # it was hung up on, and came back
    publisher.send_multipart([b"a\0", b"small"])
    assert receive(subscriber) == [b"a\0", b"small"]


def test_one_subscriber_that_does_not_read_stops_nobody(make):
    bench = make(peer_bytes=16 * 1024 * 4)
    publisher, reader = bench.publisher(), bench.subscriber(b"a\0")
    deaf = bench.subscriber(b"a\0")
    deaf.rcvhwm = 1
    read_until(publisher, b"\x01a\0")
    receive_all = 0
    for _ in range(2_000):
        publisher.send_multipart([b"a\0", b"x" * 1_000])
        receive(reader)
        receive_all += 1
    assert receive_all == 2_000


def test_its_own_events_come_out_like_anybodys(make):
    bench = make()
    subscriber = bench.subscriber(b"fabric.")
    assert receive(bench.subscriber(b"\0up"))
    announcer = bench.plane.announcer(b"12345678", "proxy")
    seen = []

    def heard():
        announcer.announce("fabric.node.joined", {"node": "n"})
        while subscriber.poll(10):
            seen.append(subscriber.recv_multipart())
        return seen

    wait_until(heard)
    announcer.close()
    first, second = seen[0]
    assert decode_topic(first) == ("fabric.node.joined", 0, b"12345678")
    [[topic, number, envelope]] = decode_events(second)
    assert (topic, envelope["src"], envelope["node"]) == ("fabric.node.joined", "proxy", "n")
    assert number >= 1
    assert orjson.dumps(envelope)


def test_stopping_is_quick(make):
    bench = make()
    receive(bench.subscriber(b"\0up"))
    start = monotonic()
    bench.close()
    bench.sockets.clear()
    assert monotonic() - start < 1.0


def test_an_address_that_cannot_be_had_is_a_proxy_error():
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        address = parse_address(f"ipc://{directory}/missing")
        plane = EventPlane(address, boot=b"bootboot", settle=0.0, max_bytes=1_000, peer_bytes=1_000)
        with pytest.raises(ProxyError, match="cannot listen on"):
            plane.start()


# What a subscriber sends in several frames, and libzmq tears: see `EventPlane`

TORN = [b"\x01q.", b"x", b"\x01q."]


def wait_for_pieces(publisher):
    """Until all that is left of them has passed."""
    pieces = 0
    while pieces < 20:
        pieces += receive(publisher).count(TORN[1])


def wait_for(publisher, wanted):
    """As `read_until`, whatever else comes."""
    while receive(publisher) != [wanted]:
        pass


@pytest.mark.parametrize("topics", [0, 100])
def test_a_message_that_libzmq_tears_does_not_end_the_plane(make, topics):
    bench = make(topics=topics)
    assert bench.plane.bound.wait(5)
    publisher = bench.publisher()
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        peer.send(TORN[0])
        wait_for(publisher, TORN[0])
        for _ in range(20):
            peer.send(*TORN)
        wait_for_pieces(publisher)
        # A subscription that is made after it arrives as one, and so does what is published then.
        subscriber = bench.subscriber(b"a")
        wait_for(publisher, b"\x01a")
        publisher.send_multipart([b"a", b"1"])
        assert receive(subscriber) == [b"a", b"1"]
    assert bench.plane.failure is None


def test_a_message_that_libzmq_tears_does_not_keep_a_plane_from_starting(make):
    bench = make(settle=0.3)
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        for _ in range(20):
            peer.send(*TORN)
        assert bench.plane.bound.wait(5)
        publisher = bench.publisher()
        bench.subscriber(b"a")
        wait_for(publisher, b"\x01a")
    assert bench.plane.failure is None


def test_what_has_passed_is_not_forgotten_when_the_plane_begins_again(make):
    bench = make(topics=100)
    assert bench.plane.bound.wait(5)
    publisher, subscriber, observer = bench.publisher(), bench.subscriber(b"a"), bench.plane.observer
    wait_for(publisher, b"\x01a")
    publisher.send_multipart([b"a", b"1"])
    wait_until(lambda: observer.counted.frames_in == 2)
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        peer.send(TORN[0])
        wait_for(publisher, TORN[0])
        peer.send(*TORN)
        while TORN[1] not in receive(publisher):
            pass
        publisher.send_multipart([b"a", b"2"])
        wait_until(lambda: observer.counted.frames_in == 4)
    assert [receive(subscriber), receive(subscriber)] == [[b"a", b"1"], [b"a", b"2"]]
