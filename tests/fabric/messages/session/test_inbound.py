"""Messages that we get: delivered once, acknowledged, answered. The proxy is played by the test."""

from __future__ import annotations

import pytest

from fabric.messages.session.outcomes import Arrived
from fabric.messages.session.session import SessionLimits
from fabric.protocol import verbs
from fabric.protocol.json_fields import Meta, ReplyMeta
from tests.fabric.messages.session.harness import OTHER, deliver, registered


def test_a_message_arrives_as_the_application_gets_it(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    assert inbox.outcomes() == [
        Arrived(
            1,
            "inbox",
            "m1",
            {"type": "message", "id": "m1", "to": "inbox", "from": "lead", "ts": 1.5, "body": {"n": 1}},
            True,
            inbox.now + 2.0,
        )
    ]


def test_a_redelivered_message_says_so(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, redelivered=True)))
    assert inbox.outcomes()[0].message["redelivered"] is True


def test_a_broadcast_arrives_as_addressed_to_everybody(inbox):
    inbox.receive(deliver(to="*"))
    assert inbox.outcomes()[0].message["to"] == "*"


def test_a_message_is_not_acknowledged_before_it_is_accepted(inbox):
    inbox.receive(deliver())
    assert inbox.sent() == []


def test_an_accepted_message_is_acknowledged(inbox):
    inbox.receive(deliver())
    inbox.session.accept(*inbox.outcomes())
    assert inbox.sent() == [verbs.Got("m1", "i-1", OTHER)]


def test_a_refusal_carries_its_reason(inbox):
    inbox.receive(deliver())
    inbox.session.refuse(*inbox.outcomes(), "busy", "full")
    assert inbox.sent() == [verbs.RefusedByHolder("m1", "i-1", OTHER, "busy", {"text": "full"})]


def test_a_repeat_does_not_arrive(inbox):
    inbox.receive(deliver())
    inbox.session.accept(*inbox.outcomes())
    inbox.receive(deliver())
    assert inbox.outcomes() == []


def test_a_repeat_is_acknowledged_again(inbox):
    inbox.receive(deliver())
    inbox.session.accept(*inbox.outcomes())
    inbox.sent()
    inbox.receive(deliver())
    assert inbox.sent() == [verbs.Got("m1", "i-1", OTHER)]


def test_a_repeat_of_a_refused_message_is_refused_again(inbox):
    inbox.receive(deliver())
    inbox.session.refuse(*inbox.outcomes(), "busy")
    inbox.sent()
    inbox.receive(deliver())
    assert [message.code for message in inbox.sent(verbs.RefusedByHolder)] == ["busy"]


def test_a_repeat_before_the_shell_has_decided_is_answered_once(inbox):
    inbox.receive(deliver(), deliver())
    inbox.session.accept(*inbox.outcomes())
    assert len(inbox.sent()) == 1


def test_the_answer_to_a_repeat_goes_where_the_repeat_came_from(inbox):
    inbox.receive(deliver(back=b"broadcast1"), deliver(back=b"broadcast2"))
    inbox.session.accept(*inbox.outcomes())
    assert inbox.sent() == [verbs.Got("m1", "i-1", b"broadcast2")]


def test_the_same_id_at_another_endpoint_is_another_message(inbox):
    inbox.register("second")
    inbox.receive(verbs.Registered(2, "second", "i-2"), deliver(to="*"), deliver(to="*", session="i-2"))
    assert [outcome.endpoint for outcome in inbox.outcomes(Arrived)] == ["inbox", "second"]


def test_an_id_is_remembered_as_long_as_its_sender_waits(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 60.0)))
    inbox.session.accept(*inbox.outcomes())
    for _ in range(60):
        inbox.tick(1.0)
    inbox.outcomes()
    inbox.receive(deliver())
    assert inbox.outcomes() == []


def test_an_id_is_forgotten_after_its_sender_has_given_up(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 60.0)))
    inbox.session.accept(*inbox.outcomes())
    for _ in range(70):
        inbox.tick(1.0)
    assert inbox.session.stats()["remembered"] == 0


def test_after_a_stop_of_this_process_no_id_is_forgotten_yet(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0)))
    inbox.session.accept(*inbox.outcomes())
    inbox.tick(3_600)
    inbox.receive(deliver())
    assert inbox.outcomes(Arrived) == []


def test_a_message_over_the_limit_of_remembered_ids_is_refused_as_busy():
    inbox = registered(limits=SessionLimits(seen_ids=1))
    inbox.receive(deliver("m1"), deliver("m2"))
    assert [(message.id, message.code) for message in inbox.sent(verbs.RefusedByHolder)] == [("m2", "busy")]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"{"])
def test_a_body_that_is_no_object_is_refused(inbox, body):
    inbox.receive(deliver(body=body))
    assert [message.code for message in inbox.sent(verbs.RefusedByHolder)] == ["malformed"]


def test_a_message_for_a_session_that_is_not_ours_is_refused_as_gone(inbox):
    inbox.receive(deliver(session="i-9"))
    assert inbox.sent() == [verbs.RefusedByHolder("m1", "i-9", OTHER, "gone", {})]


def test_an_answer_is_sent_to_the_requester(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    (arrived,) = inbox.outcomes()
    inbox.session.accept(arrived)
    inbox.session.reply(arrived, b'{"x":1}')
    assert inbox.sent(verbs.Reply) == [verbs.Reply("m1", OTHER, ReplyMeta(), b'{"x":1}')]


def test_an_exception_of_the_handler_is_sent_to_the_requester(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply_error(*inbox.outcomes(), "ValueError", "no")
    assert inbox.sent(verbs.Reply)[0].meta == ReplyMeta(("ValueError", "no"))


def test_an_answer_acknowledges_its_request(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply(*inbox.outcomes(), b"1")
    assert [type(message) for message in inbox.sent()] == [verbs.Got, verbs.Reply]


def test_a_request_is_answered_once(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    (arrived,) = inbox.outcomes()
    assert (inbox.session.reply(arrived, b"1"), inbox.session.reply(arrived, b"2")) == (True, False)


def test_a_message_that_is_no_request_is_not_answered(inbox):
    inbox.receive(deliver())
    assert inbox.session.reply(*inbox.outcomes(), b"1") is False


def test_a_repeated_request_is_answered_again_from_memory(inbox):
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply(*inbox.outcomes(), b"1")
    inbox.sent()
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    assert inbox.sent(verbs.Reply) == [verbs.Reply("m1", OTHER, ReplyMeta(), b"1")]


def test_the_oldest_answers_are_dropped_over_the_limit():
    inbox = registered(limits=SessionLimits(reply_bytes=10))
    request = Meta(1.5, 2.0, request=True)
    inbox.receive(deliver("m1", meta=request), deliver("m2", meta=request))
    for arrived in inbox.outcomes():
        inbox.session.reply(arrived, b'"123456"')
    inbox.sent()
    inbox.receive(deliver("m1", meta=request), deliver("m2", meta=request))
    assert [message.id for message in inbox.sent(verbs.Reply)] == ["m2"]
