"""The table of metrics: what `/metrics` shows, and where in the record it comes from.

Names follow Prometheus: base units, `_total` for what only grows, `fabric_` before it all. Counts are the record's own
(`proxy.stats`), read anew at each scrape, so nothing is counted twice and nothing can disagree with `fabric status`.
Rates are not exported: `rate()` makes better ones. What every process has (memory, descriptors, CPU) bears the standard
names and comes from the client library.

Labels are few, and what they may say is bounded, because each value is a series that Prometheus keeps:

    topic    the `MAX_TOPICS` busiest
    node     the `MAX_NODES` that are here longest. Nodes of one name are one: counts are added, of lags the worst counts
    cause    the four known, and as many again as `MAX_CAUSES`; what is beyond is `other`

A loss that happens for the first time must be seen by `rate()`, so the known causes and outcomes are there from the
start, as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from fabric.protocol.node_report import MAX_CAUSES, Report
from proxy.stats import NodeStats, ProxyStats, TopicStats

MAX_TOPICS = 50
MAX_NODES = 200
#: Causes of losses that every node knows; see `fabric.protocol.node_report`.
CAUSES = ("outbox", "unencodable", "missed", "handlers")
#: What the message plane counts; see `proxy.messages.directory`.
OUTCOMES = ("messages", "acknowledged", "replies", "unrouted", "refused", "busy", "gone", "malformed")
#: Of those, what has a metric of its own or is no count.
_NOT_OUTCOMES = ("lost", "nodes", "endpoints", "broadcasts")
_HOOK_OUTCOMES = ("done", "failed", "timed_out", "dropped", "repeated")

#: Label values, and the number.
Samples = list[tuple[tuple[str, ...], float]]


class Metric(NamedTuple):
    """One row: a metric, and how it is read off the record. `kind` is `counter` or `gauge`."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[ProxyStats], Samples]


def exposition(stats: ProxyStats) -> list[tuple[Metric, Samples]]:
    """All metrics of a record, with their samples. No two samples of a metric have the same labels."""
    shown = replace(
        stats,
        busiest=stats.busiest[:MAX_TOPICS],
        members=tuple(sorted(stats.members, key=lambda node: (node.since, node.node))[:MAX_NODES]),
    )
    return [(metric, metric.read(shown)) for metric in METRICS]


# Ways to read


def _one(value: Callable[[ProxyStats], float]) -> Callable[[ProxyStats], Samples]:
    return lambda stats: [((), float(value(stats)))]


def _counts(
    found: Callable[[ProxyStats], Mapping[str, int]], known: Iterable[str], *, but: Iterable[str] = ()
) -> Callable[[ProxyStats], Samples]:
    """A sample a key: the known ones, and a bounded number of others in the order in which they appeared."""

    def read(stats: ProxyStats) -> Samples:
        counts = dict.fromkeys(known, 0)
        rest = 0
        for key, count in found(stats).items():
            if key in but:
                continue
            if key in counts or len(counts) < MAX_CAUSES:
                counts[key] = count
            else:
                rest += count
        if rest:
            counts["other"] = counts.get("other", 0) + rest
        return [((key,), float(count)) for key, count in counts.items()]

    return read


def _topics(value: Callable[[TopicStats], float]) -> Callable[[ProxyStats], Samples]:
    return lambda stats: [((topic.topic,), float(value(topic))) for topic in stats.busiest]


def _nodes(
    value: Callable[[NodeStats], float], join: Callable[[Iterable[float]], float] = sum
) -> Callable[[ProxyStats], Samples]:
    def read(stats: ProxyStats) -> Samples:
        found: dict[str, list[float]] = {}
        for node in stats.members:
            found.setdefault(node.node, []).append(float(value(node)))
        return [((name,), float(join(values))) for name, values in found.items()]

    return read


def _reports(
    value: Callable[[Report], float], join: Callable[[Iterable[float]], float] = sum
) -> Callable[[ProxyStats], Samples]:
    """Of nodes that have said something of themselves."""
    read = _nodes(lambda node: value(node.report or Report()), join)
    return lambda stats: read(_only_reporting(stats))


def _only_reporting(stats: ProxyStats) -> ProxyStats:
    return replace(stats, members=tuple(node for node in stats.members if node.report is not None))


def _named(counts: Callable[[Report], Mapping[str, int]]) -> Callable[[ProxyStats], Samples]:
    """A sample a node and key; keys that have counted nothing are left out, or every node would have all of them."""

    def read(stats: ProxyStats) -> Samples:
        found: dict[tuple[str, ...], float] = {}
        for node in stats.members:
            for key, count in counts(node.report or Report()).items():
                if count:
                    found[node.node, key] = found.get((node.node, key), 0.0) + count
        return list(found.items())

    return read


