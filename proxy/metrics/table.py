"""The table of metrics: what `/metrics` shows, and which attribute of the record each metric is.

Names follow Prometheus: base units, `_total` for counters, the prefix `fabric_`. Numbers are the record's own
(`proxy.stats`), read at each scrape, so nothing is counted twice and nothing can disagree with `fabric status`. Rates are
not exported: `rate()` computes better ones. The process metrics (memory, descriptors, CPU) have the standard names and come
from the client library.

Labels are few and their values are bounded, because Prometheus keeps a series for each value:

    topic    the `MAX_TOPICS` busiest
    node     the `MAX_NODES` longest present. Nodes of one name share a series: counts are added, of lags the largest counts
    cause    the four known ones, and others up to `MAX_CAUSES` in all; the rest is added up as `other`

`rate()` must see a loss that happens for the first time: the known causes and outcomes are exported from the start, as 0.

A row of the table is a metric and its source. A source is a path of attributes, from the record or from each of its topics
or nodes:

    _value("plane.alive")        one sample
    _by_topic("events")          one sample for each of the busiest topics, label `topic`
    _by_node("report.lag", max)  one sample for each name of a node, label `node`; `max` joins the values of nodes of one
                                 name; a path in `report` skips the nodes that have not reported yet
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from fabric.protocol.node_report import MAX_CAUSES, Report
from proxy.stats import ProxyStats

MAX_TOPICS = 50
MAX_NODES = 200
#: Causes of losses that every node knows; see `fabric.protocol.node_report`.
CAUSES = ("outbox", "unencodable", "missed", "handlers")
#: Outcomes of messages; see `proxy.messages.directory`.
OUTCOMES = ("messages", "acknowledged", "replies", "unrouted", "refused", "busy", "gone", "malformed")
#: Outcomes of messages for hooks; see `proxy.messages.hooks`.
HOOK_OUTCOMES = ("done", "failed", "timed_out", "dropped", "repeated")
#: Counts of a report that are no losses.
IGNORED = ("unwanted", "superseded", "joining", "duplicates", "rejected")

#: Label values, and the number.
Samples = list[tuple[tuple[str, ...], float]]


class RowSource(NamedTuple):
    """The labels of a metric, and the function that reads its samples from the record."""

    labels: tuple[str, ...]
    read: Callable[[ProxyStats], Samples]


class Metric(NamedTuple):
    """One row of the table. `kind` is `counter` or `gauge`."""

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


# Sources


def _value(path: str) -> RowSource:
    """One number of the record."""
    value = attrgetter(path)
    return RowSource((), lambda stats: [((), float(value(stats)))])


def _length(path: str) -> RowSource:
    """The length of one sequence of the record."""
    value = attrgetter(path)
    return RowSource((), lambda stats: [((), float(len(value(stats))))])


def _entry(path: str, key: str) -> RowSource:
    """One entry of a dict of counts."""
    value = attrgetter(path)
    return RowSource((), lambda stats: [((), float(value(stats).get(key, 0)))])


def _by_direction(incoming: str, outgoing: str) -> RowSource:
    values = attrgetter(incoming), attrgetter(outgoing)
    return RowSource(
        ("direction",),
        lambda stats: [((name,), float(value(stats))) for name, value in zip(("in", "out"), values, strict=True)],
    )


def _by_key(label: str, path: str, known: Iterable[str], *, without: Collection[str] = ()) -> RowSource:
    """A sample for each key of a dict: the known keys, and a bounded number of others in their order in the dict."""
    value = attrgetter(path)

    def read(stats: ProxyStats) -> Samples:
        counts = dict.fromkeys(known, 0)
        rest = 0
        for key, count in value(stats).items():
            if key in without:
                continue
            if key in counts or len(counts) < MAX_CAUSES:
                counts[key] = count
            else:
                rest += count
        if rest:
            counts["other"] = counts.get("other", 0) + rest
        return [((key,), float(count)) for key, count in counts.items()]

    return RowSource((label,), read)


def _by_topic(path: str) -> RowSource:
    value = attrgetter(path)
    return RowSource(("topic",), lambda stats: [((topic.topic,), float(value(topic))) for topic in stats.busiest])


def _by_node(path: str, join: Callable[[Iterable[float]], float] = sum) -> RowSource:
    value, of_report = attrgetter(path), path.startswith("report.")

    def read(stats: ProxyStats) -> Samples:
        found: dict[str, list[float]] = {}
        for node in stats.members:
            if node.report is not None or not of_report:
                found.setdefault(node.node, []).append(float(value(node)))
        return [((name,), float(join(values))) for name, values in found.items()]

    return RowSource(("node",), read)


def _by_node_and_key(label: str, counts: Callable[[Report], Mapping[str, int]]) -> RowSource:
    """A sample for each node and key with a count above 0; with the zeros every node would have all keys."""

    def read(stats: ProxyStats) -> Samples:
        found: dict[tuple[str, ...], float] = {}
        for node in stats.members:
            for key, count in counts(node.report or Report()).items():
                if count:
                    found[node.node, key] = found.get((node.node, key), 0.0) + count
        return list(found.items())

    return RowSource(("node", label), read)


def _ignored(report: Report) -> dict[str, int]:
    return {name: getattr(report, name) for name in IGNORED}


def _dropped(report: Report) -> Mapping[str, int]:
    return report.dropped


def _versions(stats: ProxyStats) -> Samples:
    return [((stats.version,), 1.0)]


def _node_info(stats: ProxyStats) -> Samples:
    facts: dict[tuple[str, ...], float] = {(node.node, node.host, node.program): 1.0 for node in stats.members}
    return list(facts.items())


# The table


def _gauge(name: str, source: RowSource, help_: str) -> Metric:
    return Metric(f"fabric_{name}", "gauge", help_, *source)


def _counter(name: str, source: RowSource, help_: str) -> Metric:
    return Metric(f"fabric_{name}_total", "counter", help_, *source)


METRICS: tuple[Metric, ...] = (
    # The proxy
    _gauge("build_info", RowSource(("version",), _versions), "1; the version is its label."),
    _gauge("uptime_seconds", _value("uptime"), "Seconds since the proxy started."),
    _gauge("proxy_threads", _value("process.threads"), "Threads of the proxy."),
    # The event plane
    _gauge(
        "event_plane_alive",
        _value("plane.alive"),
        "1 if a probe of the proxy's own passed the event plane lately, else 0.",
    ),
    _gauge(
        "event_plane_probe_age_seconds", _value("plane.probed"), "Seconds since a probe last passed the event plane."
    ),
    _gauge(
        "event_plane_round_trip_seconds", _value("plane.round_trip"), "Seconds that this probe took, in and out again."
    ),
    _counter(
        "event_plane_frames",
        _by_direction("plane.frames_in", "plane.frames_out"),
        "ZeroMQ frames that came in, and that were passed on (once each, to however many subscribers).",
    ),
    _counter(
        "event_plane_bytes",
        _by_direction("plane.bytes_in", "plane.bytes_out"),
        "Bytes that came in, and that were passed on (once each, to however many subscribers).",
    ),
    _counter(
        "events",
        _value("plane.events"),
        "Events that came in; estimated where fabric_events_observed_ratio is below 1.",
    ),
    _gauge(
        "events_observed_ratio",
        _value("plane.observed"),
        "Share of the events that the proxy looked at, to tell topics apart: 0 to 1.",
    ),
    _gauge("topics", _value("plane.topics"), "Topics in the proxy's table, which is bounded."),
    _gauge("retained_topics", _value("plane.retained"), "Topics whose last event is kept for late joiners."),
    _gauge("retained_bytes", _value("plane.retained_bytes"), "Bytes of these events."),
    _counter(
        "retained_evicted_topics",
        _value("plane.retained_evicted"),
        "Topics whose last event had to go because there were too many, or too large.",
    ),
    _counter(
        "retained_missed_events",
        _value("plane.retained_missed"),
        "Events of retained topics that the proxy could not take in time: the one it keeps may not be the last.",
    ),
    _counter("topic_events", _by_topic("events"), "Events of this topic, one of the busiest."),
    _counter("topic_bytes", _by_topic("bytes"), "Bytes of this topic, one of the busiest."),
    _gauge(
        "topic_last_event_timestamp_seconds", _by_topic("last"), "When an event of this topic was last seen, unix time."
    ),
    # All nodes
    _gauge("nodes", _value("nodes"), "Nodes that are here."),
    _gauge(
        "nodes_shown",
        _length("members"),
        "Nodes that have metrics of their own; with fewer than fabric_nodes some are left out.",
    ),
    _gauge("endpoints", _value("endpoints"), "Endpoints that are registered."),
    _gauge("subscriptions", _value("subscriptions"), "Subscriptions of the nodes that are here."),
    _counter(
        "nodes_lost",
        _entry("messages", "lost"),
        "Nodes that went without a word: silent for the timeout, or their connection gone.",
    ),
    _counter(
        "published_events",
        _value("published"),
        "Events that nodes accepted for other processes, of nodes that are gone, too.",
    ),
    _counter("sent_events", _value("sent"), "Events that left their nodes."),
    _counter("delivered_events", _value("delivered"), "Events from other processes that were handed to subscribers."),
    _counter("gaps", _value("gaps"), "Holes that nodes found in what arrived."),
    _counter("dropped_events", _by_key("cause", "dropped", CAUSES), "Events lost, by cause."),
    # The message plane
    _counter(
        "messages",
        _by_key("outcome", "messages", OUTCOMES, without=("lost", "nodes", "endpoints", "broadcasts")),
        "What happened to messages. An outcome is counted where it happens, so one message can be in several.",
    ),
    _gauge("hooks", _length("programs"), "Programs that run after a message was routed."),
    _counter(
        "hook_messages",
        _by_key("outcome", "hooks", HOOK_OUTCOMES, without=("queued", "running")),
        "Messages for hooks, by what became of them.",
    ),
    _gauge("hook_queued_messages", _entry("hooks", "queued"), "Messages that wait for hooks."),
    _gauge("hook_running", _entry("hooks", "running"), "Hook programs that run now."),
    # Each node
    _gauge("node_info", RowSource(("node", "host", "program"), _node_info), "1; where the node runs are its labels."),
    _gauge("node_start_time_seconds", _by_node("since", min), "When the node came, unix time."),
    _gauge("node_last_seen_timestamp_seconds", _by_node("seen", min), "When the node was last heard of, unix time."),
    _gauge("node_endpoints", _by_node("endpoints"), "Endpoints of the node."),
    _counter(
        "node_published_events", _by_node("report.published"), "Events that the node accepted for other processes."
    ),
    _counter("node_sent_events", _by_node("report.sent"), "Events that left the node."),
    _counter(
        "node_delivered_events",
        _by_node("report.delivered"),
        "Events from other processes that the node handed to its subscribers.",
    ),
    _gauge("node_outbox_events", _by_node("report.waiting"), "Events that wait in the node's outbox for the link."),
    _gauge("node_outbox_bytes", _by_node("report.waiting_bytes"), "Bytes that wait in the node's outbox for the link."),
    _gauge(
        "node_backlog_messages",
        _by_node("report.backlog"),
        "Packs of events that the node has read and not delivered yet.",
    ),
    _gauge(
        "node_lag_seconds",
        _by_node("report.lag", max),
        "Seconds between publishing and delivery of the last event that the node delivered. Clocks of two hosts differ.",
    ),
    _counter("node_gaps", _by_node("report.gaps"), "Holes that the node found in what arrived."),
    _counter(
        "node_recovered_events",
        _by_node("report.recovered"),
        "Events that were missing at first, and that the node had from their origin.",
    ),
    _counter(
        "node_dropped_events",
        _by_node_and_key("cause", _dropped),
        "Events that the node lost, by cause; no sample for a cause that has counted nothing.",
    ),
    _counter(
        "node_ignored_events",
        _by_node_and_key("reason", _ignored),
        "Events that are no loss: unwanted, superseded, joining, duplicates, rejected; no sample where there is none.",
    ),
    _gauge("node_subscriptions", _by_node("report.subscriptions"), "Subscriptions of the node's bus."),
    _gauge("node_prefixes", _by_node("report.prefixes"), "Topic prefixes that others want of the node."),
)
