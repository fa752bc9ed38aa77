"""Groups of cases that are compared. A new row is a case here; a new kind of row is a function in `measures`.

The first case of a group is the reference: every ratio is to its run in the same repeat. `target` is the lower bound of the
ratio if more is better, else the upper bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.measures import Case, Run, contention, one_way, round_trip, throughput
from benchmarks.message_measures import messages, request

_MANY = tuple(f"host.a{number}.load" for number in range(64))
#: Each is subscribed with a prefix of its own, so each is a route of its own.
_ROUTES = tuple(f"route{number}.done" for number in range(8))
_PEERS = {"mode": "peer"}
_ROUTED = {"mode": "client"}


class Group(NamedTuple):
    """Cases that run interleaved. `unit` is that of the values; the table has ratios."""

    name: str
    title: str
    unit: str
    more_is_better: bool
    measure: Callable[[Case, int], Run]
    cases: tuple[Case, ...]
    #: Fraction of `--events`.
    share: float = 1.0
    #: A case of the fabric that is compared with every peer, in a table of its own.
    ours: str = ""
    #: Lower bound of the fabric's ratio to a peer, by the peer's row.
    against: tuple[tuple[str, float], ...] = ()


def _latency_cases(rate: float = 0.0, target: float | None = None) -> tuple[Case, ...]:
    """All systems; `express` makes zenoh send at once."""
    # One PUBLISH and its reply take redis-py some 100 µs: it cannot publish 20,000 a second.
    redis = () if rate > 5_000 else (Case("redis-py", "redis", rate=rate),)
    return (
        Case("reference", "reference", rate=rate),
        Case("fabric", "fabric", rate=rate, target=target),
        Case("fabric, asyncio", "fabric", {"loop": True}, rate=rate),
        Case("nats-py", "nats", rate=rate),
        *redis,
        Case("zenoh peers", "zenoh peers", {**_PEERS, "express": True}, rate=rate),
        Case("zenoh router", "zenoh router", {**_ROUTED, "express": True}, rate=rate),
        Case("paho + mosquitto", "mqtt", rate=rate),
    )


_THROUGHPUT = Group(
    "throughput",
    "Throughput, 200 bytes, dict to dict (ratio: more is better)",
    "events/s",
    True,
    throughput,
    (
        Case("reference", "reference"),
        Case("fabric, one topic", "fabric", patterns=("tui.**",), target=1.8),
        Case("fabric, asyncio", "fabric", {"loop": True}, patterns=("tui.**",), target=1.5),
        Case("fabric, coroutines", "fabric", {"coroutine": True}, patterns=("tui.**",), share=0.5),
        Case("fabric, 64 topics", "fabric", topics=_MANY, patterns=("**",), target=1.7),
        Case("fabric, 8 routes", "fabric", topics=_ROUTES, patterns=_ROUTES, target=1.1),
        Case("fabric, echo", "fabric", publisher={"echo": "tui.**"}, patterns=("tui.**",)),
        Case("nats-py", "nats", share=0.5),
        Case("redis-py, pipelined", "redis", {"pipelined": True}, share=0.25),
        Case("redis-py", "redis", share=0.05),
        Case("zenoh peers", "zenoh peers", _PEERS),
        Case("zenoh router", "zenoh router", _ROUTED),
        Case("paho + mosquitto", "mqtt", share=0.1),
    ),
    ours="fabric, one topic",
    against=(("nats-py", 2.0), ("zenoh peers", 1.0), ("zenoh router", 1.0)),
)

GROUPS: tuple[Group, ...] = (
    _THROUGHPUT,
    Group(
        "counting",
        "Cost of counting in the proxy (ratio to a proxy that does not count: more is better)",
        "events/s",
        True,
        throughput,
        (
            Case("uncounted", "fabric, uncounted", patterns=("tui.**",)),
            Case("counted", "fabric", patterns=("tui.**",), target=0.95),
        ),
    ),
    Group(
        "counting-singly",
        "The same, with events that cannot be packed: 8 routes in turn",
        "events/s",
        True,
        throughput,
        (
            Case("uncounted, singly", "fabric, uncounted", topics=_ROUTES, patterns=_ROUTES),
            Case("counted, singly", "fabric", topics=_ROUTES, patterns=_ROUTES, target=0.95),
        ),
    ),
    Group(
        "round-trip",
        "Round trip, one event in flight (ratio: less is better)",
        "s",
        False,
        round_trip,
        _latency_cases(target=1.5),
        share=0.02,
        ours="fabric",
    ),
    *(
        Group(
            f"one-way-{rate // 1_000}k",
            f"One way at {rate:,} events a second (ratio: less is better)",
            "s",
            False,
            one_way,
            _latency_cases(float(rate)),
            share=0.25,
            ours="fabric",
        )
        for rate in (1_000, 20_000)
    ),
    Group(
        "publish",
        "Duration of publish() beside three publishing threads and a computing one, p90 (ratio: less is better)",
        "s",
        False,
        contention,
        (
            # A send behind a lock takes up to 50 ms at the 90th percentile, so only a few are measured.
            Case("reference, locked", "reference, locked", share=0.01),
            Case("fabric", "fabric", share=0.4, limit=0.001),
        ),
    ),
    Group(
        "messages",
        "Acknowledged messages through the proxy to 1,000 endpoints (ratio: more is better)",
        "frames/s",
        True,
        messages,
        (
            Case("reference, ROUTER loop", "reference, router"),
            Case("ROUTER loop, tuned", "reference, router tuned"),
            Case("fabric, proxy", "proxy", target=0.8),
        ),
        share=0.25,
    ),
    Group(
        "request",
        "Request and answer, one in flight (ratio: less is better)",
        "s",
        False,
        request,
        (
            Case("reference, ping", "reference, ping"),
            Case("fabric", "fabric", target=2.0),
            Case("fabric, asyncio", "fabric", {"coroutine": True}),
            Case("nats-py", "nats"),
        ),
        share=0.02,
        ours="fabric",
        against=(("nats-py", 1.0),),
    ),
)
