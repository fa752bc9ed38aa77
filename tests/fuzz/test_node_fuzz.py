"""A node whose proxy has gone mad: on each of its three sockets it hears a hail of cases, and is a good node afterwards.

The proxy is the test, which speaks ZMTP by hand; the node is a process of its own. Afterwards a real proxy takes the
mad one's place, and the node comes back by itself, with its subscriptions and its name. FUZZ_SEED and FUZZ_CASES as in
`test_proxy_fuzz`.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import fabric
from fabric.protocol import verbs
from fabric.protocol.events import END, SUBSCRIBE, UNSUBSCRIBE, UP
from fabric.testing import ProxyProcess, wait_until
from tests.fuzz import messages, mutations
from tests.fuzz.fake_proxy import SOCKETS, FakeProxy, encode
from tests.fuzz.mutations import CASES, Mutator, batches
from tests.fuzz.process import usage
from tests.system.running import Program

TOPIC = "by.stander"
VICTIM = Path(__file__).parent / "victim.py"
SHARES = mutations.shares(CASES["nodes"], {"events-out": 6, "events-in": 3, "messages": 6})
#: Handshakes, for each socket: a node comes back ten times a second.
HANDSHAKES = 12
SESSION = "boot-1"
GROWTH = 64 * 1024 * 1024
#: Of the reserved prefixes: that the link is up, and that this is the end of the replay.
LINK = encode([SUBSCRIBE + UP]) + encode([SUBSCRIBE + END])


@pytest.fixture
def directory():
    made = Path(tempfile.mkdtemp(prefix="fabric-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def fake(directory):
    made = FakeProxy(directory)
    yield made
    made.close()


@pytest.fixture
def victim(directory, fake):
    sys.stdout.write(mutations.SAID)
    program = Program(f"ipc://{directory}", script=VICTIM)
    yield program
    program.kill()


@pytest.fixture
def assert_a_good_node(directory, fake, victim):
    """What to call when the attack is over."""

    def check(before):
        now = usage(victim.pid)
        assert (now.memory - before.memory < GROWTH, victim.process.poll()) == (True, None)
        fake.close()
        url = f"ipc://{directory}"
        with (
            ProxyProcess(url) as proxy,
            fabric.connect("other", url=proxy.url, bus=fabric.Bus(), autostart=False) as other,
        ):
            other.wait_ready(10)
            wait_until(lambda: victim("stats")["state"] == "up", 20, "the node is back")
            seen = []
            other.subscribe("from.victim", lambda event: seen.append(event["n"])).wait_ready(10, everyone=True)
            already = len(victim("stats")["seen"])
            for n in range(200):
                other.publish(TOPIC, {"n": n})
                victim("publish", topic="from.victim", n=n)
            wait_until(lambda: len(victim("stats")["seen"]) == already + 200, 20, "the node hears")
            wait_until(lambda: len(seen) + other.stats()["missed"] == 200, 20, "the node is heard")
            assert len(seen) == 200, (other.stats(), victim("stats"))
            assert (victim("stats")["seen"][already:], seen) == (list(range(200)), list(range(200)))
            other.endpoint("other", lambda message: message.body["n"]).wait_ready(10)
            assert victim("request", to="other", n=7) == {"answer": 7}
            assert other.request("worker", {"n": 8}, timeout=20).wait(20) == 8
            wait_until(lambda: usage(victim.pid).threads <= before.threads, 20, "no thread is left over")
            assert usage(victim.pid).descriptors <= before.descriptors + len(SOCKETS)
            assert victim.end() == 0
        assert "Traceback" not in victim.errors

    return check


def settled(victim):
    """What the node uses once it has answered."""
    victim("stats")
    return usage(victim.pid)


def test_handshakes(fake, victim, assert_a_good_node):
    mutator = Mutator("node-handshakes")
    before = settled(victim)
    for _ in range(HANDSHAKES):
        with contextlib.ExitStack() as stack:
            for name in SOCKETS:
                plain = stack.enter_context(fake.accept(name))
                with contextlib.suppress(OSError):  # the node may hang up in the middle
                    plain.sendall(mutations.interruptions(mutator, SOCKETS[name]))
    for name in [*SOCKETS] * 4:
        with fake.serve(name) as connection:
            connection.send_bytes(mutations.unfinished(mutator))
    assert_a_good_node(before)


def test_events(fake, victim, assert_a_good_node):
    mutator = Mutator("node-events")
    before = settled(victim)
    origin = b"lawfully"
    with fake.serve("events-out") as connection:
        connection.send(UP + b"12345678")
        for number, size in enumerate(batches(SHARES["events-out"]), 1):
            valid = messages.events([mutator.random.randbytes(8) for _ in range(size // 20 + 1)])
            data = [encode(mutator.like(valid)) for _ in range(size)]
            data.append(
                encode(
                    [TOPIC.encode() + b"\0\1\0" + origin, b'[["%b",%d,{"n":-%d}]]' % (TOPIC.encode(), number, number)]
                )
            )
            connection.send_bytes(b"".join(data))
            wait_until(lambda number=number: -number in victim("stats")["seen"], 20, "the node looks at all of them")
    stats = victim("stats")["stats"]
    assert min(stats[outcome] for outcome in ("rejected", "delivered", "duplicates")) > SHARES["events-out"] // 1_000
    assert_a_good_node(before)


def test_subscriptions(fake, victim, assert_a_good_node):
    mutator = Mutator("node-subscriptions")
    before = settled(victim)
    valid = messages.subscriptions()
    with fake.serve("events-in") as connection:
        for number, size in enumerate(batches(SHARES["events-in"])):
            data = [LINK]
            # Over 512 bytes the node hangs up, as it must.
            data += [encode([frame[:500] for frame in mutator.like(valid)]) for _ in range(size)]
            name = f"barrier.{number}"
            connection.send_bytes(b"".join([*data, LINK, encode([SUBSCRIBE + name.encode() + b"\0"])]))
            victim("publish", topic=name, n=number)
            wait_until(lambda name=name: _published(connection, victim, name), 20, "the node publishes what is wanted")
            connection.send_bytes(encode([UNSUBSCRIBE + name.encode() + b"\0"]))
    assert victim("stats")["stats"]["rejected"] > SHARES["events-in"] // 10
    assert_a_good_node(before)


def _published(connection, victim, name):
    while connection.received:
        if connection.received.popleft()[0].startswith(name.encode() + b"\0"):
            return True
    victim("publish", topic=name, n=0)  # the one before may have left before it was wanted
    return False


def test_messages(fake, victim, assert_a_good_node):
    mutator = Mutator("node-messages")
    before = settled(victim)
    with fake.serve("messages") as connection:
        for number, size in enumerate(batches(SHARES["messages"])):
            _welcome(connection)
            valid = messages.to_node(mutator.random.randbytes(8), SESSION)
            data = [encode(frames) for _ in range(size) if not _is_final(frames := mutator.like(valid))]
            barrier = b"barrier-%d" % number
            connection.send_bytes(b"".join([*data, encode([verbs.ASK, barrier, b"12345678", b"null"])]))
            connection.wait_for(verbs.TELL, barrier)
            connection.send(verbs.BYE, b"shutdown", b"")  # so that it says HELLO, if it has not by now
        _welcome(connection)
    stats = victim("stats")["stats"]["messages"]
    assert min(stats[outcome] for outcome in ("malformed", "strays", "received")) > SHARES["messages"] // 100
    assert_a_good_node(before)


def _is_final(frames):
    """Whether this may, lawfully, be the end of the node's membership or of its name, whatever session it has by now."""
    return frames[0] == verbs.BYE and len(frames) == 3


def _welcome(connection):
    """Answer every HELLO, for only its last one counts for a node, and grant the name that is asked for."""
    while (frames := connection.next())[0] != verbs.REGISTER:
        if frames[0] == verbs.HELLO:
            connection.send(*verbs.encode(verbs.Welcome(verbs.VERSION, int(frames[2]), messages.TERMS)))
    connection.send(verbs.REGISTERED, frames[1], b"worker", SESSION.encode())
