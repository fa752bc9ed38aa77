"""Valid messages of every kind, in both directions: what `mutations` makes its cases of."""

from __future__ import annotations

from collections.abc import Sequence

from fabric.protocol import verbs
from fabric.protocol.events import PROBE, encode_topic
from fabric.protocol.fields import POLICIES
from fabric.protocol.json_fields import Identity, Meta, ReplyMeta, Terms
from tests.fuzz.mutations import JSON

#: What a node may say that it has sent and lost.
REPORTS = [
    b'{"sent":18446744073709551615,"published":9007199254740992,"dropped":{"missed":9007199254740992}}',
    b'{"sent":9007199254740992,"gaps":9007199254740992,"delivered":9007199254740992,"subscriptions":9007199254740992}',
    b'{"dropped":{%s}}' % b",".join(b'"cause %d":9007199254740992' % number for number in range(32)),
    b'{"lag":1e308,"dropped":{"\\u001b[31m":1}}',
    b'{"lag":-1e308}',
]
TERMS = Terms("boot", 5.0, 15.0, 1_000_000)


def _by_verb(messages: Sequence[tuple[object, ...]]) -> list[list[list[bytes]]]:
    groups: dict[bytes, list[list[bytes]]] = {}
    for frames in map(verbs.encode, messages):
        groups.setdefault(frames[0], []).append(frames)
    return list(groups.values())


def to_proxy(origin: bytes, endpoint: str, session: str, others: Sequence[bytes]) -> list[list[list[bytes]]]:
    """All verbs, some of them in many forms, HELLO first, as a node of `origin` could say them.

    `endpoint`, its `session` and the nodes `others` are there.
    """
    identity = Identity("fuzzer", origin, 7, "host", "program")
    messages = [
        verbs.Hello(verbs.VERSION, 1, identity),
        *(verbs.Register(key, f"fuzz-{policy}", policy) for key, policy in enumerate(POLICIES, 1)),
        verbs.Register(9, "fuzz-back", "reject", "boot-1", "fuzz-back"),
        verbs.Unregister(1),
        verbs.Find(endpoint),
        verbs.Find(endpoint, "boot-1"),
        verbs.Find(endpoint, session),
        verbs.Send("id-1", endpoint, "", "anonymous:fuzz", Meta(ttl=1.0), b'{"text":"x"}'),
        verbs.Send("id-2", endpoint, "boot-1", "fuzz-reject", Meta(1.0, 1.0, True), b'{"text":"x"}'),
        verbs.Send("id-2", endpoint, session, "anonymous:fuzz", Meta(1.0, 1.0, True), b'{"text":"x"}'),
        verbs.Send("id-2", endpoint, session, "anonymous:fuzz", Meta(), b'{"text":"x"}'),
        verbs.Send("id-3", "*", "*", "anonymous:fuzz", Meta(ttl=0.1), b'{"text":"x"}'),
        verbs.Got("id-1", "boot-1", origin),
        verbs.Got("id-1", "boot-1", b"broadcast1"),
        verbs.RefusedByHolder("id-1", "boot-1", origin, "busy", {"text": "no"}),
        verbs.Reply("id-1", origin, ReplyMeta(("ValueError", "no")), b"null"),
        *(verbs.Ask("id-4", other, body) for other in (*others, b"*") for body in (b'{"interest":["a."]}', *JSON)),
        verbs.Tell("id-4", origin, b"true"),
        verbs.List("id-5", {"endpoint": endpoint}),
        verbs.Ping("token", b'{"published":5,"dropped":{"gap":1},"lag":0.5}'),
        *(verbs.Ping("token", report) for report in REPORTS),
        verbs.Stats("id-6", {"topics": 10, "nodes": 10}),
        verbs.Stats("id-6", {"topics": 2**63, "nodes": -1}),
        *(
            verbs.Last("id-7", {"pattern": pattern, "after": after})
            for pattern in ("a.**", "")
            for after in (0, 2**63, -1)
        ),
        verbs.Last("id-8", {"pattern": "**", "mark": "token"}),
        verbs.Bye("close"),
        verbs.Bye("close", "boot-1"),
    ]
    return _by_verb(messages)


