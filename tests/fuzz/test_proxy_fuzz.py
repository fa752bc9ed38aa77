"""A proxy under a hail of cases on all of its sockets: it lives, answers, and two nodes beside it lose nothing.

FUZZ_SEED and FUZZ_CASES choose the cases (`mutations` says which, and which not); a failure prints the seed.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
from collections.abc import Iterator

import pytest
import zmq

import fabric
from fabric.config.address import parse_address
from fabric.protocol import verbs
from fabric.protocol.events import END, SUBSCRIBE, UNSUBSCRIBE, UP, prefixes
from fabric.testing import ProxyProcess, wait_until
from tests.fuzz import messages, mutations
from tests.fuzz.mutations import BATCH, CASES, Mutator, batches
from tests.fuzz.process import usage
from tests.system import raw

#: Connections held open at a time.
OPEN = 100
#: What the proxy may have grown by in the end: its own bounded tables (of topics, names, reports), and malloc's.
GROWTH = 64 * 1024 * 1024
TOPIC = "by.stander"
ENDPOINT = "bystander"


class Bystanders:
    """Two nodes that talk to each other all the while: events, and requests with their answers."""

    def __init__(self, proxy: ProxyProcess, stack: contextlib.ExitStack) -> None:
        self.proxy = proxy
        self.talker, self.listener = (
            stack.enter_context(fabric.connect(name, url=proxy.url, bus=fabric.Bus(), autostart=False))
            for name in ("talker", "listener")
        )
        self.seen: list[int] = []
        self.sent = 0
        self.listener.subscribe(TOPIC, lambda event: self.seen.append(event["n"]))
        # What the cases are about is wanted by somebody, who looks at each.
        self.listener.subscribe("a.**", lambda event: None)
        self.listener.subscribe("b.**", lambda event: None).wait_ready(10, everyone=True)
        self.endpoint = self.listener.endpoint(ENDPOINT, lambda message: message.body.get("n"))
        self.endpoint.wait_ready(10)
        self.talker.wait_ready(10)

    @property
    def origins(self) -> list[bytes]:
        return [self.talker.origin, self.listener.origin]

    def talk(self) -> None:
        """Everything said arrives: events in order and once, and the answer to a request."""
        for _ in range(20):
            self.talker.publish(TOPIC, {"n": self.sent})
            self.sent += 1
        answer = self.talker.request(ENDPOINT, {"n": self.sent}, timeout=20)
        wait_until(lambda: len(self.seen) >= self.sent or not self.proxy.running, what="the bystanders' events arrive")
        assert self.proxy.running, f"the proxy has ended:\n{self.proxy.log}"
        assert self.seen[-20:] == list(range(self.sent - 20, self.sent))
        assert answer.wait(20) == self.sent

    def assert_unharmed(self) -> None:
        assert self.seen == list(range(self.sent))
        for node in (self.talker, self.listener):
            assert (node.state, node.stats()["links_lost"]) == ("up", 0)
        assert self.talker.stats()["dropped"] == 0


@pytest.fixture(scope="module")
def target(runtime_dir) -> Iterator[tuple[ProxyProcess, Bystanders]]:
    # With what is off by default, too.
    with ProxyProcess(retain="a.**") as proxy, contextlib.ExitStack() as stack:
        yield proxy, Bystanders(proxy, stack)


@pytest.fixture
def proxy(target):
    return target[0]


@pytest.fixture
def bystanders(target, caplog):
    """Talks once before, and looks at what the proxy uses; and afterwards it must all be well again."""
    proxy, both = target
    sys.stdout.write(mutations.SAID)
    both.talk()
    before = usage(proxy.pid)
    yield both
    both.talk()
    both.assert_unharmed()
    wait_until(lambda: usage(proxy.pid).descriptors <= before.descriptors, 20, "the proxy closes what it had opened")
    after = usage(proxy.pid)
    assert (after.memory - before.memory < GROWTH, after.threads) == (True, before.threads)
    assert "Traceback" not in proxy.log
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert ask(proxy, verbs.Stats("id", {"topics": 5, "nodes": 5})).record["nodes"] >= 2


@pytest.fixture
def intruder(proxy):
    """A function that makes a ZeroMQ socket connected to one of the proxy's endpoints."""
    with zmq.Context() as context, contextlib.ExitStack() as stack:

        def connect(kind: int, name: str) -> zmq.Socket[bytes]:
            made = stack.enter_context(context.socket(kind))
            made.linger = 0
            made.sndhwm = made.rcvhwm = 0
            made.connect(f"{proxy.url}/{name}")
            return made

        yield connect


