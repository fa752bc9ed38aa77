"""The proxy's half of the message plane: its answers, deliveries and announcements."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Meta, ReplyMeta, Terms
from tests.proxy.messages.peers import EPOCH, Proxy, hello, origin, send

# Nodes


def test_hello_is_answered_with_the_terms_and_its_number():
    (welcome,) = Proxy(timeout=9.0, max_bytes=1_000).say(b"a", hello(b"a", attempt=4)).heard(b"a")
    assert welcome == verbs.Welcome(1, 4, Terms("boot", 3.0, 9.0, 1_000))


def test_another_version_is_refused_with_ours(proxy):
    proxy.raw(b"c", [b"HELLO", b"2", b"1", verbs.encode(hello(b"c"))[3]])
    (error,) = proxy.heard(b"c")
    assert (error.about, error.code, error.detail["version"]) == ("HELLO", "version", 1)


def test_a_node_that_joins_is_announced_with_its_identity():
    ((topic, payload),) = Proxy().say(b"a", hello(b"a")).announced()
    assert (topic, payload) == (
        "fabric.node.joined",
        {"name": "a", "node": "a", "origin": origin(b"a").hex(), "pid": 7, "host": "host"},
    )


def test_a_node_that_says_bye_leaves_with_its_names_and_its_reason_is_announced(proxy):
    proxy.say(b"b", verbs.Bye("shutdown"))
    announced = proxy.announced()
    assert [topic for topic, _ in announced] == ["fabric.endpoint.left", "fabric.node.left"]
    assert {payload["reason"] for _, payload in announced} == {"shutdown"}


def test_a_node_silent_for_the_timeout_gets_bye_and_is_lost(proxy):
    for _ in range(4):
        proxy.tick(4.9)
        proxy.say(b"a", verbs.Ping("p"))
    assert (proxy.heard(b"b"), proxy.topics()) == (
        [verbs.Bye("timeout")],
        ["fabric.endpoint.lost", "fabric.node.lost"],
    )


def test_a_node_that_pings_is_never_lost(proxy):
    for _ in range(60):
        proxy.tick(4.9)
        proxy.say(b"a", verbs.Ping("p")).say(b"b", verbs.Ping("p"))
    assert proxy.topics() == []


def test_a_late_tick_grants_every_node_a_full_timeout(proxy):
    proxy.tick(3_600)
    assert proxy.topics() == []


def test_after_a_late_tick_silent_nodes_are_lost_one_timeout_later(proxy):
    proxy.tick(3_600)
    for _ in range(3):
        proxy.tick(5)
    assert proxy.topics().count("fabric.node.lost") == 2


def test_the_next_deadline_is_when_the_first_node_is_overdue(proxy):
    proxy.tick(4)
    proxy.tick(4)
    proxy.tick(5)
    assert proxy.directory.next_deadline() == pytest.approx(115.0)


def test_the_same_origin_on_another_connection_keeps_its_names_and_is_not_announced(proxy):
    proxy.say(b"b2", verbs.Hello(1, 2, Identity("b", origin(b"b"))))
    assert proxy.heard(b"b2")[1:] == [verbs.Registered(1, "worker", "boot-2")]
    assert proxy.heard(b"b") == [verbs.Bye("replaced")]
    assert proxy.topics() == []


def test_hello_again_on_the_same_connection_keeps_the_session(proxy):
    proxy.say(b"b", hello(b"b", 2), verbs.Register(1, "worker", "reject", "boot-1", "worker"))
    assert proxy.heard(b"b")[1] == verbs.Registered(1, "worker", "boot-1")


def test_more_nodes_than_allowed_are_refused():
    proxy = Proxy(max_nodes=2).say(b"a", hello(b"a")).say(b"b", hello(b"b"))
    assert proxy.say(b"c", hello(b"c")).heard(b"c")[0].code == "full"


def test_newcomers_are_refused_while_there_is_no_room_and_connected_nodes_stay(proxy):
    proxy.directory.refuse_newcomers(True)
    assert proxy.say(b"c", hello(b"c")).heard(b"c")[0].code == "full"
    assert type(proxy.say(b"a2", hello(b"a")).heard(b"a2")[0]) is verbs.Welcome  # over another connection
    proxy.directory.refuse_newcomers(False)
    assert type(proxy.say(b"c", hello(b"c")).heard(b"c")[0]) is verbs.Welcome


def test_more_names_than_allowed_are_refused():
    proxy = Proxy(max_endpoints=1).say(b"a", hello(b"a"), verbs.Register(1, "one", "reject"))
    assert proxy.say(b"a", verbs.Register(2, "other", "reject")).heard(b"a")[-1].code == "full"


def test_a_ping_of_a_stranger_says_that_it_is_not_known(proxy):
    assert proxy.say(b"x", verbs.Ping("p")).heard(b"x") == [verbs.Pong("p", False)]


@pytest.mark.parametrize(
    "message",
    [
        verbs.Register(1, "x", "reject"),
        verbs.Unregister(1),
        verbs.Find("worker"),
        send("worker", "boot-1"),
        send("*", "*"),
        verbs.RefusedByHolder("m1", "boot-1", b"b.......", "busy", {}),
        verbs.Ask("q", b"*", b""),
        verbs.Tell("q", b"b.......", b""),
        verbs.Bye("close"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_verb_that_only_nodes_may_send_is_refused_from_a_stranger(proxy, message):
    assert proxy.say(b"x", message).heard(b"x")[0].code == "unknown_peer"


def test_it_is_idle_from_the_last_bye_on(proxy):
    proxy.say(b"a", verbs.Bye("close")).say(b"b", verbs.Bye("close"))
    assert proxy.directory.idle_for(proxy.now + 30) == 30


def test_it_is_not_idle_while_a_node_is_here(proxy):
    proxy.say(b"a", verbs.Bye("close"))
    assert proxy.directory.idle_for(proxy.now + 30) == 0


def test_at_close_every_node_gets_bye(proxy):
    proxy.directory.close()
    proxy.deliver()
    assert (proxy.heard(b"a"), proxy.heard(b"b")) == ([verbs.Bye("shutdown")], [verbs.Bye("shutdown")])


# Names


def test_a_name_that_is_free_is_granted_and_announced(proxy):
    proxy.say(b"a", verbs.Register(5, "lead", "reject"))
    assert (proxy.heard(b"a"), proxy.topics()) == (
        [verbs.Registered(5, "lead", "boot-2")],
        ["fabric.endpoint.joined"],
    )


def test_reject_names_the_holder(proxy):
    (error,) = proxy.say(b"a", verbs.Register(5, "worker", "reject")).heard(b"a")
    assert (error.subject, error.code, error.detail) == ("5", "name_taken", {"holder": "b (pid 7 on host)"})


def test_replace_takes_the_name_and_its_holder_gets_bye(proxy):
    proxy.say(b"a", verbs.Register(5, "worker", "replace"))
    assert proxy.heard(b"a") == [verbs.Registered(5, "worker", "boot-2")]
    assert proxy.heard(b"b") == [verbs.Bye("replaced", "boot-1")]
    assert proxy.topics() == ["fabric.endpoint.replaced", "fabric.endpoint.joined"]


def test_a_returning_holder_does_not_replace_the_present_holder_of_its_name(proxy):
    proxy.say(b"a", verbs.Register(5, "worker", "replace", "boot-9", "worker"))
    assert proxy.heard(b"a")[0].code == "name_taken"


def test_suffix_counts_up_to_a_free_name(proxy):
    proxy.say(b"a", verbs.Register(5, "worker", "suffix"), verbs.Register(6, "worker", "suffix"))
    assert [message.name for message in proxy.heard(b"a")] == ["worker-2", "worker-3"]


def test_a_suffix_that_does_not_fit_is_refused(proxy):
    proxy.say(b"b", verbs.Register(2, "x" * 255, "reject"))
    assert proxy.say(b"a", verbs.Register(5, "x" * 255, "suffix")).heard(b"a")[0].code == "bad_name"


def test_share_joins_a_group(proxy):
    proxy.say(b"a", verbs.Register(5, "group", "share")).say(b"b", verbs.Register(2, "group", "share"))
    assert proxy.heard(b"b") == [verbs.Registered(2, "group", "boot-3")]


def test_share_does_not_join_a_name_that_is_not_shared(proxy):
    assert proxy.say(b"a", verbs.Register(5, "worker", "share")).heard(b"a")[0].code == "name_taken"


def test_replace_takes_the_name_from_a_whole_group(proxy):
    proxy.say(b"a", verbs.Register(5, "group", "share")).say(b"b", verbs.Register(2, "group", "share"))
    proxy.say(b"c", hello(b"c"), verbs.Register(1, "group", "replace"))
    assert [proxy.heard(peer)[-1] for peer in (b"a", b"b")] == [
        verbs.Bye("replaced", "boot-2"),
        verbs.Bye("replaced", "boot-3"),
    ]


def test_a_name_given_back_is_free(proxy):
    proxy.say(b"b", verbs.Unregister(1)).say(b"a", verbs.Register(5, "worker", "reject"))
    assert proxy.heard(b"a") == [verbs.Registered(5, "worker", "boot-2")]


# Finding


def test_a_session_is_found_by_name(proxy):
    assert proxy.say(b"a", verbs.Find("worker")).heard(b"a") == [verbs.Found("worker", "", "boot-1", False)]


def test_an_unknown_name_is_answered_with_similar_ones(proxy):
    (error,) = proxy.say(b"a", verbs.Find("wroker")).heard(b"a")
    assert (error.about, error.subject, error.code, error.detail) == (
        "FIND",
        "wroker",
        "no_such_endpoint",
        {"similar": ["worker"]},
    )


def test_a_group_is_found_in_turn(proxy):
    proxy.say(b"a", verbs.Register(5, "group", "share")).say(b"b", verbs.Register(2, "group", "share"))
    proxy.boxes.clear()
    proxy.say(b"a", *[verbs.Find("group")] * 4)
    found = [message.session for message in proxy.heard(b"a")]
    assert (found[0] != found[1], found[:2]) == (True, found[2:])


def test_a_peer_that_found_a_session_gets_gone_at_its_end(proxy):
    proxy.say(b"a", verbs.Find("worker")).say(b"b", verbs.Unregister(1))
    assert proxy.heard(b"a")[-1] == verbs.Gone("worker", "boot-1", "close")


def test_a_session_that_has_ended_is_gone(proxy):
    proxy.say(b"b", verbs.Unregister(1)).say(b"a", verbs.Find("worker", "boot-1"))
    assert proxy.heard(b"a") == [verbs.Gone("worker", "boot-1", "unknown")]


def test_a_session_of_a_former_proxy_is_found_when_its_holder_is_back(proxy):
    proxy.say(b"a", verbs.Find("late", "old-7"))
    waiting = proxy.heard(b"a")
    proxy.say(b"b", verbs.Register(2, "late", "reject", "old-7", "late"))
    assert (waiting, proxy.heard(b"a")) == ([], [verbs.Found("late", "old-7", "old-7", False)])


def test_a_session_of_a_former_proxy_that_does_not_come_back_is_gone_after_a_timeout(proxy):
    proxy.say(b"a", verbs.Find("late", "old-7"))
    for _ in range(3):
        proxy.tick(5)
        proxy.say(b"a", verbs.Ping("p")).say(b"b", verbs.Ping("p"))
    assert verbs.Gone("late", "old-7", "timeout") in proxy.heard(b"a")


def test_after_the_recovery_no_session_of_a_former_proxy_returns(proxy):
    for _ in range(3):
        proxy.tick(5)
        proxy.say(b"b", verbs.Ping("p"))
    proxy.heard(b"b")
    proxy.say(b"b", verbs.Register(2, "late", "reject", "old-7", "late"))
    assert proxy.heard(b"b")[0].session == "boot-2"


def test_a_newcomer_loses_a_name_to_its_returning_holder(proxy):
    proxy.say(b"a", verbs.Register(5, "worker", "reject", "old-7", "worker"))
    assert (proxy.heard(b"a"), proxy.heard(b"b")) == (
        [verbs.Registered(5, "worker", "old-7")],
        [verbs.Bye("replaced", "boot-1")],
    )


def test_of_two_nodes_that_bring_the_same_name_along_the_first_keeps_it(proxy):
    proxy.say(b"a", verbs.Register(5, "late", "reject", "old-7", "late"))
    proxy.say(b"b", verbs.Register(2, "late", "reject", "old-8", "late"))
    assert proxy.heard(b"b")[0].code == "name_taken"


def test_a_session_that_ended_under_this_proxy_does_not_return(proxy):
    proxy.say(b"a", verbs.Register(5, "late", "reject", "old-7", "late"), verbs.Unregister(5))
    proxy.say(b"a", verbs.Register(6, "late", "reject", "old-7", "late"))
    assert proxy.heard(b"a")[-1] == verbs.Registered(6, "late", "boot-2")


# Messages


def test_a_message_is_delivered_to_the_session_it_names(proxy):
    proxy.say(b"a", send("worker", "boot-1", body=b'{"a":1}'))
    assert proxy.heard(b"b") == [
        verbs.Deliver("m1", "boot-1", "worker", "anonymous:a", origin(b"a"), Meta(1.0, 5.0), b'{"a":1}')
    ]


def test_the_body_is_opaque_to_the_proxy(proxy):
    proxy.say(b"a", send("worker", "boot-1", body=b"\xff no json"))
    assert proxy.heard(b"b")[0].body == b"\xff no json"


def test_a_got_is_an_acknowledgement_to_the_sender(proxy):
    proxy.say(b"b", verbs.Got("m1", "boot-1", origin(b"a")))
    assert proxy.heard(b"a") == [verbs.Ack("m1", 1)]


def test_a_got_reaches_its_sender_over_whatever_connection_it_has_now(proxy):
    proxy.say(b"a2", verbs.Hello(1, 2, Identity("a", origin(b"a")))).heard(b"a2")
    assert proxy.say(b"b", verbs.Got("m1", "boot-1", origin(b"a"))).heard(b"a2") == [verbs.Ack("m1", 1)]


def test_a_refusal_reaches_the_sender_as_an_error_of_the_holder(proxy):
    proxy.say(b"b", verbs.RefusedByHolder("m1", "boot-1", origin(b"a"), "busy", {"text": "full"}))
    assert proxy.heard(b"a") == [verbs.Error("DELIVER", "m1", "busy", {"text": "full"})]


def test_an_answer_reaches_an_asker_without_an_endpoint(proxy):
    proxy.say(b"b", verbs.Reply("m1", origin(b"a"), ReplyMeta(), b'{"x":1}'))
    assert proxy.heard(b"a") == [verbs.Replied("m1", ReplyMeta(), b'{"x":1}')]


def test_an_acknowledgement_for_a_sender_that_is_gone_is_counted(proxy):
    proxy.say(b"b", verbs.Got("m1", "boot-1", b"gone1234"))
    assert proxy.directory.stats()["unrouted"] == 1


def test_a_registered_name_may_stand_in_from(proxy):
    proxy.say(b"b", send("worker", "boot-1", sender="worker"))
    assert proxy.heard(b"b")[0].sender == "worker"


@pytest.mark.parametrize("sender", ["worker", "lead"])
def test_a_name_that_is_not_the_senders_own_is_refused(proxy, sender):
    (error,) = proxy.say(b"a", send("worker", "boot-1", sender=sender)).heard(b"a")
    assert (error.code, error.detail) == ("not_owned", {"sender": sender})


def test_a_name_given_back_may_not_stand_in_from(proxy):
    proxy.say(b"b", verbs.Register(2, "other", "reject"), verbs.Unregister(1))
    proxy.heard(b"b")
    assert proxy.say(b"b", send("other", "boot-2", sender="worker")).heard(b"b")[0].code == "not_owned"


def test_a_message_to_a_session_that_has_ended_is_gone(proxy):
    proxy.say(b"b", verbs.Unregister(1), verbs.Register(2, "worker", "reject"))
    assert proxy.say(b"a", send("worker", "boot-1")).heard(b"a") == [verbs.Error("SEND", "m1", "gone", {})]


def test_a_message_to_a_session_of_another_name_is_gone(proxy):
    assert proxy.say(b"a", send("other", "boot-1")).heard(b"a")[0].code == "gone"


def test_a_body_over_the_limit_is_refused():
    proxy = Proxy(max_bytes=10).say(b"b", hello(b"b"), verbs.Register(1, "worker", "reject"))
    proxy.heard(b"b")
    (error,) = proxy.say(b"b", send("worker", "boot-1", body=b"x" * 11)).heard(b"b")
    assert (error.code, error.detail) == ("too_large", {"size": 11, "limit": 10})


@pytest.mark.parametrize("meta", [b"", b"{}", b'{"ts":null}', b'{"ttl":1.0}'])
def test_a_message_without_a_time_is_stamped(proxy, meta):
    proxy.raw(b"a", [b"SEND", b"m1", b"worker", b"boot-1", b"anonymous:a", meta, b"{}"])
    assert proxy.heard(b"b")[0].meta.ts == EPOCH + 100.0


def test_a_senders_time_is_left_as_it_is(proxy):
    assert proxy.say(b"a", send("worker", "boot-1")).heard(b"b")[0].meta.ts == 1.0


def test_a_peer_that_never_said_hello_sends_anonymously(proxy):
    proxy.say(b"x", send("worker", "", sender="bob"))
    assert proxy.heard(b"b")[0].sender == "anonymous:bob"


def test_a_claim_to_be_anonymous_is_not_marked_twice(proxy):
    proxy.say(b"x", send("worker", "", sender="anonymous:bob"))
    assert proxy.heard(b"b")[0].sender == "anonymous:bob"


def test_a_peer_that_never_said_hello_gets_acknowledgements(proxy):
    back = proxy.say(b"x", send("worker", "", sender="bob")).heard(b"b")[0].back
    assert proxy.say(b"b", verbs.Got("m1", "boot-1", back)).heard(b"x") == [verbs.Ack("m1", 1)]


def test_a_peer_that_never_said_hello_gets_an_error_for_an_unknown_name(proxy):
    (error,) = proxy.say(b"x", send("workre", "", sender="bob")).heard(b"x")
    assert (error.subject, error.code, error.detail) == ("m1", "no_such_endpoint", {"similar": ["worker"]})


@pytest.mark.parametrize("why", ["busy", "gone"])
def test_the_sender_of_a_message_that_cannot_be_delivered_gets_the_reason(proxy, why):
    proxy.lose(b"a", send("worker", "boot-1"), why)
    assert proxy.heard(b"a") == [verbs.Error("SEND", "m1", why, {})]


def test_a_connection_that_is_gone_loses_its_node(proxy):
    proxy.directory.undeliverable(b"b", [b"PONG", b"p", b"1"], "gone", proxy.now)
    assert proxy.announced()[-1][1]["reason"] == "gone"


def test_a_node_that_missed_an_answer_because_its_pipe_was_full_must_say_hello(proxy):
    proxy.directory.undeliverable(b"a", [b"ACK", b"m1", b"1"], "busy", proxy.now)
    assert proxy.say(b"a", verbs.Ping("p")).heard(b"a") == [verbs.Pong("p", False)]


@pytest.mark.parametrize("session", ["boot-1", "*", ""])
def test_until_that_hello_its_messages_are_refused(proxy, session):
    proxy.directory.undeliverable(b"a", [b"ACK", b"m1", b"1"], "busy", proxy.now)
    assert proxy.say(b"a", send("worker", session)).heard(b"a")[0].code == "unknown_peer"
    assert proxy.heard(b"b") == []


def test_after_that_hello_it_is_known_again(proxy):
    proxy.directory.undeliverable(b"a", [b"ACK", b"m1", b"1"], "busy", proxy.now)
    assert proxy.say(b"a", hello(b"a", 2), verbs.Ping("p")).heard(b"a")[-1] == verbs.Pong("p", True)


def test_messages_are_recorded_for_the_hooks_only_if_enabled(proxy):
    assert proxy.directory.routed is None


def test_a_recorded_message_has_its_receiver_and_the_number_of_holders():
    proxy = Proxy(record=True).say(b"b", hello(b"b"), verbs.Register(1, "worker", "reject"))
    proxy.say(b"b", send("worker", "boot-1", sender="worker", body=b"{}"))
    routed = proxy.directory.routed.popleft()
    assert (routed.id, routed.to, routed.sender, routed.body, routed.holders) == (b"m1", b"worker", b"worker", b"{}", 1)


# Broadcasts


def test_a_broadcast_goes_to_every_endpoint_but_the_senders_own(crowd):
    crowd.say(b"a", send("*", "*"))
    assert [len(crowd.heard(peer)) for peer in (b"a", b"b", b"c")] == [0, 1, 2]


def _answer(proxy, peer):
    for message in proxy.heard(peer):
        proxy.say(peer, verbs.Got(message.id, message.session, message.back))


def test_a_broadcast_is_acknowledged_once_with_the_number_of_holders(crowd):
    crowd.say(b"a", send("*", "*"))
    _answer(crowd, b"b")
    _answer(crowd, b"c")
    assert crowd.heard(b"a") == [verbs.Ack("m1", 3)]


def test_a_broadcast_is_not_acknowledged_before_all_have_answered(crowd):
    crowd.say(b"a", send("*", "*"))
    _answer(crowd, b"c")
    assert crowd.heard(b"a") == []


def test_a_holder_that_refuses_a_broadcast_is_not_counted(crowd):
    crowd.say(b"a", send("*", "*"))
    (message,) = crowd.heard(b"b")
    crowd.say(b"b", verbs.RefusedByHolder(message.id, message.session, message.back, "busy", {}))
    _answer(crowd, b"c")
    assert crowd.heard(b"a") == [verbs.Ack("m1", 2)]


def test_a_holder_that_a_broadcast_cannot_reach_is_not_counted(crowd):
    crowd.lose(b"a", send("*", "*"), "busy")
    _answer(crowd, b"c")
    assert crowd.heard(b"a") == [verbs.Ack("m1", 2)]


def test_a_broadcast_without_all_answers_is_acknowledged_after_half_of_the_senders_time(crowd):
    crowd.say(b"a", send("*", "*"))
    _answer(crowd, b"c")
    crowd.tick(2.5)
    assert crowd.heard(b"a") == [verbs.Ack("m1", 2)]


def test_a_broadcast_to_nobody_is_acknowledged_with_0():
    proxy = Proxy().say(b"a", hello(b"a"), send("*", "*"))
    assert proxy.heard(b"a")[-1] == verbs.Ack("m1", 0)


def test_a_got_that_comes_twice_is_counted_once(crowd):
    crowd.say(b"a", send("*", "*"))
    (message,) = crowd.heard(b"b")
    crowd.say(b"b", *[verbs.Got(message.id, message.session, message.back)] * 3)
    assert crowd.heard(b"a") == []


# Other nodes


def test_a_question_reaches_the_node_of_that_origin(proxy):
    proxy.say(b"a", verbs.Ask("q", origin(b"b"), b"what"))
    assert proxy.heard(b"b") == [verbs.Asking("q", origin(b"a"), b"what")]


def test_the_answer_to_a_question_has_the_origin_of_its_node(proxy):
    proxy.say(b"b", verbs.Tell("q", origin(b"a"), b"that"))
    assert proxy.heard(b"a") == [verbs.Telling("q", origin(b"b"), b"that")]


def test_a_question_to_an_origin_that_is_gone_is_refused_at_once(proxy):
    proxy.say(b"a", verbs.Ask("q", b"gone1234", b"what"))
    assert proxy.heard(b"a") == [verbs.Error("ASK", "q", "gone", {"origin": b"gone1234".hex()})]


def test_a_question_to_all_reaches_the_others_and_their_number_the_asker(proxy):
    proxy.say(b"c", hello(b"c")).heard(b"c")
    proxy.say(b"a", verbs.Ask("q", b"*", b"what"))
    assert (proxy.heard(b"a"), len(proxy.heard(b"b")), len(proxy.heard(b"c"))) == ([verbs.Ack("q", 2)], 1, 1)


def test_a_question_that_cannot_be_delivered_fails_with_the_origin_that_was_asked(proxy):
    proxy.lose(b"a", verbs.Ask("q", origin(b"b"), b"what"), "busy")
    assert proxy.heard(b"a") == [verbs.Error("ASK", "q", "busy", {"origin": origin(b"b").hex()})]


# Any input


def test_an_unknown_verb_is_answered_and_counted(proxy):
    proxy.raw(b"x", [b"STEAL", b"m1"])
    assert (proxy.heard(b"x")[0].code, proxy.directory.stats()["malformed"]) == ("unknown_verb", 1)


def test_a_malformed_message_is_answered_with_its_id(proxy):
    proxy.raw(b"a", [b"SEND", b"m1", b"worker"])
    (error,) = proxy.heard(b"a")
    assert (error.about, error.subject, error.code) == ("SEND", "m1", "malformed")


_PEERS = st.sampled_from([b"a", b"b", b"x", b"\x00\x80\x00\x00\x29"])
_PARTS = st.sampled_from(
    [
        *(b"", b"*", b"0", b"1", b"2", b"{}", b"[]", b'{"ts":1}', b'{"ts":null}', b"worker", b"lead", b"m1", b"boot-1"),
        *(b"old-1", b"reject", b"replace", b"suffix", b"share", b"anonymous:x", b"busy", b"close", origin(b"a")),
        *(b"broadcast1", b"bare-peerx", b"bare-peer", b"\xff\xfe", b"x" * 300, b'{"endpoint":1}', b"null"),
    ]
) | st.binary(max_size=12)
_HELLOS = st.sampled_from([verbs.encode(hello(peer)) for peer in (b"a", b"b", b"x")])
_FRAMES = _HELLOS | st.builds(
    lambda verb, rest: [verb, *rest], st.sampled_from([*verbs.TO_PROXY, b"", b"NOPE"]), st.lists(_PARTS, max_size=7)
)
_VALID = st.sampled_from(
    [
        verbs.encode(message)
        for message in (
            verbs.Register(1, "worker", "reject"),
            verbs.Register(2, "worker", "suffix", "old-1", "worker-2"),
            verbs.Register(3, "group", "share"),
            verbs.Register(4, "worker", "replace"),
            verbs.Unregister(1),
            verbs.Find("worker"),
            verbs.Find("worker", "old-1"),
            verbs.Find("group"),
            send("worker", "boot-1"),
            send("*", "*"),
            send("worker", ""),
            verbs.Got("m1", "boot-1", origin(b"a")),
            verbs.Got("m1", "boot-1", b"broadcast1"),
            verbs.Ask("q", b"*", b""),
            verbs.Bye("close"),
        )
    ]
)
_STEP = st.tuples(_PEERS, _FRAMES | _VALID, st.sampled_from(["ok", "busy", "gone"]), st.sampled_from([0, 0, 1, 6, 16]))


@settings(deadline=None, max_examples=300)
@given(st.lists(_STEP, max_size=40))
def test_for_any_frames_it_never_raises_and_answers_what_a_node_can_decode(steps):
    proxy = Proxy()
    for peer, frames, fate, seconds in steps:
        proxy.directory.receive(peer, list(frames), proxy.now)
        while proxy.directory.outgoing:
            to, answer = proxy.directory.outgoing.popleft()
            if answer[0] not in (b"DELIVER", b"REPLIED"):  # their meta and body are opaque to the proxy
                verbs.decode_for_node(answer)
            if fate != "ok":
                proxy.directory.undeliverable(to, answer, fate, proxy.now)
                fate = "ok"
        proxy.now += seconds
        proxy.directory.tick(proxy.now)
    assert proxy.directory.next_deadline() >= proxy.now


@settings(deadline=None, max_examples=300)
@given(st.lists(_STEP, max_size=60))
def test_for_any_frames_names_sessions_and_nodes_agree(steps):
    proxy = Proxy()
    for peer, frames, _, seconds in steps:
        proxy.directory.receive(peer, list(frames), proxy.now)
        proxy.directory.outgoing.clear()
        proxy.now += seconds
        proxy.directory.tick(proxy.now)
    registry = proxy.directory.registry
    held = [registration for node in registry.nodes.values() for registration in node.registrations.values()]
    named = [member for holders in registry.names.values() for member in holders.members]
    assert set(registry.sessions.open.values()) == set(held) == set(named)


@given(st.lists(st.binary(max_size=20), max_size=9))
def test_random_frames_after_send_are_all_refused(rest):
    proxy = Proxy().say(b"b", hello(b"b"), verbs.Register(1, "worker", "reject"))
    proxy.boxes.clear()
    proxy.directory.receive(b"b", [b"SEND", *rest], proxy.now)
    assert all(frames[0] == b"ERROR" for _, frames in proxy.directory.outgoing)


_DEEP = b'{"a":' * 300 + b"1" + b"}" * 300


@pytest.mark.parametrize("session", [b"boot-1", b"boot-9", b""])
def test_a_meta_deeper_than_json_can_be_written_is_malformed(proxy, session):
    proxy.raw(b"a", [verbs.SEND, b"m1", b"worker", session, b"anonymous:a", _DEEP, b"{}"])
    assert [answer.code for answer in proxy.heard(b"a")] == ["malformed"]


def test_a_detail_deeper_than_json_can_be_written_is_malformed(proxy):
    proxy.raw(b"b", [verbs.REFUSED, b"m1", b"boot-1", origin(b"a"), b"busy", _DEEP])
    assert [answer.code for answer in proxy.heard(b"b")] == ["malformed"]
    assert proxy.heard(b"a") == []
