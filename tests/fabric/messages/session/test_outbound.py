"""Messages and requests that we send: acknowledged, answered, in doubt, failed. The proxy is played by the test."""

from __future__ import annotations

import pytest

from fabric import errors
from fabric.messages.session.outcomes import CallFailed, Delivered, RequestReplied
from fabric.messages.session.session import SessionLimits
from fabric.protocol import verbs
from fabric.protocol.json_fields import ReplyMeta
from tests.fabric.messages.session.harness import welcomed


def test_an_acknowledgement_is_reported(found):
    found.send("m1")
    found.receive(verbs.Ack("m1", 1))
    assert (found.outcomes(), found.session.pending) == ([Delivered("m1", 1)], 0)


def test_a_second_acknowledgement_is_ignored(found):
    found.send("m1")
    found.receive(verbs.Ack("m1", 1), verbs.Ack("m1", 1))
    assert found.outcomes() == [Delivered("m1", 1)]


def test_a_message_that_is_not_acknowledged_fails_at_its_deadline(found):
    found.send("m1", wait=2.0)
    found.tick(2.0)
    ((id, error),) = found.outcomes(CallFailed)
    assert (id, type(error), error.waited) == ("m1", errors.DeliveryTimeout, 2.0)


def test_a_message_that_never_left_fails_as_not_connected(node):
    node.session.link_lost(node.now)
    node.outcomes()
    node.send("m1", wait=2.0)
    node.tick(2.0)
    assert [type(outcome.error) for outcome in node.outcomes(CallFailed)] == [errors.NotConnected]


def test_the_next_deadline_is_that_of_the_message(found):
    found.send("m1", wait=0.5)
    assert found.session.next_deadline() == found.now + 0.5


def test_a_cancelled_message_has_no_outcome(found):
    found.send("m1", wait=2.0)
    found.session.cancel("m1", found.now)
    found.tick(2.0)
    assert found.outcomes() == []


def test_a_name_of_ours_may_be_the_sender(inbox):
    inbox.send("m1", sender="inbox")
    inbox.receive(verbs.Found("worker", "", "w-1", False))
    assert [message.sender for message in inbox.sent(verbs.Send)] == ["inbox"]


def test_a_name_that_is_not_ours_may_not_be_the_sender(inbox):
    with pytest.raises(errors.SenderNotOwned):
        inbox.send("m1", sender="worker")


def test_an_id_on_its_way_is_not_used_again(found):
    found.send("m1")
    with pytest.raises(ValueError, match="used once"):
        found.send("m1")


@pytest.mark.parametrize("to", ["", "a b", "anonymous:x"])
def test_a_message_to_an_invalid_name_is_refused_at_once(node, to):
    with pytest.raises(ValueError, match="name"):
        node.send("m1", to)


@pytest.mark.parametrize("id", ["", "a b", "ä", "x" * 65])
def test_an_invalid_id_is_refused_at_once(node, id):
    with pytest.raises(ValueError, match="id"):
        node.send(id)


def test_a_body_over_the_proxys_limit_is_refused_at_once(node):
    with pytest.raises(errors.MessageTooLarge):
        node.session.send("m1", "worker", b"x" * 1_001, ts=1.0, deadline=node.now + 1, now=node.now)


def test_a_message_over_the_limit_is_refused_as_busy():
    node = welcomed(limits=SessionLimits(open_messages=1))
    node.send("m1")
    with pytest.raises(errors.EndpointBusy):
        node.send("m2")


def test_a_message_over_the_limit_of_bytes_is_refused_as_busy():
    node = welcomed(limits=SessionLimits(open_bytes=10))
    node.send("m1")
    with pytest.raises(errors.EndpointBusy, match="7 bytes"):
        node.send("m2")


def test_a_message_over_the_limit_is_refused_as_not_connected_without_a_proxy():
    node = welcomed(limits=SessionLimits(open_messages=1))
    node.session.link_lost(node.now)
    node.send("m1")
    with pytest.raises(errors.NotConnected):
        node.send("m2")


def test_a_message_sent_again_carries_the_time_that_is_left(found):
    found.send("m1", wait=5.0)
    found.session.link_lost(found.now)
    found.tick(1.0)
    found.welcome("boot2")
    found.receive(verbs.Found("worker", "w-1", "w-1", False))
    assert [message.meta.ttl for message in found.sent(verbs.Send)] == [4.0]


def test_an_acknowledged_message_is_not_sent_again(found):
    found.send("m1")
    found.receive(verbs.Ack("m1", 1))
    found.session.link_lost(found.now)
    found.welcome("boot2")
    assert found.sent() == []


def test_an_unanswered_request_is_sent_again_although_it_was_acknowledged(found):
    found.send("m1", request=True)
    found.receive(verbs.Ack("m1", 1))
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.sent()
    found.receive(verbs.Found("worker", "w-1", "w-1", False))
    assert found.sends() == [("m1", "w-1")]


