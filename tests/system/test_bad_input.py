"""Whatever somebody sends: it is counted, one line is logged, and nothing else happens to anybody."""

import contextlib
import random

import orjson
import pytest
import zmq

import fabric
from fabric.protocol.events import END, UP, encode_topic
from fabric.testing import ProxyProcess, wait_until
from tests.system import raw

ENDPOINTS = ["messages", "events-in", "events-out"]
ORIGIN = b"attacker"
EVENT = b'[["a.b",1,{"n":1}]]'


class Bystanders:
    """A publisher and a subscriber that have nothing to do with the attack."""

    def __init__(self, publisher, subscriber):
        self.publisher = publisher
        self.subscriber = subscriber
        self.seen = []
        self.sent = 0
        self.rejected_before = 0
        subscriber.subscribe("by.stander", lambda event: self.seen.append(event["n"]))
        subscriber.subscribe("a.**", lambda event: None).wait_ready(everyone=True)

    def publish(self, count=100):
        for _ in range(count):
            self.publisher.publish("by.stander", {"n": self.sent})
            self.sent += 1

    def assert_unharmed(self):
        self.publish()
        wait_until(lambda: len(self.seen) >= self.sent, what="the bystanders' events arrive")
        assert self.seen == list(range(self.sent))
        for node in (self.publisher, self.subscriber):
            assert node.state == "up"
            assert node.stats()["links_lost"] == 0
        assert self.subscriber.stats()["gaps"] == 0

    def rejected_now(self):
        return self.publisher.stats()["rejected"] + self.subscriber.stats()["rejected"]

    @property
    def rejected(self):
        """What was rejected since the test began."""
        return self.rejected_now() - self.rejected_before


@pytest.fixture(scope="module")
def target(runtime_dir):
    """One proxy with bystanders for all tests: each must leave them unharmed for the next."""
    with ProxyProcess() as proxy, contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(fabric.connect(name, url=proxy.url, bus=fabric.Bus(), autostart=False))
            for name in ("publisher", "subscriber")
        ]
        for node in nodes:
            node.wait_ready(10)
        yield proxy, Bystanders(*nodes)


@pytest.fixture
def proxy(target):
    return target[0]


@pytest.fixture
def bystanders(target):
    target[1].rejected_before = target[1].rejected_now()
    return target[1]


@pytest.fixture
def intruder(proxy):
    """A function that makes a ZeroMQ socket connected to one of the proxy's endpoints."""
    with zmq.Context() as context, contextlib.ExitStack() as stack:

        def connect(kind, name):
            made = stack.enter_context(context.socket(kind))
            made.linger = 0
            made.sndhwm = 0
            made.connect(f"{proxy.url}/{name}")
            return made

        yield connect


def publisher(intruder):
    """An XPUB that has read the subscriptions, so that what it sends is not dropped by itself."""
    made = intruder(zmq.XPUB, "events-in")
    seen = set()
    while not {b"\x01" + UP, b"\x01" + END} <= seen:
        assert made.poll(5_000)
        seen.add(made.recv())
    return made


# Bytes that are no ZeroMQ

NOISE = random.Random(7)
GARBAGE = {
    "nothing": [b""],
    "random bytes": [NOISE.randbytes(size) for size in (1, 10, 100, 10_000)],
    "http": [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    "tls": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)],
    "half a greeting": [raw.GREETING[:size] for size in (1, 10, 11, 63)],
    "a greeting and no more": [raw.GREETING],
    "a greeting and garbage": [raw.GREETING + NOISE.randbytes(300)],
    "an unknown mechanism": [raw.GREETING.replace(b"NULL", b"ABCD") + bytes(100)],
    "an old version": [b"\x01\x00", b"\xff" + bytes(8) + b"\x01\x01\x02\x00\x00"],
    "the wrong kind of socket": [raw.GREETING + raw.ready(b"REQ") + raw.frame(b"hello")],
    "a huge frame announced": [raw.GREETING + raw.ready(b"SUB") + b"\x02" + b"\x7f" + b"\xff" * 7],
    "a command that is none": [raw.GREETING + raw.ready(b"SUB") + raw.frame(b"\xff" * 20, command=True)],
}


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("what", GARBAGE)
def test_bytes_that_are_no_zeromq(proxy, bystanders, what, name):
    with contextlib.ExitStack() as stack:
        for data in GARBAGE[what] * 3:
            plain = stack.enter_context(raw.connect(proxy.url, name=name))
            with contextlib.suppress(OSError):  # the proxy may hang up in the middle
                plain.sendall(data)
        bystanders.publish()  # while they are all connected
    bystanders.assert_unharmed()


