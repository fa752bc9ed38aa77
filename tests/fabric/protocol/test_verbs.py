"""The message plane's wire: what is written is read, what is not allowed is not written, and garbage is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import WireError
from fabric.protocol import verbs
from fabric.protocol.json_fields import Identity, Meta, ReplyMeta, Terms

ORIGIN = b"\x00\xff123456"

TO_PROXY = [
    verbs.Hello(1, 3, Identity("gateway", ORIGIN, 42, "host", "python -m app")),
    verbs.Register(1, "worker", "suffix", "boot-1", "worker-2"),
    verbs.Register(2, "wörker", "reject"),
    verbs.Unregister(7),
    verbs.Find("worker"),
    verbs.Find("worker", "boot-1"),
    verbs.Send("id-1", "worker", "boot-1", "lead", Meta(1.5, 2.0, True, True), b'{"text":"hi"}'),
    verbs.Send("id-1", "*", "*", "anonymous:cli", Meta(), b""),
    verbs.Got("id-1", "boot-1", ORIGIN),
    verbs.RefusedByHolder("id-1", "boot-1", ORIGIN, "busy", {}),
    verbs.Reply("id-1", ORIGIN, ReplyMeta(("ValueError", "no")), b"null"),
    verbs.Ask("id-1", ORIGIN, b"what"),
    verbs.Ask("id-1", b"*", b"what"),
    verbs.Tell("id-1", ORIGIN, b"that"),
    verbs.List("id-1", {"nodes": False}),
    verbs.Last("id-1", {"pattern": "state.**", "mark": "t", "after": 7}),
    verbs.Ping("ping-1"),
    verbs.Ping("ping-1", b'{"sent":3}'),
    verbs.Stats("id-1", {}),
    verbs.Stats("id-1", {"topics": 10}),
    verbs.Stop("id-1"),
    verbs.Bye("close"),
]
TO_NODE = [
    verbs.Welcome(1, 3, Terms("boot", 5.0, 15.0, 1_000)),
    verbs.Registered(1, "worker-2", "boot-1"),
    verbs.Found("worker", "", "boot-1", False),
    verbs.Gone("worker", "boot-1", "timeout"),
    verbs.Deliver("id-1", "boot-1", "*", "lead", b"broadcast1", Meta(1.5), b"{}"),
    verbs.Ack("id-1", 3),
    verbs.Replied("id-1", ReplyMeta(), b"1"),
    verbs.Asking("id-1", ORIGIN, b"what"),
    verbs.Telling("id-1", ORIGIN, b"that"),
    verbs.Listed("id-1", {"endpoints": [], "nodes": []}),
    verbs.Kept("id-1", {"events": [["state.a", ORIGIN.hex(), 3, {"n": 1}]], "more": False, "after": 9, "mark": 1}),
    verbs.Pong("ping-1", True),
    verbs.Record("s-1", {"pid": 7}),
    verbs.Record("id-1", {"pid": 42, "uptime": 1.5}),
    verbs.Error("FIND", "wörker", "no_such_endpoint", {"similar": ["worker"]}),
    verbs.Bye("replaced", "boot-1"),
]


def test_the_frames_of_a_message_are_these():
    assert verbs.encode(verbs.Send("i", "worker", "s-1", "lead", Meta(1.5, 2.0), b"{}")) == [
        b"SEND",
        b"i",
        b"worker",
        b"s-1",
        b"lead",
        b'{"ts":1.5,"ttl":2.0}',
        b"{}",
    ]


def test_the_frames_of_a_hello_are_these():
    assert verbs.encode(verbs.Hello(1, 2, Identity("n", b"12345678", 7))) == [
        b"HELLO",
        b"1",
        b"2",
        b'{"node":"n","origin":"3132333435363738","pid":7,"host":"","program":""}',
    ]


@pytest.mark.parametrize("message", TO_PROXY, ids=lambda message: type(message).__name__)
def test_what_a_node_writes_a_proxy_reads(message):
    assert verbs.decode_for_proxy(verbs.encode(message)) == message


@pytest.mark.parametrize("message", TO_NODE, ids=lambda message: type(message).__name__)
def test_what_a_proxy_writes_a_node_reads(message):
    assert verbs.decode_for_node(verbs.encode(message)) == message


def test_every_verb_of_the_tables_has_an_example_here():
    examples = {verbs.encode(message)[0] for message in TO_PROXY} | {verbs.encode(message)[0] for message in TO_NODE}
    assert examples == set(verbs.TO_PROXY) | set(verbs.TO_NODE)


def test_every_verb_is_drawn_in_the_docstring():
    assert [verb for verb in verbs.TO_PROXY | verbs.TO_NODE if f"    {verb.decode()} " not in str(verbs.__doc__)] == []


@pytest.mark.parametrize("decode", [verbs.decode_for_proxy, verbs.decode_for_node])
@pytest.mark.parametrize("frames", [[], [b""], [b"NOPE"], [b"send"], [b"\xff"], [b"PING"], [b"PONG", b"1"]])
def test_frames_that_are_no_message_are_refused(decode, frames):
    with pytest.raises(WireError):
        decode(frames)


_JUNK = st.binary(max_size=80) | st.sampled_from(
    [b"", b"0", b"1", b"*", b"{}", b"[]", b"null", b'{"origin":"zz"}', b"worker", b"anonymous:x", b"x" * 65, ORIGIN]
)


@given(st.sampled_from([*sorted(verbs.TO_PROXY), b"", b"X"]), st.lists(_JUNK, max_size=9))
def test_whatever_the_bytes_a_proxy_reads_a_message_or_raises_wire_error(verb, rest):
    try:
        verbs.encode(verbs.decode_for_proxy([verb, *rest]))
    except WireError:
        pass


@given(st.sampled_from([*sorted(verbs.TO_NODE), b"", b"X"]), st.lists(_JUNK, max_size=9))
def test_whatever_the_bytes_a_node_reads_a_message_or_raises_wire_error(verb, rest):
    try:
        verbs.encode(verbs.decode_for_node([verb, *rest]))
    except WireError:
        pass


@pytest.mark.parametrize(
    "message",
    [
        verbs.Send("", "worker", "s", "lead", Meta(), b""),
        verbs.Send("x" * 65, "worker", "s", "lead", Meta(), b""),
        verbs.Send("a b", "worker", "s", "lead", Meta(), b""),
        verbs.Send("i", "", "s", "lead", Meta(), b""),
        verbs.Send("i", "worker", "s", "*", Meta(), b""),
        verbs.Send("i", "worker", "s", "lead", Meta(ttl=1e9), b""),
        verbs.Register(1, "worker", "steal"),
        verbs.Register(-1, "worker", "reject"),
        verbs.Register(1, "anonymous:worker", "reject"),
        verbs.Ask("i", b"short", b""),
        verbs.Got("i", "s", b""),
        verbs.Got("i", "s", b"x" * 65),
        verbs.Bye("for no reason"),
        verbs.Hello(1, 1, Identity("two words", ORIGIN)),
        verbs.Hello(1, 1, Identity("node", b"short")),
        verbs.Welcome(1, 1, Terms("boot", 15.0, 5.0, 1)),
    ],
    ids=str,
)
def test_what_the_table_forbids_is_not_written(message):
    with pytest.raises((ValueError, TypeError)):
        verbs.encode(message)