def test_a_message_in_flight_to_a_session_that_is_gone_for_good_is_unknown(found):
    found.send("m1")
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.outcomes()
    found.receive(verbs.Gone("worker", "w-1", "timeout"))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.DeliveryUnknown]


def test_with_redeliver_a_message_in_doubt_goes_to_the_new_holder_marked_as_redelivered(found):
    found.send("m1", redeliver=True)
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.sent()
    found.receive(verbs.Gone("worker", "w-1", "timeout"), verbs.Found("worker", "", "w-2", False))
    assert [(message.session, message.meta.redelivered) for message in found.sent(verbs.Send)] == [("w-2", True)]


def test_after_the_end_of_a_session_a_message_not_refused_before_the_pong_is_unknown(found):
    for id_ in ("m1", "m2"):
        found.send(id_)
    found.receive(verbs.Gone("worker", "w-1", "close"))
    (ping,) = found.sent(verbs.Ping)
    found.receive(verbs.Error("SEND", "m2", "gone", {}), verbs.Pong(ping.token, True))
    assert [(outcome.id, type(outcome.error)) for outcome in found.outcomes(CallFailed)] == [
        ("m1", errors.DeliveryUnknown)
    ]


def test_an_acknowledgement_before_the_pong_counts(found):
    found.send("m1")
    found.receive(verbs.Gone("worker", "w-1", "close"))
    (ping,) = found.sent(verbs.Ping)
    found.receive(verbs.Ack("m1", 1), verbs.Pong(ping.token, True))
    assert found.outcomes() == [Delivered("m1", 1)]


def test_messages_to_an_ended_session_are_unknown_when_the_link_is_lost_before_the_pong(found):
    for id_ in ("m1", "m2"):
        found.send(id_)
    found.receive(verbs.Error("SEND", "m1", "gone", {}))
    found.session.link_lost(found.now)
    assert [(outcome.id, type(outcome.error)) for outcome in found.outcomes(CallFailed)] == [
        ("m2", errors.DeliveryUnknown)
    ]


def test_a_message_refused_the_second_time_is_unknown(found):
    found.send("m1")
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.outcomes()
    found.receive(verbs.Found("worker", "w-1", "w-1", False), verbs.Error("SEND", "m1", "busy", {}))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.DeliveryUnknown]


def test_a_request_to_everybody_is_refused_at_once(node):
    with pytest.raises(ValueError, match="many answers"):
        node.send("m1", "*", request=True)


def test_an_answer_is_reported_after_the_delivery(found):
    found.send("m1", request=True)
    found.receive(verbs.Ack("m1", 1), verbs.Replied("m1", ReplyMeta(), b'{"x":1}'))
    assert found.outcomes() == [Delivered("m1", 1), RequestReplied("m1", {"x": 1})]


def test_an_answer_counts_as_the_delivery_if_the_acknowledgement_was_lost(found):
    found.send("m1", request=True)
    found.receive(verbs.Replied("m1", ReplyMeta(), b"null"))
    assert found.outcomes() == [Delivered("m1", 1), RequestReplied("m1", None)]


def test_an_exception_of_the_handler_is_a_remote_error(found):
    found.send("m1", request=True)
    found.receive(verbs.Replied("m1", ReplyMeta(("ValueError", "no")), b"null"))
    ((_, error),) = found.outcomes(CallFailed)
    assert (type(error), error.type, error.text) == (errors.RemoteError, "ValueError", "no")


def test_an_answer_that_is_no_json_fails(found):
    found.send("m1", request=True)
    found.receive(verbs.Replied("m1", ReplyMeta(), b"{"))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.Refused]


def test_an_answer_without_a_request_is_ignored(found):
    found.send("m1")
    found.receive(verbs.Replied("m1", ReplyMeta(), b"1"), verbs.Replied("m9", ReplyMeta(), b"1"))
    assert found.outcomes() == []


@pytest.mark.parametrize(("reason", "fate"), [("timeout", [errors.DeliveryUnknown]), ("reconnect", []), ("close", [])])
def test_an_acknowledged_request_fails_only_if_no_holder_is_left_to_answer(found, reason, fate):
    found.send("m1", request=True)
    found.receive(verbs.Ack("m1", 1), verbs.Gone("worker", "w-1", reason))
    found.receive(*[verbs.Pong(ping.token, True) for ping in found.sent(verbs.Ping)])
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == fate


def test_a_request_that_is_not_answered_fails_at_its_deadline(found):
    found.send("m1", wait=2.0, request=True)
    found.receive(verbs.Ack("m1", 1))
    found.tick(2.0)
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.DeliveryTimeout]