def _node_info(stats: ProxyStats) -> Samples:
    facts = {(node.node, node.host, node.program): 1.0 for node in stats.members}
    return list(facts.items())


def _not_news(report: Report) -> dict[str, int]:
    return {
        "unwanted": report.unwanted,
        "superseded": report.superseded,
        "joining": report.joining,
        "duplicates": report.duplicates,
        "rejected": report.rejected,
    }


# The table

_NODE = ("node",)
_TOPIC = ("topic",)


def _gauge(name: str, help_: str, read: Callable[[ProxyStats], Samples], labels: tuple[str, ...] = ()) -> Metric:
    return Metric(f"fabric_{name}", "gauge", help_, labels, read)


def _counter(name: str, help_: str, read: Callable[[ProxyStats], Samples], labels: tuple[str, ...] = ()) -> Metric:
    return Metric(f"fabric_{name}_total", "counter", help_, labels, read)


METRICS: tuple[Metric, ...] = (
    # The proxy
    _gauge("build_info", "1; the version is its label.", lambda stats: [((stats.version,), 1.0)], ("version",)),
    _gauge("uptime_seconds", "Seconds since the proxy started.", _one(lambda stats: stats.uptime)),
    _gauge("proxy_threads", "Threads of the proxy.", _one(lambda stats: stats.process.threads)),
    # The event plane
    _gauge(
        "event_plane_alive",
        "1 if a probe of the proxy's own passed the event plane lately, else 0.",
        _one(lambda stats: stats.plane.alive),
    ),
    _gauge(
        "event_plane_probe_age_seconds",
        "Seconds since a probe last passed the event plane.",
        _one(lambda stats: stats.plane.probed),
    ),
    _gauge(
        "event_plane_round_trip_seconds",
        "Seconds that this probe took, in and out again.",
        _one(lambda stats: stats.plane.round_trip),
    ),
    _counter(
        "event_plane_frames",
        "ZeroMQ frames that came in, and that were passed on (once each, to however many subscribers).",
        lambda stats: [(("in",), float(stats.plane.frames_in)), (("out",), float(stats.plane.frames_out))],
        ("direction",),
    ),
    _counter(
        "event_plane_bytes",
        "Bytes that came in, and that were passed on (once each, to however many subscribers).",
        lambda stats: [(("in",), float(stats.plane.bytes_in)), (("out",), float(stats.plane.bytes_out))],
        ("direction",),
    ),
    _counter(
        "events",
        "Events that came in; estimated where fabric_events_observed_ratio is below 1.",
        _one(lambda stats: stats.plane.events),
    ),
    _gauge(
        "events_observed_ratio",
        "Share of the events that the proxy looked at, to tell topics apart: 0 to 1.",
        _one(lambda stats: stats.plane.observed),
    ),
    _gauge("topics", "Topics in the proxy's table, which is bounded.", _one(lambda stats: stats.plane.topics)),
    _gauge(
        "retained_topics",
        "Topics whose last event is kept for late joiners.",
        _one(lambda stats: stats.plane.retained),
    ),
    _gauge("retained_bytes", "Bytes of these events.", _one(lambda stats: stats.plane.retained_bytes)),
    _counter(
        "retained_evicted_topics",
        "Topics whose last event had to go because there were too many, or too large.",
        _one(lambda stats: stats.plane.retained_evicted),
    ),
    _counter(
        "retained_missed_events",
        "Events of retained topics that the proxy could not take in time: the one it keeps may not be the last.",
        _one(lambda stats: stats.plane.retained_missed),
    ),
    _counter("topic_events", "Events of this topic, one of the busiest.", _topics(lambda topic: topic.events), _TOPIC),
    _counter("topic_bytes", "Bytes of this topic, one of the busiest.", _topics(lambda topic: topic.bytes), _TOPIC),
    _gauge(
        "topic_last_event_timestamp_seconds",
        "When an event of this topic was last seen, unix time.",
        _topics(lambda topic: topic.last),
        _TOPIC,
    ),
    # All nodes
    _gauge("nodes", "Nodes that are here.", _one(lambda stats: stats.nodes)),
    _gauge(
        "nodes_shown",
        "Nodes that have metrics of their own; with fewer than fabric_nodes some are left out.",
        _one(lambda stats: len(stats.members)),
    ),
    _gauge("endpoints", "Endpoints that are registered.", _one(lambda stats: stats.endpoints)),
    _gauge("subscriptions", "Subscriptions of the nodes that are here.", _one(lambda stats: stats.subscriptions)),
    _counter(
        "nodes_lost",
        "Nodes that went without a word: silent for the timeout, or their connection gone.",
        _one(lambda stats: stats.messages.get("lost", 0)),
    ),
    _counter(
        "published_events",
        "Events that nodes accepted for other processes, of nodes that are gone, too.",
        _one(lambda stats: stats.published),
    ),
    _counter("sent_events", "Events that left their nodes.", _one(lambda stats: stats.sent)),
    _counter(
        "delivered_events",
        "Events from other processes that were handed to subscribers.",
        _one(lambda stats: stats.delivered),
    ),
    _counter("gaps", "Holes that nodes found in what arrived.", _one(lambda stats: stats.gaps)),
    _counter("dropped_events", "Events lost, by cause.", _counts(lambda stats: stats.dropped, CAUSES), ("cause",)),
    # The message plane
    _counter(
        "messages",
        "What happened to messages. An outcome is counted where it happens, so one message can be in several.",
        _counts(lambda stats: stats.messages, OUTCOMES, but=_NOT_OUTCOMES),
        ("outcome",),
    ),
    _gauge("hooks", "Programs that run after a message was routed.", _one(lambda stats: len(stats.programs))),
    _counter(
        "hook_messages",
        "Messages for hooks, by what became of them.",
        _counts(lambda stats: stats.hooks, _HOOK_OUTCOMES, but=("queued", "running")),
        ("outcome",),
    ),
    _gauge("hook_queued_messages", "Messages that wait for hooks.", _one(lambda stats: stats.hooks.get("queued", 0))),
    _gauge("hook_running", "Hook programs that run now.", _one(lambda stats: stats.hooks.get("running", 0))),
    # Each node
    _gauge("node_info", "1; where the node runs are its labels.", _node_info, ("node", "host", "program")),
    _gauge(
        "node_start_time_seconds",
        "When the node came, unix time.",
        _nodes(lambda node: node.since, min),
        _NODE,
    ),
    _gauge(
        "node_last_seen_timestamp_seconds",
        "When the node was last heard of, unix time.",
        _nodes(lambda node: node.seen, min),
        _NODE,
    ),
    _gauge("node_endpoints", "Endpoints of the node.", _nodes(lambda node: node.endpoints), _NODE),
    _counter(
        "node_published_events",
        "Events that the node accepted for other processes.",
        _reports(lambda report: report.published),
        _NODE,
    ),
    _counter("node_sent_events", "Events that left the node.", _reports(lambda report: report.sent), _NODE),
    _counter(
        "node_delivered_events",
        "Events from other processes that the node handed to its subscribers.",
        _reports(lambda report: report.delivered),
        _NODE,
    ),
    _gauge(
        "node_outbox_events",
        "Events that wait in the node's outbox for the link.",
        _reports(lambda report: report.waiting),
        _NODE,
    ),
    _gauge(
        "node_outbox_bytes",
        "Bytes that wait in the node's outbox for the link.",
        _reports(lambda report: report.waiting_bytes),
        _NODE,
    ),
    _gauge(
        "node_backlog_messages",
        "Packs of events that the node has read and not delivered yet.",
        _reports(lambda report: report.backlog),
        _NODE,
    ),
    _gauge(
        "node_lag_seconds",
        "Seconds between publishing and delivery of the last event that the node delivered. Clocks of two hosts differ.",
        _reports(lambda report: report.lag, max),
        _NODE,
    ),
    _counter("node_gaps", "Holes that the node found in what arrived.", _reports(lambda report: report.gaps), _NODE),
    _counter(
        "node_recovered_events",
        "Events that were missing at first, and that the node had from their origin.",
        _reports(lambda report: report.recovered),
        _NODE,
    ),
    _counter(
        "node_dropped_events",
        "Events that the node lost, by cause; no sample for a cause that has counted nothing.",
        _named(lambda report: report.dropped),
        ("node", "cause"),
    ),
    _counter(
        "node_ignored_events",
        "Events that are no loss: unwanted, superseded, joining, duplicates, rejected; no sample where there is none.",
        _named(_not_news),
        ("node", "reason"),
    ),
    _gauge(
        "node_subscriptions",
        "Subscriptions of the node's bus.",
        _reports(lambda report: report.subscriptions),
        _NODE,
    ),
    _gauge(
        "node_prefixes",
        "Topic prefixes that others want of the node.",
        _reports(lambda report: report.prefixes),
        _NODE,
    ),
)
