"""Our half of the message plane, against a proxy played by the test."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric import errors
from fabric.messages.session.outcomes import (
    Arrived,
    CallFailed,
    Delivered,
    Disconnected,
    Listing,
    NameLost,
    NameRefused,
    NameRegistered,
    QueryArrived,
    QueryFailed,
    QueryReply,
    QuerySent,
    RequestReplied,
    RetainedPage,
    Welcomed,
)
from fabric.messages.session.session import Limits, Session
from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Meta, ReplyMeta, Terms

ORIGIN = b"12345678"
OTHER = b"abcdefgh"


class Node:
    """A session, the clock, and what it said."""

    def __init__(self, **options):
        self.now = 100.0
        self.session = Session("app", ORIGIN, pid=7, host="host", program="app.py", **options)

    def said(self):
        """Everything it sent since the last time, decoded."""
        frames = list(self.session.outgoing)
        self.session.outgoing.clear()
        return [verbs.decode_for_proxy(message) for message in frames]

    def of(self, kind):
        return [message for message in self.said() if isinstance(message, kind)]

    def outcomes(self, kind=tuple):
        found = [outcome for outcome in self.session.outcomes if isinstance(outcome, kind)]
        self.session.outcomes.clear()
        return found

    def hear(self, *messages):
        for message in messages:
            self.session.receive(verbs.encode(message), self.now)

    def tick(self, seconds=0.0):
        self.now += seconds
        self.session.tick(self.now)

    def welcome(self, proxy="boot"):
        """The proxy answers the HELLO that it sent last."""
        attempt = self.of(verbs.Hello)[-1].attempt
        self.hear(verbs.Welcome(1, attempt, Terms(proxy, 5.0, 15.0, 1_000)))

    def send(self, id, to="worker", wait=5.0, **options):
        self.session.send(id, to, b'{"n":1}', ts=1.0, deadline=self.now + wait, now=self.now, **options)

    def register(self, name="inbox", policy="reject"):
        return self.session.register(name, policy, self.now + 5, self.now)


def welcomed(limits):
    node = Node(limits=limits)
    node.session.start(node.now)
    node.welcome()
    node.outcomes()
    return node


def holder(node):
    node.register()
    node.hear(verbs.Registered(1, "inbox", "i-1"))
    node.said()
    node.outcomes()
    return node


@pytest.fixture
def node():
    """Welcomed; it has said and heard nothing else."""
    return welcomed(Limits())


@pytest.fixture
def found(node):
    """It knows that `worker` is at session w-1."""
    node.send("first")
    node.hear(verbs.Found("worker", "", "w-1", False), verbs.Ack("first", 1))
    node.said()
    node.outcomes()
    return node


@pytest.fixture
def inbox(node):
    """It holds `inbox`, key 1, at session i-1."""
    return holder(node)


def deliver(id="m1", session="i-1", to="inbox", sender="lead", back=OTHER, meta=Meta(1.5, 2.0), body=b'{"n":1}'):  # noqa: B008
    return verbs.Deliver(id, session, to, sender, back, meta, body)


def sent(node):
    return [(message.id, message.session) for message in node.of(verbs.Send)]


# Connecting


def test_it_says_hello_with_who_it_is():
    node = Node()
    node.session.start(node.now)
    assert node.said() == [verbs.Hello(1, 1, Identity("app", ORIGIN, 7, "host", "app.py"))]


def test_it_says_nothing_before_it_is_started():
    assert Node().said() == []


def test_it_repeats_its_hello_each_second_until_it_is_welcomed():
    node = Node()
    node.session.start(node.now)
    for _ in range(3):
        node.tick(1.0)
    assert [message.attempt for message in node.said()] == [4]


def test_a_welcome_makes_it_welcomed():
    node = Node()
    node.session.start(node.now)
    node.welcome()
    assert (node.session.state, node.outcomes()) == ("welcomed", [Welcomed("boot", 5.0, 15.0, 1_000)])


def test_a_welcome_of_an_earlier_hello_is_no_welcome():
    node = Node()
    node.session.start(node.now)
    node.tick(1.0)
    node.hear(verbs.Welcome(1, 1, Terms("boot", 5.0, 15.0, 1_000)))
    assert node.session.state == "connecting"


def test_it_pings_after_a_second_and_then_at_a_third_of_the_timeout(node):
    pinged = []
    for second in range(1, 15):
        node.tick(1.0)
        node.session.receive([b"PONG", b"p", b"1"], node.now)
        if node.of(verbs.Ping):
            pinged.append(second)
    assert pinged == [1, 6, 11]


def test_it_is_to_be_called_when_the_next_ping_is_due(node):
    assert node.session.next_deadline() == node.now + 1
    node.tick(1.0)
    assert node.session.next_deadline() == node.now + 5


def test_a_heartbeat_carries_what_the_node_reports():
    node = Node(report=lambda: b'{"sent":3}')
    node.session.start(node.now)
    node.welcome()
    node.tick(1.0)
    assert [ping.report for ping in node.of(verbs.Ping)] == [b'{"sent":3}']


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
def test_it_says_hello_again_when_the_proxy_does_not_know_it(node, news):
    node.hear(news)
    assert [type(message) for message in node.said()] == [verbs.Hello]


def test_it_says_hello_again_when_the_proxy_is_silent_for_the_timeout(node):
    for _ in range(15):
        node.tick(1.0)
    assert (node.outcomes(Disconnected), node.session.state) == ([Disconnected("silence")], "connecting")


def test_a_stopped_process_does_not_blame_the_proxy(node):
    node.tick(3_600)
    assert node.session.state == "welcomed"


def test_it_says_hello_again_when_the_link_is_lost(node):
    node.session.link_lost(node.now)
    assert (node.outcomes(), [message.attempt for message in node.said()]) == ([Disconnected("link")], [2])


def test_a_link_that_comes_back_to_the_same_proxy_changes_nothing(node):
    node.session.link_back(node.now, "boot")
    assert node.said() == []


def test_a_link_that_comes_back_to_another_proxy_is_a_new_beginning(node):
    node.session.link_back(node.now, "boot2")
    assert [type(message) for message in node.said()] == [verbs.Hello]


def test_whoever_took_over_our_origin_is_not_thrown_out(node):
    node.hear(verbs.Bye("replaced"))
    assert (node.session.state, node.said()) == ("closed", [])


def test_a_proxy_that_will_not_have_us_is_asked_again_after_a_timeout():
    node = Node()
    node.session.start(node.now)
    node.said()
    node.hear(verbs.Error("HELLO", "1", "version", {}))
    for _ in range(14):
        node.tick(1.0)
    quiet = node.said()
    node.tick(1.0)
    assert (quiet, len(node.said())) == ([], 1)


def test_what_has_not_left_yet_does_not_come_before_the_welcome(found):
    found.send("m1")
    found.session.link_lost(found.now)
    assert [type(message) for message in found.said()] == [verbs.Hello]


def test_acknowledgements_that_have_not_left_yet_still_leave(inbox):
    inbox.hear(deliver())
    inbox.session.accept(*inbox.outcomes())
    inbox.session.link_lost(inbox.now)
    assert [type(message) for message in inbox.said()] == [verbs.Got, verbs.Hello]


def test_closing_reports_once_more_and_says_bye(node):
    node.session.close(node.now, "shutdown")
    assert node.said() == [verbs.Ping("ping-1"), verbs.Bye("shutdown")]


def test_closing_fails_what_is_open(found):
    found.send("m1")
    found.session.close(found.now)
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.Closed]


def test_a_closed_session_takes_nothing_on(node):
    node.session.close(node.now)
    with pytest.raises(errors.Closed):
        node.send("m1")


# Names


def test_a_name_is_asked_for(node):
    node.register("inbox", "suffix")
    assert node.said() == [verbs.Register(1, "inbox", "suffix")]


def test_a_name_that_is_granted_is_told_with_its_session(node):
    node.register("inbox", "suffix")
    node.hear(verbs.Registered(1, "inbox-2", "i-1"))
    assert node.outcomes() == [NameRegistered(1, "inbox-2", "i-1")]


def test_a_name_that_is_taken_says_by_whom(node):
    node.register()
    node.hear(verbs.Error("REGISTER", "1", "name_taken", {"holder": "b (pid 7 on host)"}))
    ((key, name, error),) = node.outcomes(NameRefused)
    assert (key, name, type(error), error.holder) == (1, "inbox", errors.NameTaken, "b (pid 7 on host)")


def test_a_name_that_nobody_grants_fails_at_its_deadline():
    node = Node()
    node.session.start(node.now)
    node.register()
    node.tick(5.0)
    assert [type(outcome.error) for outcome in node.outcomes(NameRefused)] == [errors.NotConnected]


@pytest.mark.parametrize(("name", "policy"), [("", "reject"), ("a b", "reject"), ("a", "steal")])
def test_a_bad_name_or_policy_is_refused_at_once(node, name, policy):
    with pytest.raises(ValueError, match=r"name|policy"):
        node.register(name, policy)


def test_a_name_is_asked_for_again_with_its_session_after_a_reconnect(inbox):
    inbox.session.link_lost(inbox.now)
    inbox.welcome("boot2")
    assert inbox.of(verbs.Register) == [verbs.Register(1, "inbox", "reject", "i-1", "inbox")]


def test_a_name_that_was_taken_meanwhile_is_lost(inbox):
    inbox.session.link_lost(inbox.now)
    inbox.welcome("boot2")
    inbox.outcomes()
    inbox.hear(verbs.Error("REGISTER", "1", "name_taken", {"holder": "c"}))
    ((key, name, reason, error),) = inbox.outcomes(NameLost)
    assert (key, name, reason, error.holder) == (1, "inbox", "taken", "c")


def test_a_name_that_is_replaced_is_lost(inbox):
    inbox.hear(verbs.Bye("replaced", "i-1"))
    assert inbox.outcomes() == [NameLost(1, "inbox", "replaced", None)]


def test_a_lost_name_is_not_asked_for_again(inbox):
    inbox.hear(verbs.Bye("replaced", "i-1"))
    inbox.session.link_lost(inbox.now)
    inbox.welcome("boot2")
    assert inbox.of(verbs.Register) == []


def test_a_name_is_given_back(inbox):
    inbox.session.unregister(1)
    assert inbox.said() == [verbs.Unregister(1)]


def test_a_name_given_back_while_nobody_listened_is_given_back_before_others_are_asked_for(inbox):
    inbox.session.link_lost(inbox.now)
    inbox.session.unregister(1)
    inbox.register("inbox")
    inbox.welcome("boot")
    assert inbox.said() == [verbs.Unregister(1), verbs.Register(2, "inbox", "reject")]


def test_a_name_granted_after_it_was_given_back_is_given_back_again(node):
    key = node.register()
    node.session.unregister(key)
    node.said()
    node.hear(verbs.Registered(1, "inbox", "i-1"))
    assert node.said() == [verbs.Unregister(1)]


# Sending


def test_the_receivers_session_is_asked_for_before_the_first_message_leaves(node):
    node.send("m1")
    assert node.said() == [verbs.Find("worker")]


def test_what_waits_leaves_in_order_when_the_session_is_found(node):
    node.send("m1")
    node.send("m2")
    node.hear(verbs.Found("worker", "", "w-1", False))
    assert sent(node) == [("m1", "w-1"), ("m2", "w-1")]


def test_the_second_message_leaves_at_once(found):
    found.send("m1")
    assert found.said() == [
        verbs.Send("m1", "worker", "w-1", "anonymous:app", Meta(1.0, 5.0), b'{"n":1}'),
    ]


def test_one_name_that_is_asked_for_does_not_hold_up_another(found):
    found.send("m1", "other")
    found.send("m2", "worker")
    assert sent(found) == [("m2", "w-1")]


def test_each_message_to_a_group_asks_for_a_turn(node):
    node.send("m1", "group")
    node.hear(verbs.Found("group", "", "g-1", True))
    node.send("m2", "group")
    node.send("m3", "group")
    node.hear(verbs.Found("group", "", "g-2", True), verbs.Found("group", "", "g-1", True))
    assert sent(node) == [("m1", "g-1"), ("m2", "g-2"), ("m3", "g-1")]


def test_an_acknowledgement_is_told(found):
    found.send("m1")
    found.hear(verbs.Ack("m1", 1))
    assert (found.outcomes(), found.session.pending) == ([Delivered("m1", 1)], 0)


def test_a_second_acknowledgement_is_not_told(found):
    found.send("m1")
    found.hear(verbs.Ack("m1", 1), verbs.Ack("m1", 1))
    assert found.outcomes() == [Delivered("m1", 1)]


def test_a_name_nobody_has_fails_with_similar_ones(node):
    node.send("m1", "wroker")
    node.hear(verbs.Error("FIND", "wroker", "no_such_endpoint", {"similar": ["worker"]}))
    ((id, error),) = node.outcomes(CallFailed)
    assert (id, type(error), error.to, error.similar) == ("m1", errors.NoSuchEndpoint, "wroker", ("worker",))


@pytest.mark.parametrize(
    ("about", "code", "detail", "kind"),
    [
        ("SEND", "busy", {}, errors.EndpointBusy),
        ("DELIVER", "busy", {"text": "full"}, errors.EndpointBusy),
        ("SEND", "too_large", {"size": 5, "limit": 1}, errors.MessageTooLarge),
        ("SEND", "not_owned", {"sender": "x"}, errors.SenderNotOwned),
        ("DELIVER", "closing", {"text": "soon"}, errors.Refused),
        ("SEND", "something_new", {"text": 1}, errors.Refused),
        ("SEND", "too_large", {"size": "?"}, errors.MessageTooLarge),
        ("FIND", "no_such_endpoint", {"similar": 3}, None),
    ],
)
def test_a_refusal_fails_with_its_own_error(found, about, code, detail, kind):
    found.send("m1")
    found.hear(verbs.Error(about, "m1", code, detail))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == ([kind] if kind else [])


def test_a_message_that_is_not_acknowledged_fails_at_its_deadline(found):
    found.send("m1", wait=2.0)
    found.tick(2.0)
    ((id, error),) = found.outcomes(CallFailed)
    assert (id, type(error), error.waited) == ("m1", errors.DeliveryTimeout, 2.0)


def test_a_message_that_never_left_fails_with_not_connected(node):
    node.session.link_lost(node.now)
    node.outcomes()
    node.send("m1", wait=2.0)
    node.tick(2.0)
    assert [type(outcome.error) for outcome in node.outcomes(CallFailed)] == [errors.NotConnected]


def test_it_is_to_be_called_at_the_next_deadline(found):
    found.send("m1", wait=0.5)
    assert found.session.next_deadline() == found.now + 0.5


def test_a_cancelled_message_has_no_outcome(found):
    found.send("m1", wait=2.0)
    found.session.cancel("m1", found.now)
    found.tick(2.0)
    assert found.outcomes() == []


def test_a_name_of_ours_may_be_the_sender(inbox):
    inbox.send("m1", sender="inbox")
    inbox.hear(verbs.Found("worker", "", "w-1", False))
    assert [message.sender for message in inbox.of(verbs.Send)] == ["inbox"]


def test_a_name_that_is_not_ours_may_not_be_the_sender(inbox):
    with pytest.raises(errors.SenderNotOwned):
        inbox.send("m1", sender="worker")


def test_an_id_on_its_way_is_not_used_again(found):
    found.send("m1")
    with pytest.raises(ValueError, match="used once"):
        found.send("m1")


@pytest.mark.parametrize("to", ["", "a b", "anonymous:x"])
def test_a_message_to_what_is_no_name_is_refused_at_once(node, to):
    with pytest.raises(ValueError, match="name"):
        node.send("m1", to)


@pytest.mark.parametrize("id", ["", "a b", "ä", "x" * 65])
def test_an_id_that_is_none_is_refused_at_once(node, id):
    with pytest.raises(ValueError, match="id"):
        node.send(id)


def test_a_body_over_the_proxys_limit_is_refused_at_once(node):
    with pytest.raises(errors.MessageTooLarge):
        node.session.send("m1", "worker", b"x" * 1_001, ts=1.0, deadline=node.now + 1, now=node.now)


def test_more_than_can_be_kept_is_refused_at_once():
    node = welcomed(Limits(open_messages=1))
    node.send("m1")
    with pytest.raises(errors.EndpointBusy):
        node.send("m2")


def test_more_than_can_be_kept_without_a_proxy_is_not_connected():
    node = welcomed(Limits(open_messages=1))
    node.session.link_lost(node.now)
    node.send("m1")
    with pytest.raises(errors.NotConnected):
        node.send("m2")


# Sending again


def test_what_is_in_flight_is_not_sent_again_before_its_session_is_found_again(found):
    found.send("m1")
    found.session.link_lost(found.now)
    found.welcome("boot2")
    assert found.said() == [verbs.Find("worker", "w-1")]


def test_what_is_in_flight_is_sent_again_in_order_before_what_waited(found):
    found.send("m1")
    found.send("m2")
    found.session.link_lost(found.now)
    found.send("m3")
    found.welcome("boot2")
    found.said()
    found.hear(verbs.Found("worker", "w-1", "w-1", False))
    assert sent(found) == [("m1", "w-1"), ("m2", "w-1"), ("m3", "w-1")]


def test_a_message_sent_again_says_how_long_it_still_matters(found):
    found.send("m1", wait=5.0)
    found.session.link_lost(found.now)
    found.tick(1.0)
    found.welcome("boot2")
    found.hear(verbs.Found("worker", "w-1", "w-1", False))
    assert [message.meta.ttl for message in found.of(verbs.Send)] == [4.0]


def test_what_is_acknowledged_is_not_sent_again(found):
    found.send("m1")
    found.hear(verbs.Ack("m1", 1))
    found.session.link_lost(found.now)
    found.welcome("boot2")
    assert found.said() == []


def test_an_unanswered_request_is_sent_again_although_it_was_acknowledged(found):
    found.send("m1", request=True)
    found.hear(verbs.Ack("m1", 1))
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.said()
    found.hear(verbs.Found("worker", "w-1", "w-1", False))
    assert sent(found) == [("m1", "w-1")]


def test_what_may_have_reached_a_session_that_is_gone_for_good_is_unknown(found):
    found.send("m1")
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.outcomes()
    found.hear(verbs.Gone("worker", "w-1", "timeout"))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.DeliveryUnknown]


def test_what_never_left_goes_to_whoever_has_the_name_now(found):
    found.session.link_lost(found.now)
    found.send("m1")
    found.welcome("boot2")
    found.hear(verbs.Gone("worker", "w-1", "timeout"), verbs.Found("worker", "", "w-2", False))
    assert sent(found) == [("m1", "w-2")]


def test_with_redeliver_it_goes_to_whoever_has_the_name_now_and_says_so(found):
    found.send("m1", redeliver=True)
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.said()
    found.hear(verbs.Gone("worker", "w-1", "timeout"), verbs.Found("worker", "", "w-2", False))
    assert [(message.session, message.meta.redelivered) for message in found.of(verbs.Send)] == [("w-2", True)]


def test_what_was_refused_as_gone_goes_to_whoever_has_the_name_now(found):
    found.send("m1")
    found.said()
    found.hear(verbs.Error("SEND", "m1", "gone", {}), verbs.Found("worker", "", "w-2", False))
    assert sent(found) == [("m1", "w-2")]


def test_what_was_refused_as_gone_keeps_its_place(found):
    for id_ in ("m1", "m2"):
        found.send(id_)
    found.said()
    found.hear(verbs.Error("SEND", "m1", "gone", {}))
    found.send("m3")
    found.hear(verbs.Error("SEND", "m2", "gone", {}), verbs.Found("worker", "", "w-2", False))
    assert sent(found) == [("m1", "w-2"), ("m2", "w-2"), ("m3", "w-2")]


def test_after_a_session_has_ended_what_is_not_refused_by_the_pong_is_unknown(found):
    for id_ in ("m1", "m2"):
        found.send(id_)
    found.hear(verbs.Gone("worker", "w-1", "close"))
    (ping,) = found.of(verbs.Ping)
    found.hear(verbs.Error("SEND", "m2", "gone", {}), verbs.Pong(ping.token, True))
    assert [(outcome.id, type(outcome.error)) for outcome in found.outcomes(CallFailed)] == [
        ("m1", errors.DeliveryUnknown)
    ]


def test_an_acknowledgement_before_the_pong_counts(found):
    found.send("m1")
    found.hear(verbs.Gone("worker", "w-1", "close"))
    (ping,) = found.of(verbs.Ping)
    found.hear(verbs.Ack("m1", 1), verbs.Pong(ping.token, True))
    assert found.outcomes() == [Delivered("m1", 1)]


def test_a_session_that_has_ended_stays_so_when_the_link_is_lost_before_the_pong(found):
    for id_ in ("m1", "m2"):
        found.send(id_)
    found.hear(verbs.Error("SEND", "m1", "gone", {}))
    found.session.link_lost(found.now)
    assert [(outcome.id, type(outcome.error)) for outcome in found.outcomes(CallFailed)] == [
        ("m2", errors.DeliveryUnknown)
    ]


def test_what_is_refused_the_second_time_is_unknown(found):
    found.send("m1")
    found.session.link_lost(found.now)
    found.welcome("boot2")
    found.outcomes()
    found.hear(verbs.Found("worker", "w-1", "w-1", False), verbs.Error("SEND", "m1", "busy", {}))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.DeliveryUnknown]


# Broadcasts


def test_a_broadcast_leaves_at_once(node):
    node.send("m1", "*")
    assert sent(node) == [("m1", "*")]


def test_a_broadcast_waits_for_what_was_sent_before_it(node):
    node.send("m1")
    node.send("m2", "*")
    held = sent(node)
    node.hear(verbs.Found("worker", "", "w-1", False))
    assert (held, sent(node)) == ([], [("m1", "w-1"), ("m2", "*")])


def test_what_comes_after_a_broadcast_that_waits_waits_too(found):
    found.send("m1", "other")
    found.send("m2", "*")
    found.send("m3", "worker")
    held = sent(found)
    found.hear(verbs.Found("other", "", "o-1", False))
    assert (held, sent(found)) == ([], [("m1", "o-1"), ("m2", "*"), ("m3", "w-1")])


def test_a_broadcast_is_freed_when_what_it_waited_for_has_failed(node):
    node.send("m1")
    node.send("m2", "*")
    node.hear(verbs.Error("FIND", "worker", "no_such_endpoint", {}))
    assert sent(node) == [("m2", "*")]


def test_a_broadcast_is_freed_when_what_it_waited_for_is_over_its_deadline(node):
    node.send("m1", wait=1.0)
    node.send("m2", "*")
    node.tick(1.0)
    assert sent(node) == [("m2", "*")]


def test_a_broadcast_that_is_not_acknowledged_is_sent_again(node):
    node.send("m1", "*")
    node.session.link_lost(node.now)
    node.welcome("boot2")
    assert sent(node) == [("m1", "*")]


def test_nobody_asks_everybody(node):
    with pytest.raises(ValueError, match="many answers"):
        node.send("m1", "*", request=True)


# Requests


def test_an_answer_is_told_after_the_delivery(found):
    found.send("m1", request=True)
    found.hear(verbs.Ack("m1", 1), verbs.Replied("m1", ReplyMeta(), b'{"x":1}'))
    assert found.outcomes() == [Delivered("m1", 1), RequestReplied("m1", {"x": 1})]


def test_an_answer_is_a_delivery_if_the_acknowledgement_was_lost(found):
    found.send("m1", request=True)
    found.hear(verbs.Replied("m1", ReplyMeta(), b"null"))
    assert found.outcomes() == [Delivered("m1", 1), RequestReplied("m1", None)]


def test_what_the_handler_raised_is_a_remote_error(found):
    found.send("m1", request=True)
    found.hear(verbs.Replied("m1", ReplyMeta(("ValueError", "no")), b"null"))
    ((_, error),) = found.outcomes(CallFailed)
    assert (type(error), error.type, error.text) == (errors.RemoteError, "ValueError", "no")


def test_an_answer_that_is_no_json_fails(found):
    found.send("m1", request=True)
    found.hear(verbs.Replied("m1", ReplyMeta(), b"{"))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.Refused]


def test_an_answer_nobody_asked_for_is_dropped(found):
    found.send("m1")
    found.hear(verbs.Replied("m1", ReplyMeta(), b"1"), verbs.Replied("m9", ReplyMeta(), b"1"))
    assert found.outcomes() == []


@pytest.mark.parametrize(("reason", "fate"), [("timeout", [errors.DeliveryUnknown]), ("reconnect", []), ("close", [])])
def test_a_request_is_given_up_only_if_nobody_is_left_to_answer(found, reason, fate):
    found.send("m1", request=True)
    found.hear(verbs.Ack("m1", 1), verbs.Gone("worker", "w-1", reason))
    found.hear(*[verbs.Pong(ping.token, True) for ping in found.of(verbs.Ping)])
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == fate


def test_a_request_that_is_not_answered_fails_at_its_deadline(found):
    found.send("m1", wait=2.0, request=True)
    found.hear(verbs.Ack("m1", 1))
    found.tick(2.0)
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.DeliveryTimeout]


# Receiving


def test_a_message_arrives_as_the_application_gets_it(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
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
    inbox.hear(deliver(meta=Meta(1.5, 2.0, redelivered=True)))
    assert inbox.outcomes()[0].message["redelivered"] is True


def test_a_broadcast_says_that_it_was_to_everybody(inbox):
    inbox.hear(deliver(to="*"))
    assert inbox.outcomes()[0].message["to"] == "*"


def test_nothing_is_acknowledged_before_it_is_accepted(inbox):
    inbox.hear(deliver())
    assert inbox.said() == []


def test_what_is_accepted_is_acknowledged(inbox):
    inbox.hear(deliver())
    inbox.session.accept(*inbox.outcomes())
    assert inbox.said() == [verbs.Got("m1", "i-1", OTHER)]


def test_what_is_refused_says_why(inbox):
    inbox.hear(deliver())
    inbox.session.refuse(*inbox.outcomes(), "busy", "full")
    assert inbox.said() == [verbs.RefusedByHolder("m1", "i-1", OTHER, "busy", {"text": "full"})]


def test_a_repeat_does_not_arrive(inbox):
    inbox.hear(deliver())
    inbox.session.accept(*inbox.outcomes())
    inbox.hear(deliver())
    assert inbox.outcomes() == []


def test_a_repeat_is_acknowledged_again(inbox):
    inbox.hear(deliver())
    inbox.session.accept(*inbox.outcomes())
    inbox.said()
    inbox.hear(deliver())
    assert inbox.said() == [verbs.Got("m1", "i-1", OTHER)]


def test_a_repeat_of_what_was_refused_is_refused_again(inbox):
    inbox.hear(deliver())
    inbox.session.refuse(*inbox.outcomes(), "busy")
    inbox.said()
    inbox.hear(deliver())
    assert [message.code for message in inbox.of(verbs.RefusedByHolder)] == ["busy"]


def test_a_repeat_before_the_shell_has_decided_is_answered_once(inbox):
    inbox.hear(deliver(), deliver())
    inbox.session.accept(*inbox.outcomes())
    assert len(inbox.said()) == 1


def test_the_answer_to_a_repeat_goes_where_the_repeat_came_from(inbox):
    inbox.hear(deliver(back=b"broadcast1"), deliver(back=b"broadcast2"))
    inbox.session.accept(*inbox.outcomes())
    assert inbox.said() == [verbs.Got("m1", "i-1", b"broadcast2")]


def test_the_same_id_at_another_endpoint_is_another_message(inbox):
    inbox.register("second")
    inbox.hear(verbs.Registered(2, "second", "i-2"), deliver(to="*"), deliver(to="*", session="i-2"))
    assert [outcome.endpoint for outcome in inbox.outcomes(Arrived)] == ["inbox", "second"]


def test_an_id_is_remembered_as_long_as_its_sender_waits(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 60.0)))
    inbox.session.accept(*inbox.outcomes())
    for _ in range(60):
        inbox.tick(1.0)
    inbox.outcomes()
    inbox.hear(deliver())
    assert inbox.outcomes() == []


def test_an_id_is_forgotten_when_nobody_repeats_it_any_more(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 60.0)))
    inbox.session.accept(*inbox.outcomes())
    for _ in range(70):
        inbox.tick(1.0)
    assert inbox.session.stats()["remembered"] == 0


def test_a_process_that_was_stopped_forgets_nothing_yet(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0)))
    inbox.session.accept(*inbox.outcomes())
    inbox.tick(3_600)
    inbox.hear(deliver())
    assert inbox.outcomes(Arrived) == []


def test_more_than_can_be_remembered_is_refused():
    inbox = holder(welcomed(Limits(seen_ids=1)))
    inbox.hear(deliver("m1"), deliver("m2"))
    assert [(message.id, message.code) for message in inbox.of(verbs.RefusedByHolder)] == [("m2", "busy")]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"{"])
def test_a_body_that_is_no_object_is_refused(inbox, body):
    inbox.hear(deliver(body=body))
    assert [message.code for message in inbox.of(verbs.RefusedByHolder)] == ["malformed"]


def test_a_message_for_a_session_that_is_not_ours_is_gone(inbox):
    inbox.hear(deliver(session="i-9"))
    assert inbox.said() == [verbs.RefusedByHolder("m1", "i-9", OTHER, "gone", {})]


def test_an_answer_is_sent_to_whoever_asked(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
    (arrived,) = inbox.outcomes()
    inbox.session.accept(arrived)
    inbox.session.reply(arrived, b'{"x":1}')
    assert inbox.of(verbs.Reply) == [verbs.Reply("m1", OTHER, ReplyMeta(), b'{"x":1}')]


def test_what_a_handler_raised_is_sent_to_whoever_asked(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply_error(*inbox.outcomes(), "ValueError", "no")
    assert inbox.of(verbs.Reply)[0].meta == ReplyMeta(("ValueError", "no"))


def test_an_answer_acknowledges_what_it_answers(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply(*inbox.outcomes(), b"1")
    assert [type(message) for message in inbox.said()] == [verbs.Got, verbs.Reply]


def test_a_request_is_answered_once(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
    (arrived,) = inbox.outcomes()
    assert (inbox.session.reply(arrived, b"1"), inbox.session.reply(arrived, b"2")) == (True, False)


def test_what_is_no_request_is_not_answered(inbox):
    inbox.hear(deliver())
    assert inbox.session.reply(*inbox.outcomes(), b"1") is False


def test_a_repeated_request_is_answered_again_from_memory(inbox):
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply(*inbox.outcomes(), b"1")
    inbox.said()
    inbox.hear(deliver(meta=Meta(1.5, 2.0, request=True)))
    assert inbox.of(verbs.Reply) == [verbs.Reply("m1", OTHER, ReplyMeta(), b"1")]


def test_the_oldest_answers_are_dropped_when_too_many_are_kept():
    inbox = holder(welcomed(Limits(reply_bytes=10)))
    request = Meta(1.5, 2.0, request=True)
    inbox.hear(deliver("m1", meta=request), deliver("m2", meta=request))
    for arrived in inbox.outcomes():
        inbox.session.reply(arrived, b'"123456"')
    inbox.said()
    inbox.hear(deliver("m1", meta=request), deliver("m2", meta=request))
    assert [message.id for message in inbox.of(verbs.Reply)] == ["m2"]


# Asking


def test_a_question_is_asked_and_its_answer_told(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    asked = node.said()
    node.hear(verbs.Telling("q", OTHER, b"that"))
    assert (asked, node.outcomes()) == ([verbs.Ask("q", OTHER, b"what")], [QueryReply("q", OTHER, b"that")])


def test_a_question_to_all_says_how_many_were_asked(node):
    node.session.ask("q", b"*", b"what", node.now + 5, node.now)
    node.hear(verbs.Ack("q", 3))
    assert node.outcomes() == [QuerySent("q", 3)]


@pytest.mark.parametrize("code", ["gone", "busy"])
def test_a_question_that_does_not_get_through_says_to_whom(node, code):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.hear(verbs.Error("ASK", "q", code, {"origin": OTHER.hex()}))
    assert node.outcomes() == [QueryFailed("q", OTHER, code)]


def test_a_question_ends_with_the_link(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.session.link_lost(node.now)
    assert node.outcomes(QueryFailed) == [QueryFailed("q", b"", "disconnected")]


def test_a_question_ends_at_its_deadline(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.tick(5.0)
    assert node.outcomes(QueryFailed) == [QueryFailed("q", b"", "timeout")]


def test_an_answer_after_the_end_is_not_told(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.session.cancel("q", node.now)
    node.hear(verbs.Telling("q", OTHER, b"that"))
    assert node.outcomes() == []


def test_without_a_proxy_nobody_can_be_asked():
    node = Node()
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    assert node.outcomes() == [QueryFailed("q", b"", "disconnected")]


def test_another_nodes_question_can_be_answered(node):
    node.hear(verbs.Asking("q", OTHER, b"what"))
    (asked,) = node.outcomes(QueryArrived)
    node.session.tell(asked, b"that")
    assert node.said() == [verbs.Tell("q", OTHER, b"that")]


def test_a_list_is_told(node):
    node.session.endpoints("l", node.now + 5, node.now, name="worker", nodes=False)
    asked = node.said()
    node.hear(verbs.Listed("l", {"endpoints": [{"endpoint": "worker"}], "nodes": []}))
    assert (asked, node.outcomes()) == (
        [verbs.List("l", {"nodes": False, "endpoint": "worker"})],
        [Listing("l", [{"endpoint": "worker"}], [], False)],
    )


def test_a_list_is_asked_for_again_after_a_reconnect(node):
    node.session.endpoints("l", node.now + 5, node.now)
    node.session.link_lost(node.now)
    node.welcome("boot2")
    assert node.said() == [verbs.List("l", {})]


def test_a_list_that_does_not_come_fails_at_its_deadline():
    node = Node()
    node.session.start(node.now)
    node.session.endpoints("l", node.now + 5, node.now)
    node.tick(5.0)
    assert [type(outcome.error) for outcome in node.outcomes(CallFailed)] == [errors.NotConnected]


def test_what_came_last_is_told(node):
    node.session.last("l", {"pattern": "a.*"}, node.now + 5, node.now)
    asked = node.said()
    event = ["a.b", "00" * 8, 3, {"n": 1}]
    node.hear(verbs.Kept("l", {"events": [event], "more": True, "after": 9, "mark": None}))
    assert (asked, node.outcomes()) == (
        [verbs.Last("l", {"pattern": "a.*"})],
        [RetainedPage("l", [event], True, 9, None)],
    )


def test_what_came_last_is_asked_for_again_after_a_reconnect(node):
    node.session.last("l", {"pattern": "a"}, node.now + 5, node.now)
    node.session.link_lost(node.now)
    node.welcome("boot2")
    assert node.said() == [verbs.Last("l", {"pattern": "a"})]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"events": {}, "after": 1, "mark": None},
        {"events": [], "after": "1", "mark": None},
        {"events": [], "after": 1, "mark": True},
        {"events": [["a", "00", 1]], "after": 1, "mark": None},
        {"events": [["a", "00", 1, None]], "after": 1, "mark": None},
    ],
)
def test_a_page_that_is_none_is_counted_and_still_waited_for(node, kept):
    node.session.last("l", {"pattern": "a"}, node.now + 5, node.now)
    node.hear(verbs.Kept("l", kept))
    node.hear(verbs.Listed("l", {"endpoints": [], "nodes": []}))
    assert (node.outcomes(), node.session.stats()["malformed"]) == ([], 1)
    node.tick(5.0)
    assert [type(outcome.error) for outcome in node.outcomes(CallFailed)] == [errors.DeliveryTimeout]


def test_a_proxy_that_does_not_know_the_question_says_so(node):
    node.session.last("l", {"pattern": "a"}, node.now + 5, node.now)
    node.hear(verbs.Error("unknown", "l", "unknown_verb", {"verbs": ["LIST"]}))
    (failed,) = node.outcomes(CallFailed)
    assert (type(failed.error), failed.error.code) == (errors.Refused, "unknown_verb")
    assert "does not know LAST" in str(failed.error)


# Whatever comes

_PARTS = st.sampled_from(
    [
        *(
            b"",
            b"*",
            b"0",
            b"1",
            b"2",
            b"3",
            b"{}",
            b"[]",
            b"null",
            b"worker",
            b"inbox",
            b"m1",
            b"w-1",
            b"i-1",
            b"gone",
        ),
        *(
            b"busy",
            b"replaced",
            b"timeout",
            b"unknown_peer",
            b"SEND",
            b"DELIVER",
            b"FIND",
            b"REGISTER",
            b"ASK",
            b"LIST",
        ),
        *(OTHER, b"\xff", b"x" * 300, b'{"origin":"zz"}', b'{"ts":1,"ttl":2,"request":true}', b"close", b"lead", b"q"),
        b'{"endpoints":[],"nodes":[]}',
        b'{"proxy":"b","heartbeat":1,"timeout":2,"max_bytes":9}',
    ]
) | st.binary(max_size=10)
_FRAMES = st.builds(
    lambda verb, rest: [verb, *rest], st.sampled_from([*verbs.TO_NODE, b"", b"NOPE"]), st.lists(_PARTS, max_size=8)
)
_VALID = st.sampled_from(
    [
        verbs.encode(message)
        for message in (
            *(verbs.Welcome(1, attempt, Terms("boot", 5.0, 15.0, 1_000)) for attempt in (1, 2, 3)),
            verbs.Registered(1, "inbox", "i-1"),
            verbs.Registered(1, "inbox", "i-2"),
            verbs.Registered(9, "other", "i-3"),
            verbs.Found("worker", "", "w-1", False),
            verbs.Found("worker", "w-1", "w-1", False),
            verbs.Found("worker", "", "w-2", True),
            verbs.Gone("worker", "w-1", "timeout"),
            verbs.Gone("worker", "w-2", "close"),
            verbs.Error("SEND", "m1", "gone", {}),
            verbs.Error("SEND", "m1", "busy", {}),
            verbs.Error("FIND", "worker", "no_such_endpoint", {}),
            verbs.Error("REGISTER", "1", "name_taken", {}),
            verbs.Error("REGISTER", "²", "name_taken", {}),
            verbs.Error("ASK", "q", "gone", {"origin": "zz"}),
            verbs.Ack("m1", 1),
            verbs.Ack("q", 1),
            verbs.Replied("m1", ReplyMeta(), b"1"),
            verbs.Bye("replaced", "i-1"),
            verbs.Bye("timeout"),
            verbs.Pong("ping-1", False),
            deliver(),
            deliver("m2", session="i-2", meta=Meta(1.0, 1.0, request=True)),
        )
    ]
)
_CALLS = st.sampled_from(
    ["send", "request", "broadcast", "redeliver", "register", "ask", "list", "lost", "back", "tick"]
)


def _call(node, what, serial):
    if what == "tick":
        node.tick(serial % 7)
    elif what == "register":
        node.register()
    elif what == "ask":
        node.session.ask(f"q{serial}", b"*", b"", node.now + 3, node.now)
    elif what == "list":
        node.session.endpoints(f"l{serial}", node.now + 3, node.now)
    elif what in ("lost", "back"):
        getattr(node.session, f"link_{what}")(node.now)
    else:
        options = {what: True} if what in ("request", "redeliver") else {}
        node.send(
            "m1" if not node.session.pending else f"n{serial}", "*" if what == "broadcast" else "worker", **options
        )


@settings(deadline=None, max_examples=400)
@given(st.lists(_FRAMES | _VALID | _CALLS, max_size=60))
def test_whatever_comes_it_never_raises_and_only_says_what_a_proxy_can_read(steps):
    node = Node()
    node.session.start(node.now)
    for serial, step in enumerate(steps):
        if not isinstance(step, str):
            node.session.receive(list(step), node.now)
        elif node.session.state != "closed":
            _call(node, step, serial)
        for arrived in node.outcomes(Arrived):
            node.session.accept(arrived)
        node.said()
    assert node.session.next_deadline() is not None


@settings(deadline=None, max_examples=400)
@given(st.lists(_FRAMES | _VALID | st.sampled_from(["send", "request", "broadcast", "lost", "tick"]), max_size=60))
def test_whatever_comes_every_message_has_one_end(steps):
    node = Node()
    node.session.start(node.now)
    for serial, step in enumerate(steps):
        if not isinstance(step, str):
            node.session.receive(list(step), node.now)
        elif node.session.state != "closed":
            _call(node, step, serial)
    pending = node.session.pending
    node.outcomes()
    node.tick(3_600)
    assert (node.session.pending, len(node.outcomes(CallFailed))) == (0, pending)
