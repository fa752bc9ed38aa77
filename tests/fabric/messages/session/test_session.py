"""The session as a whole: closing, which verb is legal when, what is left over, and whatever arrives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric import errors
from fabric.messages.session.outcomes import Arrived, CallFailed
from fabric.protocol import verbs
from fabric.protocol.json_fields import Meta, ReplyMeta, Terms
from tests.fabric.messages.session.harness import OTHER, Harness, deliver, registered


def test_closing_sends_a_last_report_and_bye(node):
    node.session.close(node.now, "shutdown")
    assert node.sent() == [verbs.Ping("ping-1"), verbs.Bye("shutdown")]


def test_closing_fails_open_messages(found):
    found.send("m1")
    found.session.close(found.now)
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == [errors.Closed]


def test_a_closed_session_accepts_no_message(node):
    node.session.close(node.now)
    with pytest.raises(errors.Closed):
        node.send("m1")


# Which verb is legal when


@pytest.mark.parametrize("verb", sorted(set(verbs.TO_NODE) - {verbs.RECORD}))
def test_every_verb_towards_a_node_has_a_handler(node, verb):
    node.session.receive([verb], node.now)
    assert (node.session.stats()["strays"], node.session.stats()["malformed"]) == (0, 1)


@pytest.mark.parametrize("frames", [[], [b"NOPE"], [b"RECORD", b"1", b"{}"]])
def test_an_unknown_verb_is_counted_and_ignored(node, frames):
    node.session.receive(frames, node.now)
    assert (node.session.stats()["strays"], node.sent(), node.outcomes()) == (1, [], [])


def test_a_closed_session_counts_and_ignores_whatever_arrives(node):
    node.session.close(node.now)
    node.forget().receive(verbs.Bye("shutdown"))
    assert (node.session.stats()["strays"], node.sent(), node.outcomes()) == (1, [], [])


@pytest.mark.parametrize(
    "message",
    [
        verbs.Registered(1, "inbox", "i-1"),
        verbs.Found("worker", "", "w-1", False),
        verbs.Gone("worker", "w-1", "close"),
        verbs.Pong("ping-1", False),
        verbs.Bye("timeout"),
        verbs.Error("FIND", "worker", "no_such_endpoint", {}),
        verbs.Error("SEND", "m1", "unknown_peer", {}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_verb_of_a_welcomed_session_is_ignored_while_it_is_connecting(message):
    node = registered()
    node.send("m1")
    node.register("second")
    node.session.link_lost(node.now)
    node.forget().receive(message)
    assert (node.session.state, node.sent(), node.outcomes()) == ("connecting", [], [])


def test_a_second_welcome_is_ignored(node):
    node.receive(verbs.Welcome(1, 1, Terms("boot", 5.0, 15.0, 1_000)))
    assert (node.session.stats()["connects"], node.outcomes()) == (1, [])


# What is left over


def test_open_state_is_left_over(inbox):
    inbox.send("m1", request=True)
    inbox.session.endpoints("l", inbox.now + 5, inbox.now)
    inbox.register("second")
    inbox.receive(deliver())
    assert inbox.session.leftovers() == {
        "pending registrations": 1,
        "messages": 1,
        "bytes": 7,
        "waiting queues": 1,
        "queues with messages or finds": 1,
        "seen ids": 1,
        "seconds at which to forget ids": 1,
        "queries": 1,
    }


def test_nothing_is_left_over_when_all_of_it_has_ended(inbox):
    inbox.send("m1", request=True)
    inbox.session.endpoints("l", inbox.now + 5, inbox.now)
    inbox.register("second")
    inbox.receive(deliver(meta=Meta(1.5, 2.0, request=True)))
    inbox.session.reply(*inbox.outcomes(Arrived), b"1")
    for _ in range(10):
        inbox.tick(1.0)
    inbox.receive(verbs.Error("FIND", "worker", "no_such_endpoint", {}))
    assert inbox.session.leftovers() == {}


# Whatever arrives

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
def test_whatever_arrives_it_never_raises_and_sends_only_frames_that_a_proxy_can_read(steps):
    node = Harness().start()
    for serial, step in enumerate(steps):
        if not isinstance(step, str):
            node.session.receive(list(step), node.now)
        elif node.session.state != "closed":
            _call(node, step, serial)
        for arrived in node.outcomes(Arrived):
            node.session.accept(arrived)
        node.sent()
    assert node.session.next_deadline() is not None


@settings(deadline=None, max_examples=400)
@given(st.lists(_FRAMES | _VALID | st.sampled_from(["send", "request", "broadcast", "lost", "tick"]), max_size=60))
def test_whatever_arrives_every_message_has_one_end(steps):
    node = Harness().start()
    for serial, step in enumerate(steps):
        if not isinstance(step, str):
            node.session.receive(list(step), node.now)
        elif node.session.state != "closed":
            _call(node, step, serial)
    pending = node.session.pending
    node.outcomes()
    node.tick(3_600)
    assert (node.session.pending, len(node.outcomes(CallFailed))) == (0, pending)
