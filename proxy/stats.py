"""What a proxy knows of its fabric: one frozen record, which STATS asks for and everybody reads.

`fabric status`, `check`, `top`, `topics`, `/metrics` and the tests all read this and nothing else. It is made by the
proxy (`proxy.collect`), travels as JSON, and is the same record again at the other end.

Counts are since the proxy's start, or since the node's; none is ever reset. Rates are per second, over the last second
or so for topics, and over the last two heartbeats for nodes. Times are unix seconds, durations seconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any, TypeVar

from fabric.errors import WireError
from fabric.protocol.node_report import Report, report_from


@dataclass(frozen=True)
class TopicStats:
    """One topic, as the event plane sees it pass; its subscribers may be none."""

    topic: str
    events: int = 0
    bytes: int = 0
    rate: float = 0.0
    byte_rate: float = 0.0
    #: When it was seen last.
    last: float = 0.0


@dataclass(frozen=True)
class NodeStats:
    """One node that is here."""

    node: str
    origin: str = ""
    pid: int = 0
    host: str = ""
    program: str = ""
    endpoints: int = 0
    since: float = 0.0
    #: When it was heard of last.
    seen: float = 0.0
    #: Events per second that it sent and that it was handed.
    sent_rate: float = 0.0
    delivered_rate: float = 0.0
    #: What it said of itself with its last heartbeat; None if it has not yet.
    report: Report | None = None


@dataclass(frozen=True)
class PlaneStats:
    """The event plane. Frames and bytes are counted by libzmq, exactly; two frames are one message, a pack of events."""

    #: Whether a probe of the proxy's own went in and came out lately, how long ago that was, and how long it took.
    alive: bool = False
    probed: float = 0.0
    round_trip: float = 0.0
    frames_in: int = 0
    bytes_in: int = 0
    #: Passed on, once each, to however many subscribers.
    frames_out: int = 0
    bytes_out: int = 0
    #: Events that came in; estimated from those looked at where `observed`, their share, is below 1.
    events: int = 0
    observed: float = 1.0
    rate: float = 0.0
    byte_rate: float = 0.0
    #: Topics in the table of topics, which is bounded.
    topics: int = 0
    #: Topics whose last event is kept (the setting `retain`), and their bytes; how many had to go because there were too
    #: many; and events of such topics that never came to where they are kept.
    retained: int = 0
    retained_bytes: int = 0
    retained_evicted: int = 0
    retained_missed: int = 0


@dataclass(frozen=True)
class ProcessStats:
    """The proxy as a process."""

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
    #: When this was written.
    now: float = 0.0
    #: The log file; empty: stderr.
    log: str = ""
    plane: PlaneStats = field(default_factory=PlaneStats)
    process: ProcessStats = field(default_factory=ProcessStats)
    #: Nodes and endpoints that are here, and the subscriptions of these nodes.
    nodes: int = 0
    endpoints: int = 0
    subscriptions: int = 0
    #: What happened on the message plane: routed, acknowledged, refused, busy, gone, malformed, lost (nodes), …
    messages: dict[str, int] = field(default_factory=dict)
    #: Events of all nodes, of those that are gone, too.
    published: int = 0
    sent: int = 0
    delivered: int = 0
    gaps: int = 0
    #: Events lost, by cause, over all nodes that ever reported; see `fabric.protocol.node_report`.
    dropped: dict[str, int] = field(default_factory=dict)
    #: What the hooks did; and their programs.
    hooks: dict[str, int] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    #: What it runs on: `python 3.11.9`, `pyzmq 27.1.0`, …; none from proxies that do not tell.
    libraries: tuple[str, ...] = ()
    #: The busiest topics, busiest first, and the nodes; as many as were asked for and fit into one message.
    busiest: tuple[TopicStats, ...] = ()
    members: tuple[NodeStats, ...] = ()
    truncated: bool = False

    @property
    def who(self) -> str:
        """The proxy in a few words."""
        return f"pid {self.pid} on {self.host}"

    @property
    def lost(self) -> int:
        """Events lost, whatever the cause."""
        return sum(self.dropped.values())

    def as_json(self) -> dict[str, Any]:
        """As a JSON object; `stats_from` reads it."""
        facts = asdict(self)
        for row, member in zip(facts["members"], self.members, strict=True):
            row["report"] = member.report._asdict() if member.report is not None else None
        return facts


_Kind = TypeVar("_Kind")


def stats_from(facts: Any) -> ProxyStats:
    """The record from JSON; unknown keys are a newer proxy's, and skipped. WireError if it is none."""
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
