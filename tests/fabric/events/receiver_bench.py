"""A receiver on a socket of its own, for `test_receiver`."""

import threading
from itertools import count

import orjson
import zmq

from fabric.bus.bus import Bus
from fabric.events.receiver import Receiver
from fabric.protocol.events import UP, encode_topic
from fabric.testing import wait_until

A, B, OWN = b"origin-a", b"origin-b", b"origin-0"
ADDRESSES = count()


class Bench:
    """A receiver, and the XPUB that it is connected to. `options` are the receiver's."""

    def __init__(self, context, **options):
        address = f"inproc://receiver-{next(ADDRESSES)}"
        self.out = context.socket(zmq.XPUB)
        self.out.linger = 0
        self.out.sndhwm = 0
        self.out.bind(address)
        incoming = context.socket(zmq.SUB)
        incoming.connect(address)
        self.bus = Bus()
        self.events = []
        self.gaps = []
        self.probed = []
        self.greeted = []
        self.receiver = Receiver(
            incoming, self.bus, OWN, probed=self.probed.append, greeted=self.greeted.append, **options
        )
        self.subscribe("fabric.gap", self.gaps.append)

    def close(self):
        self.receiver.close()
        self.out.close()

    def subscribe(self, pattern, callback=None):
        """Subscribe, and return when the XPUB has read it."""
        handle = self.bus.subscribe(pattern, callback or self.events.append)
        self.receiver.subscribe(handle)
        self.receiver.delivery.ready(handle)
        self.read_subscriptions()
        return handle

    def read_subscriptions(self):
        self.receiver.subscribe_probe(b"\0probe-end")
        seen = set()
        while b"\x01\0probe-end" not in seen:
            assert self.out.poll(5_000)
            seen.add(self.out.recv())
        self.receiver.unsubscribe_probe(b"\0probe-end")
        while b"\x00\0probe-end" not in seen:
            assert self.out.poll(5_000)
            seen.add(self.out.recv())

    def send(self, *events, origin=A, under=None, hops=0):
        """One message with `events`: (topic, number, envelope)."""
        topic = under or events[0][0]
        self.out.send_multipart([encode_topic(topic, origin, hops), orjson.dumps([list(event) for event in events])])

    def settle(self):
        """Return when every message sent before has been processed."""
        before = len(self.greeted)
        self.out.send(UP + b"settled")
        wait_until(lambda: len(self.greeted) > before and not self.receiver.waiting)
        done = threading.Event()
        handle = self.bus.subscribe("bench.done", lambda event: done.set())
        self.receiver.subscribe(handle)
        self.read_subscriptions()
        self.send(("bench.done", 1, {}), origin=len(self.greeted).to_bytes(8, "big"))
        assert done.wait(5)
        self.receiver.unsubscribe(handle)
        handle.cancel()

    def ns(self):
        return [event["n"] for event in self.events if "n" in event]