# Messages that are not our protocol, published by somebody

TOPIC = encode_topic("a.b", ORIGIN)
BAD_MESSAGES = {
    "one frame": [TOPIC],
    "three frames": [TOPIC, EVENT, b"more"],
    "eight frames": [b"a.b", EVENT] * 4,
    "no header": [b"a.b\0", EVENT],
    "only a topic": [b"a.", EVENT],
    "a header too short": [TOPIC[:-1], EVENT],
    "a header too long": [TOPIC + b"x", EVENT],
    "version 0": [TOPIC.replace(b"\x01\x00attacker", b"\x00\x00attacker"), EVENT],
    "version 2": [TOPIC.replace(b"\x01\x00attacker", b"\x02\x00attacker"), EVENT],
    "too many bridges": [encode_topic("a.b", ORIGIN, hops=5), EVENT],
    "a topic that is no UTF-8": [b"a.\xff\xfe" + TOPIC[-11:], EVENT],
    "an empty second frame": [TOPIC, b""],
    "broken JSON": [TOPIC, EVENT[:-3]],
    "JSON that is no array": [TOPIC, b'{"a":1}'],
    "JSON nested too deep": [TOPIC, b"[" * 100_000],
    "an event that is none": [TOPIC, b'[["a.b",1]]'],
    "an envelope that is none": [TOPIC, b'[["a.b",1,"text"]]'],
    "a topic that breaks the grammar": [TOPIC, b'[["a..b",1,{}]]'],
    "a topic with a terminal's escape": [TOPIC, b'[["a.\\u001b[31m",1,{}]]'],
    "random bytes": [b"a." + NOISE.randbytes(50), NOISE.randbytes(500)],
}


@pytest.mark.parametrize("what", BAD_MESSAGES)
def test_a_message_that_is_not_our_protocol_is_counted_and_at_most_one_line_is_logged(
    bystanders, intruder, caplog, what
):
    sender = publisher(intruder)
    for _ in range(20):
        sender.send_multipart(BAD_MESSAGES[what])
    bystanders.assert_unharmed()
    wait_until(lambda: bystanders.rejected >= 20, what="all of them are counted")
    assert len(caplog.records) <= 1


def test_bad_messages_are_logged_with_one_line_in_ten_seconds(proxy, fabric_node, intruder, caplog):
    node = fabric_node("fresh", url=proxy.url)
    node.subscribe("a.**", print).wait_ready()
    before = node.stats()["rejected"]
    sender = publisher(intruder)
    for _ in range(50):
        sender.send_multipart(BAD_MESSAGES["version 2"])
    wait_until(lambda: node.stats()["rejected"] == before + 50)
    assert len([record for record in caplog.records if "(1 so far): wire version 2" in record.getMessage()]) == 1


def test_a_good_message_between_bad_ones_arrives(bystanders, intruder):
    seen = []
    bystanders.subscriber.subscribe("a.b", lambda event: seen.append(event) if "good" in event else None)
    sender = publisher(intruder)
    for number in range(1, 50):
        for bad in BAD_MESSAGES.values():
            sender.send_multipart(bad)
        sender.send_multipart([encode_topic("a.b", b"goodgood"), b'[["a.b",%d,{"good":1}]]' % number])
    wait_until(lambda: bystanders.rejected >= 49 * (len(BAD_MESSAGES) - 3))
    wait_until(lambda: len(seen) == 49)
    bystanders.assert_unharmed()