def ask(proxy, question):
    """One question to the proxy and its answer, over a connection of its own."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, 10_000
        dealer.connect(parse_address(proxy.url).messages)
        dealer.send_multipart(verbs.encode(question))
        return verbs.decode_for_node(dealer.recv_multipart())


def test_messages(proxy, bystanders, intruder):
    mutator = Mutator("messages")
    before = counted(proxy)
    for number, size in enumerate(batches(CASES["messages"])):
        dealer = intruder(zmq.DEALER, "messages")
        origin = mutator.random.randbytes(8)
        valid = messages.to_proxy(origin, ENDPOINT, bystanders.endpoint.session, bystanders.origins)
        if number % 4:
            dealer.send_multipart(valid[0][0])  # HELLO: without it most of the rest is refused at the door
        for _ in range(size):
            if messages.harmless(frames := mutator.like(valid)):
                dealer.send_multipart(frames)
        token = f"batch-{number}"
        dealer.send_multipart([verbs.STATS, token.encode(), b""])
        while (frames := _answer(dealer))[:2] != [verbs.RECORD, token.encode()]:
            pass
        dealer.close()
        bystanders.talk()
    after = counted(proxy)
    for outcome in ("malformed", "refused", "messages"):
        assert after[outcome] - before[outcome] > CASES["messages"] // 200, f"hardly any case is {outcome}"


def counted(proxy):
    """What the message plane has counted."""
    return ask(proxy, verbs.Stats("id", {})).record["messages"]


def _answer(dealer):
    assert dealer.poll(20_000), "the proxy does not answer any more"
    return dealer.recv_multipart()


def test_events(bystanders, intruder):
    mutator = Mutator("events-in")
    publisher = intruder(zmq.XPUB, "events-in")
    read = set()
    while not {SUBSCRIBE + UP, SUBSCRIBE + END} <= read:
        assert publisher.poll(10_000)
        read.add(publisher.recv())
    before = bystanders.listener.stats()
    for size in batches(CASES["events-in"]):
        # Of an origin that has sent the highest number there is nothing more can come.
        strangers = [mutator.random.randbytes(8) for _ in range(size // 20 + 1)]
        valid = messages.events([*bystanders.origins, *strangers])
        for _ in range(size):
            publisher.send_multipart(mutator.like(valid))
        _pass(publisher, bystanders.listener)
        bystanders.talk()
    after = bystanders.listener.stats()
    for outcome in ("rejected", "echoes", "duplicates", "gaps", "delivered"):
        assert after[outcome] - before[outcome] > CASES["events-in"] // 1_000, f"hardly any case is {outcome}"


def _pass(publisher, listener):
    """Until all that was sent has been looked at: an event of our own comes after it."""
    name = f"b.{next(_serial)}"
    arrived = []
    with listener.subscribe(name, arrived.append) as subscription:
        subscription.wait_ready(10, everyone=True)
        origin = os.urandom(8)
        pack = b'[["%b",1,{"n":1}]]' % name.encode()
        publisher.send_multipart([name.encode() + b"\0\1\0" + origin, pack])
        wait_until(lambda: arrived, 20, "what was sent passes")


_serial = itertools.count()


def test_subscriptions(bystanders, intruder, proxy):
    mutator = Mutator("events-out")
    valid = messages.subscriptions()
    theirs = {UP, END, *(prefix for pattern in (TOPIC, "a.**", "b.**") for prefix in prefixes(pattern))}
    before = bystanders.talker.stats()
    for size in batches(CASES["events-out"]):
        with raw.Peer(proxy.url, "events-out", mutator.random.choice((b"SUB", b"XSUB"))) as peer:
            data = []
            for _ in range(size):
                frames = mutator.like(valid)
                # A first frame over 512 bytes ends the connection, and all cases after it: that is tried elsewhere.
                frames = [frame[:500] for frame in frames]
                if any(frame[:1] == UNSUBSCRIBE and frame[1:] in theirs for frame in frames):
                    continue  # libzmq would end theirs: see `mutations`
                if len(frames) > 1 and frames[0][:1] in (SUBSCRIBE, UNSUBSCRIBE):
                    frames.insert(0, b"x")  # libzmq would tear it: see `mutations`
                last = len(frames) - 1
                data += [raw.frame(frame, more=index < last) for index, frame in enumerate(frames)]
            with contextlib.suppress(OSError):
                peer.send_bytes(b"".join(data))
            bystanders.talk()
    wait_until(lambda: bystanders.talker.stats()["prefixes"] <= before["prefixes"], 20, "intruders' subscriptions end")
    assert bystanders.talker.stats()["rejected"] - before["rejected"] > CASES["events-out"] // 10


def test_a_flood_of_subscriptions_and_long_topics(bystanders, proxy):
    mutator = Mutator("flood")
    for size in (100, 505, 600, 5_000):
        with raw.Peer(proxy.url, "events-out", b"SUB") as peer, contextlib.suppress(OSError):
            for _ in range(20):
                peer.send_bytes(b"".join(raw.frame(b"\1" + mutator.random.randbytes(size)) for _ in range(50)))
        bystanders.talk()


KINDS = {"messages": [b"DEALER", b"REQ"], "events-in": [b"PUB", b"XPUB"], "events-out": [b"SUB", b"XSUB"]}


def test_connections(bystanders, proxy):
    mutator = Mutator("connections")
    held = []
    try:
        for number in range(CASES["connections"]):
            name = mutator.random.choice(list(KINDS))
            plain = raw.connect(proxy.url, name=name)
            held.append(plain)
            with contextlib.suppress(OSError):  # the proxy may hang up in the middle
                plain.sendall(mutations.connections(mutator, KINDS[name]))
            while len(held) > OPEN:
                # Some go at once, some stay for a while; in no order.
                held.pop(mutator.random.randrange(len(held))).close()
            if number % BATCH == BATCH - 1:
                bystanders.talk()
    finally:
        for plain in held:
            plain.close()
