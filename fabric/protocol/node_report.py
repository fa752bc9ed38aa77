"""The report of a node: its counts, sent to the proxy with every heartbeat, so that one place knows of every loss.

All counts start when the node's link is opened, and only grow. `dropped` counts lost events, by cause:

    outbox       dropped from the outbox, which was full
    expired      waited in the outbox for too long
    abandoned    left in the outbox when the node was closed
    unencodable  the payload is no JSON
    missed       left another node and never arrived here: the events in this node's gaps
    inbox        dropped before they were handled: too many bytes waited (policy `drop_oldest`)
    handlers     an async subscriber had no loop, or a blocked or closed one

Later versions may add keys to `dropped`. Events that are no losses have counts of their own: `unwanted` (no subscriber
outside), `superseded` (replaced in the outbox by a later event of its topic, policy `latest`), `joining` (sent before a
subscription was ready), `duplicates`, and `rejected` (bytes that are not our protocol).

Encoders are strict, decoders total: `WireError` and nothing else, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

import orjson

from fabric.errors import WireError

#: Causes in one report. A node has a handful; an untrusted peer may invent them.
MAX_CAUSES = 32
_MAX_CAUSE = 40
#: The largest count. JSON readers can tell it from its neighbours (a double holds integers up to 2⁵³ exactly). An untrusted
#: peer can claim to have sent as many events, and then a receiver misses all of them; the sum of two larger counts would be
#: more than orjson writes.
MAX_COUNT = 2**53


class Report(NamedTuple):
    """One node's counts. They count events unless a comment says otherwise."""

    #: Accepted for other processes; sent by now.
    published: int = 0
    sent: int = 0
    #: From other processes, handed to subscribers here.
    delivered: int = 0
    #: In the outbox now, and their bytes; packs of events that were read and not delivered yet.
    waiting: int = 0
    waiting_bytes: int = 0
    backlog: int = 0
    #: Seconds between an event's `ts` and its delivery here, for the last one delivered. Clocks of two hosts differ.
    lag: float = 0.0
    #: Holes found in what arrived; `dropped["missed"]` says how many events they were.
    gaps: int = 0
    #: Missing at first, then recovered from their origin.
    recovered: int = 0
    unwanted: int = 0
    superseded: int = 0
    joining: int = 0
    duplicates: int = 0
    rejected: int = 0
    #: Subscriptions of the bus; prefixes that other nodes subscribe to.
    subscriptions: int = 0
    prefixes: int = 0
    #: Lost, by cause.
    dropped: Mapping[str, int] = {}

    @property
    def lost(self) -> int:
        """Everything in `dropped`."""
        return sum(self.dropped.values())


def encode_report(report: Report) -> bytes:
    """The report as JSON, without causes that are 0. Counts are capped at `MAX_COUNT`."""
    facts = {name: min(value, MAX_COUNT) for name, value in report._asdict().items() if name != "dropped"}
    dropped = {cause: min(count, MAX_COUNT) for cause, count in report.dropped.items() if count}
    return orjson.dumps({**facts, "dropped": dropped})


def decode_report(data: bytes) -> Report:
    """The report that `encode_report` wrote. Keys of newer versions are skipped. WireError if it is invalid."""
    try:
        facts = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError(f"a report that is no JSON: {error}") from None
    return report_from(facts)


def report_from(facts: Any) -> Report:
    """A report from a decoded JSON object. WireError if it is invalid."""
    if not isinstance(facts, dict):
        raise WireError("a report is a JSON object")
    known: dict[str, Any] = {name: facts[name] for name in Report._fields if name in facts}
    dropped = known.pop("dropped", {})
    if not isinstance(dropped, dict) or len(dropped) > MAX_CAUSES or any(len(cause) > _MAX_CAUSE for cause in dropped):
        raise WireError(f"`dropped` is an object with at most {MAX_CAUSES} causes")
    for name, value in (*known.items(), *dropped.items()):
        kinds = (int, float) if name == "lag" else (int,)
        if isinstance(value, bool) or not isinstance(value, kinds) or not isfinite(value):
            raise WireError(f"{name[:_MAX_CAUSE]!r} of a report is a number")
        if value < 0 and name != "lag":  # another host's clock may be ahead
            raise WireError(f"{name[:_MAX_CAUSE]!r} of a report is at least 0")
        if abs(value) > MAX_COUNT:
            raise WireError(f"{name[:_MAX_CAUSE]!r} of a report is at most {MAX_COUNT}")
    return Report(**known, dropped=dropped)