def test_an_event_larger_than_the_limit_is_not_passed_on(bystanders, intruder, proxy):
    sender = publisher(intruder)
    sender.send_multipart([TOPIC, orjson.dumps([["a.b", 1, {"pad": "x" * 11 * 1024 * 1024}]])])
    bystanders.assert_unharmed()
    assert proxy.running


def test_events_of_invented_origins_do_not_pile_up(bystanders, intruder):
    sender = publisher(intruder)
    for number in range(3_000):
        sender.send_multipart([encode_topic("a.x", number.to_bytes(8, "big")), b'[["other",1,{}]]'])
    link = bystanders.subscriber._connected.link
    bystanders.assert_unharmed()
    assert len(link.receiver.delivery.detector.ledger._seen) < 10


# Subscribers that say what none should


def test_a_subscription_of_a_megabyte_ends_only_its_own_connection(bystanders, proxy):
    with raw.Peer(proxy.url, "events-out", b"SUB") as peer:
        with contextlib.suppress(OSError):
            peer.send(b"\x01" + b"x" * 1_000_000)
        assert peer.hung_up()
    bystanders.assert_unharmed()
    assert proxy.running


def test_a_subscription_longer_than_any_topic_is_counted(bystanders, proxy, intruder):
    subscriber = intruder(zmq.SUB, "events-out")
    subscriber.subscribe(b"x" * 500)
    wait_until(lambda: bystanders.rejected == 2, what="both nodes counted it")
    bystanders.assert_unharmed()


def test_ten_thousand_subscriptions_come_and_go(bystanders, intruder):
    subscriber = intruder(zmq.SUB, "events-out")
    for number in range(10_000):
        subscriber.subscribe(b"flood.%d\0" % number)
    wait_until(lambda: bystanders.publisher.stats()["prefixes"] > 10_000)
    bystanders.publish()
    subscriber.close()
    wait_until(lambda: bystanders.publisher.stats()["prefixes"] < 10)
    bystanders.assert_unharmed()


UPSTREAM = {
    "text": [b"hello"],
    "nothing": [b""],
    "two frames": [b"hello", b"you"],
    "a hundred frames": [b"hello"] * 100,
    "an end of somebody's subscription in a second frame": [b"x", b"\x00by.stander\0", b"\x00a.", b"\x00a\0"],
    "an end of the link in a second frame": [b"x", b"\x00" + UP, b"\x00" + END],
    "a subscription in a second frame": [b"x", b"\x01", b"\x01q."],
    "a topic frame": [TOPIC, EVENT],
}


@pytest.mark.parametrize("kind", [b"SUB", b"XSUB"])
@pytest.mark.parametrize("what", UPSTREAM)
def test_what_a_subscriber_sends_upstream_is_counted_and_has_no_effect(bystanders, proxy, what, kind):
    prefixes = bystanders.publisher.stats()["prefixes"]
    with raw.Peer(proxy.url, "events-out", kind) as peer:
        for _ in range(10):
            peer.send(*UPSTREAM[what])
        wait_until(lambda: bystanders.rejected >= 20, what="all of them are counted by both nodes")
        assert bystanders.publisher.stats()["prefixes"] == prefixes
        bystanders.assert_unharmed()


def test_a_probe_of_somebody_elses_is_not_ours(bystanders, intruder):
    sender = publisher(intruder)
    sender.send(b"\0probe12345678")
    sender.send(b"\0up" + b"x" * 8)
    bystanders.assert_unharmed()


def test_what_bears_a_nodes_own_origin_is_dropped_there(bystanders, intruder):
    before = bystanders.subscriber.stats()["echoes"]
    sender = publisher(intruder)
    sender.send_multipart([encode_topic("a.b", bystanders.subscriber.origin), EVENT])
    wait_until(lambda: bystanders.subscriber.stats()["echoes"] == before + 1)
    bystanders.assert_unharmed()
