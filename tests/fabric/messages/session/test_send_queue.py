"""To which session a message leaves, and in which order. The proxy is played by the test."""

from __future__ import annotations

from fabric.messages.session.session import SessionLimits
from fabric.protocol import verbs
from fabric.protocol.json_fields import Meta
from tests.fabric.messages.session.harness import welcomed


def test_the_receivers_session_is_asked_for_before_the_first_message_leaves(node):
    node.send("m1")
    assert node.sent() == [verbs.Find("worker")]


def test_waiting_messages_leave_in_order_when_the_session_is_found(node):
    node.send("m1")
    node.send("m2")
    node.receive(verbs.Found("worker", "", "w-1", False))
    assert node.sends() == [("m1", "w-1"), ("m2", "w-1")]


def test_the_second_message_leaves_at_once(found):
    found.send("m1")
    assert found.sent() == [
        verbs.Send("m1", "worker", "w-1", "anonymous:app", Meta(1.0, 5.0), b'{"n":1}'),
    ]


def test_queues_of_different_names_do_not_wait_for_each_other(found):
    found.send("m1", "other")
    found.send("m2", "worker")
    assert found.sends() == [("m2", "w-1")]


def test_each_message_to_a_group_asks_for_a_member(node):
    node.send("m1", "group")
    node.receive(verbs.Found("group", "", "g-1", True))
    node.send("m2", "group")
    node.send("m3", "group")
    node.receive(verbs.Found("group", "", "g-2", True), verbs.Found("group", "", "g-1", True))
    assert node.sends() == [("m1", "g-1"), ("m2", "g-2"), ("m3", "g-1")]


def test_over_the_limit_of_queues_the_idle_ones_are_forgotten_and_asked_for_again():
    node = welcomed(limits=SessionLimits(send_queues=2))
    for name in ("a", "b"):
        node.send(name, name)
        node.receive(verbs.Found(name, "", f"{name}-1", False))
    node.forget()
    node.send("m1", "c")
    node.send("m2", "a")
    assert node.sent() == [verbs.Find("c"), verbs.Find("a")]


def test_messages_in_flight_are_not_sent_again_before_their_session_is_found_again(found):
    found.send("m1")
    found.session.link_lost(found.now)
    found.welcome("boot2")
    assert found.sent() == [verbs.Find("worker", "w-1")]


def test_messages_in_flight_are_sent_again_in_order_before_waiting_ones(found):
    found.send("m1")
    found.send("m2")
    found.session.link_lost(found.now)
    found.send("m3")
    found.welcome("boot2")
    found.sent()
    found.receive(verbs.Found("worker", "w-1", "w-1", False))
    assert found.sends() == [("m1", "w-1"), ("m2", "w-1"), ("m3", "w-1")]


def test_a_message_that_never_left_goes_to_the_new_holder(found):
    found.session.link_lost(found.now)
    found.send("m1")
    found.welcome("boot2")
    found.receive(verbs.Gone("worker", "w-1", "timeout"), verbs.Found("worker", "", "w-2", False))
    assert found.sends() == [("m1", "w-2")]


def test_a_message_refused_as_gone_goes_to_the_new_holder(found):
    found.send("m1")
    found.sent()
    found.receive(verbs.Error("SEND", "m1", "gone", {}), verbs.Found("worker", "", "w-2", False))
    assert found.sends() == [("m1", "w-2")]


def test_a_message_refused_as_gone_keeps_its_place(found):
    for id_ in ("m1", "m2"):
        found.send(id_)
    found.sent()
    found.receive(verbs.Error("SEND", "m1", "gone", {}))
    found.send("m3")
    found.receive(verbs.Error("SEND", "m2", "gone", {}), verbs.Found("worker", "", "w-2", False))
    assert found.sends() == [("m1", "w-2"), ("m2", "w-2"), ("m3", "w-2")]


def test_a_broadcast_leaves_at_once(node):
    node.send("m1", "*")
    assert node.sends() == [("m1", "*")]


def test_a_broadcast_waits_for_the_messages_before_it(node):
    node.send("m1")
    node.send("m2", "*")
    held = node.sends()
    node.receive(verbs.Found("worker", "", "w-1", False))
    assert (held, node.sends()) == ([], [("m1", "w-1"), ("m2", "*")])


def test_messages_after_a_waiting_broadcast_wait_too(found):
    found.send("m1", "other")
    found.send("m2", "*")
    found.send("m3", "worker")
    held = found.sends()
    found.receive(verbs.Found("other", "", "o-1", False))
    assert (held, found.sends()) == ([], [("m1", "o-1"), ("m2", "*"), ("m3", "w-1")])


def test_a_broadcast_leaves_when_the_message_before_it_has_failed(node):
    node.send("m1")
    node.send("m2", "*")
    node.receive(verbs.Error("FIND", "worker", "no_such_endpoint", {}))
    assert node.sends() == [("m2", "*")]


def test_a_broadcast_leaves_when_the_message_before_it_has_reached_its_deadline(node):
    node.send("m1", wait=1.0)
    node.send("m2", "*")
    node.tick(1.0)
    assert node.sends() == [("m2", "*")]


def test_a_broadcast_that_is_not_acknowledged_is_sent_again(node):
    node.send("m1", "*")
    node.session.link_lost(node.now)
    node.welcome("boot2")
    assert node.sends() == [("m1", "*")]
