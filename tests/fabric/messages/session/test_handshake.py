"""HELLO and WELCOME, heartbeats, and the loss of the proxy. The proxy is played by the test."""

from __future__ import annotations

import pytest

from fabric.messages.session.outcomes import Disconnected, Welcomed
from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Terms
from tests.fabric.messages.session.harness import ORIGIN, Harness, deliver


def test_hello_carries_the_identity_of_the_node():
    node = Harness().start()
    assert node.sent() == [verbs.Hello(1, 1, Identity("app", ORIGIN, 7, "host", "app.py"))]


def test_nothing_is_sent_before_the_start():
    assert Harness().sent() == []


def test_hello_is_repeated_each_second_until_the_welcome():
    node = Harness().start()
    for _ in range(3):
        node.tick(1.0)
    assert [message.attempt for message in node.sent()] == [4]


def test_a_welcome_makes_the_session_welcomed():
    node = Harness().start().welcome()
    assert (node.session.state, node.outcomes()) == ("welcomed", [Welcomed("boot", 5.0, 15.0, 1_000)])


def test_a_welcome_of_an_earlier_hello_is_ignored():
    node = Harness().start()
    node.tick(1.0)
    node.receive(verbs.Welcome(1, 1, Terms("boot", 5.0, 15.0, 1_000)))
    assert node.session.state == "connecting"


def test_a_heartbeat_is_sent_after_a_second_and_then_at_a_third_of_the_timeout(node):
    pinged = []
    for second in range(1, 15):
        node.tick(1.0)
        node.session.receive([b"PONG", b"p", b"1"], node.now)
        if node.sent(verbs.Ping):
            pinged.append(second)
    assert pinged == [1, 6, 11]


def test_the_next_deadline_is_that_of_the_next_heartbeat(node):
    assert node.session.next_deadline() == node.now + 1
    node.tick(1.0)
    assert node.session.next_deadline() == node.now + 5


def test_a_heartbeat_carries_the_report_of_the_node():
    node = Harness(report=lambda: b'{"sent":3}').start().welcome()
    node.tick(1.0)
    assert [ping.report for ping in node.sent(verbs.Ping)] == [b'{"sent":3}']


@pytest.mark.parametrize(
    "news",
    [
        verbs.Pong("ping-1", False),
        verbs.Error("SEND", "m1", "unknown_peer", {}),
        verbs.Bye("timeout"),
        verbs.Bye("shutdown"),
    ],
    ids=lambda news: f"{type(news).__name__}-{news[-1]}",
)
def test_hello_is_sent_again_when_the_proxy_does_not_know_the_node(node, news):
    node.receive(news)
    assert [type(message) for message in node.sent()] == [verbs.Hello]


def test_hello_is_sent_again_when_the_proxy_is_silent_for_the_timeout(node):
    for _ in range(15):
        node.tick(1.0)
    assert (node.outcomes(Disconnected), node.session.state) == ([Disconnected("silence")], "connecting")


def test_after_a_stop_of_this_process_the_proxy_is_not_taken_for_silent(node):
    node.tick(3_600)
    assert node.session.state == "welcomed"


def test_hello_is_sent_again_when_the_link_is_lost(node):
    node.session.link_lost(node.now)
    assert (node.outcomes(), [message.attempt for message in node.sent()]) == ([Disconnected("link")], [2])


def test_a_link_that_comes_back_to_the_same_proxy_changes_nothing(node):
    node.session.link_back(node.now, "boot")
    assert node.sent() == []


def test_hello_is_sent_again_when_the_link_comes_back_to_another_proxy(node):
    node.session.link_back(node.now, "boot2")
    assert [type(message) for message in node.sent()] == [verbs.Hello]


def test_a_node_that_was_replaced_sends_no_hello(node):
    node.receive(verbs.Bye("replaced"))
    assert (node.session.state, node.sent()) == ("closed", [])


def test_a_rejected_hello_is_repeated_after_a_timeout():
    node = Harness().start()
    node.sent()
    node.receive(verbs.Error("HELLO", "1", "version", {}))
    for _ in range(14):
        node.tick(1.0)
    quiet = node.sent()
    node.tick(1.0)
    assert (quiet, len(node.sent())) == ([], 1)


def test_messages_that_have_not_left_yet_do_not_leave_before_the_welcome(found):
    found.send("m1")
    found.session.link_lost(found.now)
    assert [type(message) for message in found.sent()] == [verbs.Hello]


def test_acknowledgements_that_have_not_left_yet_still_leave(inbox):
    inbox.receive(deliver())
    inbox.session.accept(*inbox.outcomes())
    inbox.session.link_lost(inbox.now)
    assert [type(message) for message in inbox.sent()] == [verbs.Got, verbs.Hello]