def harmless(frames: Sequence[bytes]) -> bool:
    """Whether this is not something that whoever may connect may do: end the proxy."""
    return frames[0] != verbs.STOP


def to_node(origin: bytes, session: str) -> list[list[list[bytes]]]:
    """All verbs, some of them in many forms, as a proxy could say it to the node that holds `session`."""
    messages = [
        verbs.Welcome(verbs.VERSION, 1, TERMS),
        verbs.Registered(1, "worker", session),
        verbs.Registered(7, "other", "boot-7"),
        verbs.Found("worker", "", session, False),
        verbs.Found("somebody", session, "boot-8", True),
        verbs.Gone("somebody", "boot-8", "timeout"),
        *(
            verbs.Deliver(f"id-{number}", session, "worker", "anonymous:fuzz", b"12345678", Meta(1.0, 1.0), body)
            for number, body in enumerate((b'{"text":"x"}', *JSON))
        ),
        verbs.Deliver("id-r", session, "worker", "sender", b"broadcast1", Meta(1.0, 1.0, True, True), b'{"n":1}'),
        verbs.Ack("id-1", 1),
        verbs.Replied("id-1", ReplyMeta(("ValueError", "no")), b"null"),
        *(verbs.Asking("id-2", b"12345678", body) for body in (b'{"interest":["a."]}', *JSON)),
        verbs.Telling("id-3", origin, b"true"),
        verbs.Listed("id-4", {"endpoints": [], "nodes": []}),
        verbs.Pong("ping-1", True),
        verbs.Record("id-5", {"pid": 1}),
        verbs.Kept("id-6", {"events": [["a.b", "0" * 16, 1, {}]], "more": True, "after": 1, "mark": None}),
        *(
            verbs.Error(about, "id-1", code, {"text": "no", "holder": [], "size": "x", "similar": [1]})
            for about in ("SEND", "DELIVER", "FIND", "REGISTER", "ASK", "LIST")
            for code in ("busy", "gone", "not_owned", "name_taken", "too_large", "unknown_peer")
        ),
        verbs.Bye("timeout"),
        verbs.Bye("replaced", session),
    ]
    return _by_verb(messages)


def events(origins: Sequence[bytes]) -> list[list[list[bytes]]]:
    """Packs, marks, numbers that jump, grouped by these origins, on topics below `a`."""
    bodies = [
        b'[["a.b",%d,{"type":"a.b","ts":1.5,"src":"x","text":"y"}]]',
        b'[["a.b",%d,{"n":1}],["a.c",2,{"n":2}],["a.b",3,{}]]',
        b'[["a.b",-%d,{}]]',
        b'[["a.b",%d,null]]',
        b'[["a.b",%d,{"ts":1e308}],["a.b",1,null],["other",1,{}]]',
        b'[["a.\\u001b[31m",%d,{}]]',
        b'[["fabric.gap",%d,{"missed":1}]]',
    ]
    return [
        [
            [encode_topic("a.b", origin, hops), body % number]
            for hops in (0, 0, 4, 5)
            for body in bodies
            for number in (*range(1, 40), 10**6, 2**53, 2**63 - 1, 2**64 - 1, 2**64)
        ]
        for origin in origins
    ]


def subscriptions() -> list[list[list[bytes]]]:
    """Both ends of them, grouped: what a subscriber, or the proxy, sends upstream."""
    prefixes = [b"a.b\0", b"a.", b"a\0", b"", PROBE + b"12345678", b"x" * 255, b"x" * 400, "ü.".encode()]
    return [[[verb + prefix] for prefix in prefixes] for verb in (b"\1", b"\0")]
