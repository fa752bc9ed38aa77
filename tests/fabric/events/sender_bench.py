"""A sender on a socket of its own, for `test_sender`."""

from itertools import count
from time import monotonic

import zmq

from fabric.events.offline_queue import OutboxLimits
from fabric.events.sender import Sender
from fabric.protocol.events import END, UP, decode_events, decode_topic
from fabric.testing import wait_until

ORIGIN = b"origin-a"
ADDRESSES = count()


class Bench:
    """A sender, and the XSUB that it is connected to. `options` are the sender's and `sndhwm`."""

    def __init__(self, context, directory, **options):
        self.address = f"ipc://{directory}/sender-{next(ADDRESSES)}"
        self.context = context
        self.changes = []
        outgoing = context.socket(zmq.XPUB)
        outgoing.linger = 0
        outgoing.setsockopt(zmq.XPUB_NODROP, 1)
        outgoing.immediate = True
        outgoing.sndhwm = options.pop("sndhwm", 1_000)
        outgoing.reconnect_ivl = 10
        limits = options.pop("limits", OutboxLimits())
        self.sender = Sender(
            outgoing, ORIGIN, limits=limits, max_bytes=100_000, changed=lambda: self.changes.append(1), **options
        )
        self.incoming = None
        outgoing.connect(self.address)

    def open(self, *prefixes):
        """Start a proxy with the subscriptions `prefixes`."""
        self.incoming = self.context.socket(zmq.XSUB)
        self.incoming.linger = 0
        self.incoming.rcvhwm = 10
        for prefix in sorted({*prefixes, UP, END}):
            self.incoming.send(b"\x01" + prefix)
        self.incoming.bind(self.address)
        self.serve_until(lambda: self.sender.interest.up)

    def shut(self):
        """Stop the proxy."""
        self.incoming.close()
        self.serve_until(lambda: not self.sender.interest.up)

    def serve_until(self, condition):
        """Do the work of the control thread until `condition`."""

        def look():
            if not self.incoming.closed:
                self.incoming.poll(0)  # a socket sends its subscriptions to a new peer only when it is used
            self.sender.service(monotonic())
            return condition()

        wait_until(look)

    def subscribe(self, prefix):
        self.incoming.send(b"\x01" + prefix)
        self.serve_until(lambda: self.sender.interest.has(prefix))

    def publish(self, topic, number):
        self.sender.forward(topic, {"n": number})

    def receive(self, events):
        """The next `events` events, by message."""
        messages = []
        while sum(len(found) for _, found in messages) < events:
            assert self.incoming.poll(5_000), f"only {messages} arrived"
            first, second = self.incoming.recv_multipart()
            messages.append((decode_topic(first).topic, [tuple(event) for event in decode_events(second)]))
        return messages

    def close(self):
        left = self.sender.close()
        if self.incoming is not None:
            self.incoming.close()
        return left
