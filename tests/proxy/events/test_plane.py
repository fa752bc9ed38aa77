"""The event plane in this process, between plain ZeroMQ sockets."""

import tempfile
from pathlib import Path
from time import monotonic

import orjson
import pytest
import zmq

from fabric.config.address import parse_address
from fabric.errors import ProxyError
from fabric.protocol.events import decode_events, decode_topic
from fabric.testing import wait_until
from proxy.events.plane import EventPlane
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

    def socket(self, kind, address, *prefixes, rcvhwm=1_000):
        made = self.context.socket(kind)
        made.linger = 0
        made.rcvhwm = rcvhwm
        made.reconnect_ivl = 10
        made.immediate = kind == zmq.XPUB  # no pipe without a connection, so that a lost one is noticed
        self.sockets.append(made)
        for prefix in prefixes:
            made.subscribe(prefix)
        made.connect(address)
        return made

    def publisher(self):
        return self.socket(zmq.XPUB, self.address.events_in)

    def subscriber(self, *prefixes, **options):
        return self.socket(zmq.SUB, self.address.events_out, *prefixes, **options)

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


def read_until(publisher, wanted, *, parts=False):
    """The frames that a publisher reads up to and with `wanted`; with `parts` also those of messages of several."""
    frames = []
    while wanted not in frames:
        message = receive(publisher)
        assert parts or len(message) == 1
        frames += message
    return frames


def test_an_event_passes_from_publisher_to_subscriber(make):
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


def test_events_out_is_bound_before_events_in(make):
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
    read_until(publisher, b"\x01a\0")  # the plane closed its connection, and it connected again
    publisher.send_multipart([b"a\0", b"small"])
    assert receive(subscriber) == [b"a\0", b"small"]


def test_a_subscriber_that_does_not_read_does_not_stop_another(make):
    # Room for 256 messages a peer. Fewer would suffice for the one that does not read, but libzmq learns late how much
    # the reader of a pipe has taken, and would drop messages for the other one.
    bench = make(peer_bytes=256 * 8 * 1024)
    publisher, reader = bench.publisher(), bench.subscriber(b"a\0", b"reader\0")
    bench.subscriber(b"a\0", b"deaf\0", rcvhwm=1)
    wanted = {b"\x01reader\0", b"\x01deaf\0"}
    while wanted:
        wanted -= set(receive(publisher))
    for number in range(2_000):
        event = [b"a\0", b"%d" % number + b"x" * 1_000]
        publisher.send_multipart(event)
        assert receive(reader) == event


def test_the_proxys_own_events_reach_subscribers(make):
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


def test_an_address_that_cannot_be_bound_is_a_proxy_error():
    with tempfile.TemporaryDirectory(prefix="fabric-") as directory:
        address = parse_address(f"ipc://{directory}/missing")
        plane = EventPlane(address, boot=b"bootboot", settle=0.0, max_bytes=1_000, peer_bytes=1_000)
        with pytest.raises(ProxyError, match="cannot listen on"):
            plane.start()


# Messages of several frames from a subscriber, which libzmq tears: see `EventPlane`

TORN = [b"\x01q.", b"x", b"\x01q."]


class Torn:
    """A plane with a subscription `q.` of a raw peer, an event of `a` that has passed, and nothing under way.

    libzmq reports a message without an end only if no whole one came before it in the same burst. The event proves
    that the burst with the subscription in it is over: the plane forwards it in a later turn.
    """

    def __init__(self, bench, peer):
        assert bench.plane.bound.wait(5)
        self.peer = peer
        self.publisher, self.subscriber = bench.publisher(), bench.subscriber(b"a\0")
        wait_for(self.publisher, b"\x01a\0")
        peer.send(TORN[0])
        wait_for(self.publisher, TORN[0])
        self.pass_event(b"0")

    def pass_event(self, body):
        self.publisher.send_multipart([b"a\0", body])
        assert receive(self.subscriber) == [b"a\0", body]


def wait_for_pieces(publisher):
    """Read until the remaining frames of 20 torn messages have passed."""
    pieces = 0
    while pieces < 20:
        pieces += receive(publisher).count(TORN[1])


def wait_for(publisher, wanted):
    """Read until the message `wanted`, and skip all others."""
    while receive(publisher) != [wanted]:
        pass


@pytest.mark.parametrize("topics", [0, 100])
def test_a_message_that_libzmq_tears_does_not_end_the_plane(make, topics):
    bench = make(topics=topics)
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        torn = Torn(bench, peer)
        for _ in range(20):
            peer.send(*TORN)
        wait_for_pieces(torn.publisher)
        # A subscription that is made after it arrives as one, and so does what is published then.
        subscriber = bench.subscriber(b"b\0")
        wait_for(torn.publisher, b"\x01b\0")
        torn.publisher.send_multipart([b"b\0", b"1"])
        assert receive(subscriber) == [b"b\0", b"1"]
    assert bench.plane.failure is None


@pytest.mark.parametrize("topics", [0, 100])
def test_a_torn_message_behind_a_whole_one_costs_one_subscription_at_most(make, topics):
    # libzmq returns no error then: it takes the next subscription for the end of the torn message.
    bench = make(topics=topics)
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        torn = Torn(bench, peer)
        peer.send_bytes(raw.message(b"\x01z.") + raw.message(*TORN))
        wait_for(torn.publisher, b"\x01z.")
        bench.subscriber(b"swallowed\0")
        assert b"\x01swallowed\0" in read_until(torn.publisher, b"\x01swallowed\0", parts=True)
        bench.subscriber(b"b\0")
        wait_for(torn.publisher, b"\x01b\0")
    assert bench.plane.failure is None


def test_a_message_that_libzmq_tears_does_not_keep_a_plane_from_starting(make):
    bench = make(settle=0.3)
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        for _ in range(20):
            peer.send(*TORN)
        assert bench.plane.bound.wait(5)
        publisher = bench.publisher()
        bench.subscriber(b"swallowed\0")
        read_until(publisher, b"\x01swallowed\0", parts=True)
        bench.subscriber(b"a\0")
        wait_for(publisher, b"\x01a\0")
    assert bench.plane.failure is None


def test_the_totals_continue_when_the_plane_is_entered_again(make):
    bench = make(topics=100)
    observer = bench.plane.observer
    with raw.Peer(bench.address.url, "events-out", b"SUB") as peer:
        torn = Torn(bench, peer)
        wait_until(lambda: observer.counted.frames_in == 2)
        peer.send(*TORN)
        while TORN[1] not in receive(torn.publisher):
            pass
        torn.pass_event(b"1")
        wait_until(lambda: observer.counted.frames_in == 4)
