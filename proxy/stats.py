"""The statistics record: everything a proxy knows of itself and its fabric, frozen; the answer to STATS.

`fabric status`, `check`, `top`, `topics`, `/metrics` and the tests read this record and nothing else. The proxy makes it
(`proxy.collect`), it travels as JSON, and the receiver has an equal record again.

Counts are since the start of the proxy, or of the node; none is ever reset. Rates are per second, over the last second or
so for topics, and over the last two heartbeats for nodes. Times are unix seconds, durations seconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any, TypeVar

from fabric.errors import WireError
from fabric.protocol.node_report import Report, report_from


@dataclass(frozen=True)
class TopicStats:
    """Events of one topic that passed the event plane, with or without subscribers."""

    topic: str
    events: int = 0
    bytes: int = 0
    rate: float = 0.0
    byte_rate: float = 0.0
    #: Time of the last event.
    last: float = 0.0


@dataclass(frozen=True)
class NodeStats:
    """One connected node."""

    node: str
    origin: str = ""
    pid: int = 0
    host: str = ""
    program: str = ""
    endpoints: int = 0
    since: float = 0.0
    #: Time of its last message.
    seen: float = 0.0
    #: Events per second that it sent and that it delivered.
    sent_rate: float = 0.0
    delivered_rate: float = 0.0
    #: The report in its last heartbeat; None before the first one.
    report: Report | None = None


@dataclass(frozen=True)
class PlaneStats:
    """The event plane. Frames and bytes are counted by libzmq, exactly; two frames are one message, a pack of events."""

    #: Whether the last probe came back, the seconds since one came back, and its round trip.
    alive: bool = False
    probed: float = 0.0
    round_trip: float = 0.0
    frames_in: int = 0
    bytes_in: int = 0
    #: Passed on; counted once each, for any number of subscribers.
    frames_out: int = 0
    bytes_out: int = 0
    #: Incoming events; estimated from a sample if `observed`, the share of the sample, is below 1.
    events: int = 0
    observed: float = 1.0
    rate: float = 0.0
    byte_rate: float = 0.0
    #: Topics in the table of topics, which is bounded.
    topics: int = 0
    #: Topics whose last event is retained (the setting `retain`), and their bytes; topics evicted because of the limits;
    #: events of such topics that the retainer missed.
    retained: int = 0
    retained_bytes: int = 0
    retained_evicted: int = 0
    retained_missed: int = 0


@dataclass(frozen=True)
class ProcessStats:
    """The process of the proxy."""

    cpu: float = 0.0
    memory: int = 0
    descriptors: int = 0
    descriptor_limit: int = 0
    threads: int = 0


@dataclass(frozen=True)
class ProxyStats:
    """The whole record."""

    pid: int
    host: str
    url: str
    boot: str
    version: str
    uptime: float = 0.0
    #: Time at which the record was made.
    now: float = 0.0
    #: The log file; empty: stderr.
    log: str = ""
    plane: PlaneStats = field(default_factory=PlaneStats)
    process: ProcessStats = field(default_factory=ProcessStats)
    #: Connected nodes, their endpoints and their subscriptions.
    nodes: int = 0
    endpoints: int = 0
    subscriptions: int = 0
    #: Counts of the message plane by outcome: routed, acknowledged, refused, busy, gone, malformed, lost (nodes), …
    messages: dict[str, int] = field(default_factory=dict)
    #: Sums over all nodes that ever reported, departed ones included.
    published: int = 0
    sent: int = 0
    delivered: int = 0
    gaps: int = 0
    #: Events lost, by cause, over all nodes that ever reported; see `fabric.protocol.node_report`.
    dropped: dict[str, int] = field(default_factory=dict)
    #: Counts of the hooks by outcome; and their programs.
    hooks: dict[str, int] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    #: Versions: `python 3.11.9`, `pyzmq 27.1.0`, …; empty from older proxies.
    libraries: tuple[str, ...] = ()
    #: The busiest topics, busiest first, and the nodes; at most the requested numbers, and what fits into one message.
    busiest: tuple[TopicStats, ...] = ()
    members: tuple[NodeStats, ...] = ()
    truncated: bool = False

    @property
    def who(self) -> str:
        """Process and host of the proxy, for people."""
        return f"pid {self.pid} on {self.host}"

    @property
    def lost(self) -> int:
        """Events lost, over all causes."""
        return sum(self.dropped.values())

    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object; `stats_from` is the inverse."""
        facts = asdict(self)
        for row, member in zip(facts["members"], self.members, strict=True):
            row["report"] = member.report._asdict() if member.report is not None else None
        return facts


_Kind = TypeVar("_Kind")


def stats_from(facts: Any) -> ProxyStats:
    """The record from JSON; unknown keys, of a newer proxy, are skipped. WireError if it is not a record."""
    return _record(ProxyStats, facts)


def _record(kind: type[_Kind], facts: Any) -> _Kind:
    if not isinstance(facts, dict):
        raise WireError(f"{kind.__name__} is a JSON object")
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name in facts:
            values[each.name] = _value(f"{kind.__name__}.{each.name}", str(each.type), facts[each.name])
    try:
        return kind(**values)
    except TypeError as error:
        raise WireError(f"{kind.__name__}: {error}") from None


_RECORDS = {"PlaneStats": PlaneStats, "ProcessStats": ProcessStats}
_ROWS = {"tuple[TopicStats, ...]": TopicStats, "tuple[NodeStats, ...]": NodeStats}


def _value(where: str, kind: str, value: Any) -> Any:
    if kind in _RECORDS:
        return _record(_RECORDS[kind], value)
    if kind in _ROWS and isinstance(value, list | tuple):
        return tuple(_record(_ROWS[kind], row) for row in value)
    if kind == "Report | None":
        return None if value is None else report_from(value)
    if kind == "tuple[str, ...]" and isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if kind == "dict[str, int]" and isinstance(value, dict) and all(type(each) is int for each in value.values()):
        return value
    if kind == "float" and type(value) in (int, float) and isfinite(value):
        return float(value)
    if kind in ("int", "str", "bool") and type(value).__name__ == kind:
        return value
    raise WireError(f"{where} is no {kind}")
