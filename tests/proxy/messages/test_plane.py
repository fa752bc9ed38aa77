"""The ROUTER loop in this process, between plain ZeroMQ sockets."""

import os
import shutil

import pytest
import zmq

from fabric.config.address import parse_address
from fabric.errors import ProxyError
from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Meta
from fabric.testing import wait_until
from proxy.messages.plane import MessagePlane


class Announcements:
    """A stand-in for the event plane's announcer."""

    def __init__(self):
        self.made = []
        self.closed = False

    def announce(self, topic, payload):
        self.made.append((topic, payload))

    def close(self):
        self.closed = True


@pytest.fixture
def directory(runtime_dir):
    path = runtime_dir / f"mp-{os.urandom(3).hex()}"
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)  # the sockets are the server's to remove


@pytest.fixture
def plane(directory):
    announcements, routed = Announcements(), []
    made = MessagePlane(
        parse_address(f"ipc://{directory}"),
        boot="boot",
        timeout=15.0,
        max_bytes=100_000,
        make_announcer=lambda: announcements,
        routed=routed.append,
    )
    made.start()
    made.announcements, made.seen = announcements, routed
    yield made
    if not announcements.closed:  # else it has been stopped
        made.stop()


@pytest.fixture
def peer(directory):
    context = zmq.Context()
    made = []

    def connect():
        socket = context.socket(zmq.DEALER)
        socket.linger, socket.rcvtimeo = 0, 5_000
        socket.connect(f"ipc://{directory}/messages")
        made.append(socket)
        return socket

    yield connect
    for socket in made:
        socket.close()
    context.term()


def say(socket, message):
    socket.send_multipart(verbs.encode(message))


def hear(socket):
    return verbs.decode_for_node(socket.recv_multipart())


def join(socket, name, origin):
    say(socket, verbs.Hello(verbs.VERSION, 1, Identity(name, origin, 1, "host", "program")))
    assert isinstance(hear(socket), verbs.Welcome)


def test_a_message_reaches_its_holder_and_its_acknowledgement_the_sender(plane, peer):
    sender, holder = peer(), peer()
    join(sender, "sender", b"sender--")
    join(holder, "holder", b"holder--")
    say(holder, verbs.Register(1, "worker", "reject"))
    session = hear(holder).session
    say(sender, verbs.Send("id-1", "worker", session, "anonymous:sender", Meta(1.0, 5.0, False, False), b"{}"))
    message = hear(holder)
    assert (message.id, message.sender) == ("id-1", "anonymous:sender")
    say(holder, verbs.Got("id-1", message.session, message.back))
    assert hear(sender) == verbs.Ack("id-1", 1)


def test_presence_goes_to_the_event_plane(plane, peer):
    join(peer(), "here", b"12345678")
    wait_until(lambda: plane.announcements.made)
    topic, facts = plane.announcements.made[0]
    assert (topic, facts["name"]) == ("fabric.node.joined", "here")


def test_a_routed_message_is_handed_to_the_hooks(plane, peer):
    holder = peer()
    join(holder, "holder", b"holder--")
    say(holder, verbs.Register(1, "worker", "reject"))
    session = hear(holder).session
    say(holder, verbs.Send("id-1", "worker", session, "anonymous:holder", Meta(1.0, 5.0, False, False), b"{}"))
    wait_until(lambda: plane.seen)
    assert plane.seen[0].id == b"id-1"


def test_nodes_get_bye_when_the_plane_ends(plane, peer):
    socket = peer()
    join(socket, "node", b"12345678")
    plane.stop()
    assert hear(socket) == verbs.Bye("shutdown", "")
    assert plane.announcements.closed


def test_a_message_of_five_hundred_frames_costs_an_error(plane, peer):
    socket = peer()
    socket.send_multipart([b"SEND", *[b"x"] * 500])
    assert isinstance(hear(socket), verbs.Error)


def test_without_nodes_it_is_idle(plane, peer):
    wait_until(lambda: plane.idle_for() > 0)
    socket = peer()
    join(socket, "node", b"12345678")
    assert plane.idle_for() == 0


def test_an_address_that_cannot_be_bound_is_an_error_that_names_it():
    plane = MessagePlane(
        parse_address("ipc:///nowhere/at/all"), boot="b", timeout=15, max_bytes=1, make_announcer=Announcements
    )
    with pytest.raises(ProxyError, match="/nowhere/at/all"):
        plane.start()
