"""Bytes of all kinds on the message socket of a real proxy: ERROR or silence, and nobody else notices."""

import random

import pytest
import zmq

from fabric.config.address import parse_address
from fabric.protocol import verbs


@pytest.fixture
def dealer(shared_proxy):
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvtimeo = 5_000
    socket.connect(parse_address(shared_proxy.url).messages)
    yield socket
    socket.close()
    context.term()


@pytest.fixture
def bystanders(shared_proxy, fabric_node):
    asker, holder = fabric_node("asker", url=shared_proxy.url), fabric_node("holder", url=shared_proxy.url)
    endpoint = holder.endpoint("bystander", lambda message: message.body["n"])
    yield lambda: asker.request("bystander", {"n": 7}, timeout=5).wait(5) == 7
    endpoint.close()


def answer(socket):
    return verbs.decode_for_node(socket.recv_multipart())


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"NONSENSE"],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"HELLO"],
        [b"HELLO", b"1", b"1", b"{"],
        [b"HELLO", b"99", b"1", b"{}"],
        [b"SEND"],
        [b"SEND", b"\xff" * 70, b"x", b"", b"", b"{}", b"{}"],
        [b"SEND", b"id", b"", b"", b"", b"{}", b"{}"],
        [b"REGISTER", b"1", b"name", b"no-policy", b"", b""],
        [b"LIST", b"id", b"[" * 5_000],
        [b"SEND"] + [b"x"] * 500,
        [b"__class__"],
        [b"_send"],
    ],
)
def test_what_is_no_message_is_answered_with_an_error(dealer, bystanders, frames):
    dealer.send_multipart(frames)
    assert isinstance(answer(dealer), verbs.Error)
    assert bystanders()


def test_a_peer_that_was_refused_can_go_on(dealer):
    dealer.send_multipart([b"NONSENSE"])
    answer(dealer)
    dealer.send_multipart(verbs.encode(verbs.Ping("t")))
    assert answer(dealer) == verbs.Pong("t", known=False)


def test_random_frames_harm_nobody(dealer, bystanders):
    chance = random.Random(7)
    words = [*verbs.TO_PROXY, *verbs.TO_NODE, b"", b"\x00", b"1", b"{}", b"*", b"bystander", b"\xff\xfe"]
    for _ in range(2_000):
        frames = [chance.choice(words) if chance.random() < 0.8 else chance.randbytes(chance.randint(0, 40))]
        frames += [
            chance.choice(words) if chance.random() < 0.6 else chance.randbytes(chance.randint(0, 300))
            for _ in range(chance.randint(0, 9))
        ]
        if frames[0] != verbs.STOP:
            dealer.send_multipart(frames)
    assert bystanders()


def test_a_reply_nobody_asked_for_goes_nowhere(dealer, bystanders):
    dealer.send_multipart([verbs.REPLY, b"id", b"\x00" * 8, b"{}", b"1"])
    dealer.send_multipart(verbs.encode(verbs.Ping("t")))
    assert isinstance(answer(dealer), verbs.Pong)
    assert bystanders()
