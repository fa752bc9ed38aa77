"""The table of metrics: names, labels, bounds, and sources of the numbers."""

import re
from dataclasses import fields

from fabric.protocol.node_report import MAX_CAUSES, Report
from proxy.metrics.table import CAUSES, MAX_NODES, MAX_TOPICS, METRICS, OUTCOMES, exposition
from proxy.stats import NodeStats, PlaneStats, ProcessStats, ProxyStats, TopicStats


def stats(**facts):
    return ProxyStats(pid=7, host="here", url="ipc:///run/fabric", boot="b0", version="1.2.3", **facts)


def read(record):
    """{metric: {label values: number}}"""
    return {metric.name: dict(samples) for metric, samples in exposition(record)}


def test_names_follow_the_conventions():
    for metric in METRICS:
        assert re.fullmatch(r"fabric(_[a-z]+)+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.help[0].isupper() or metric.help[0].isdigit(), metric.name
        assert metric.help.endswith("."), metric.name
        assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels), metric.name


def test_names_are_unique():
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


def test_each_sample_has_a_value_for_each_label():
    record = stats(
        busiest=(TopicStats("a"),), members=(NodeStats("n", report=Report(dropped={"outbox": 1}, joining=1)),)
    )
    for metric, samples in exposition(record):
        assert samples, metric.name
        assert all(len(values) == len(metric.labels) for values, _ in samples), metric.name


def test_every_number_of_the_record_is_exported_but_rates_and_process_metrics():
    """Each field of the record gets a distinct number, which must be among the exported ones."""
    number = iter(range(1_000, 2_000))

    def filled(kind, *others, **given):
        values = {
            each.name: next(number)
            for each in fields(kind)
            if each.type in ("int", "float") and each.name not in others
        }
        return kind(**{**values, **given})

    report = Report(*(next(number) for _ in Report._fields[:-1]), dropped={"outbox": next(number)})
    plane = filled(PlaneStats, "rate", "byte_rate")
    process = ProcessStats(threads=next(number))
    topic = filled(TopicStats, "rate", "byte_rate", topic="a")
    node = filled(NodeStats, "pid", "sent_rate", "delivered_rate", node="n", report=report)
    record = filled(
        ProxyStats,
        "pid",
        "now",
        pid=7,
        host="here",
        url="u",
        boot="b",
        version="1",
        plane=plane,
        process=process,
        dropped={"missed": next(number)},
        messages={"messages": next(number), "lost": next(number)},
        hooks={"done": next(number), "queued": next(number), "running": next(number)},
        busiest=(topic,),
        members=(node,),
    )
    shown = {value for samples in read(record).values() for value in samples.values()}
    assert sorted(set(range(1_000, next(number))) - shown) == []


def test_known_causes_and_outcomes_are_exported_from_the_start():
    shown = read(stats())
    assert shown["fabric_dropped_events_total"] == {(cause,): 0.0 for cause in CAUSES}
    assert shown["fabric_messages_total"] == {(outcome,): 0.0 for outcome in OUTCOMES}


def test_the_outcomes_are_those_that_the_directory_counts():
    from proxy.messages.directory import Directory

    counted = set(Directory("boot", 0.0).stats()) - {"nodes", "endpoints", "broadcasts", "lost"}
    assert counted == set(OUTCOMES)


def test_lost_nodes_and_present_numbers_are_not_outcomes_of_messages():
    shown = read(stats(messages={"messages": 3, "lost": 2, "nodes": 9, "endpoints": 9, "broadcasts": 9}))
    assert shown["fabric_nodes_lost_total"] == {(): 2.0}
    assert sum(shown["fabric_messages_total"].values()) == 3


def test_nodes_of_one_name_share_a_series():
    members = (
        NodeStats("twin", since=1.0, report=Report(sent=2, lag=0.5, dropped={"outbox": 1})),
        NodeStats("twin", since=2.0, report=Report(sent=3, lag=0.2, dropped={"outbox": 2})),
    )
    shown = read(stats(members=members))
    assert shown["fabric_node_sent_events_total"] == {("twin",): 5.0}
    assert shown["fabric_node_lag_seconds"] == {("twin",): 0.5}
    assert shown["fabric_node_dropped_events_total"] == {("twin", "outbox"): 3.0}
    assert shown["fabric_node_start_time_seconds"] == {("twin",): 1.0}


def test_a_node_that_has_not_reported_has_no_counts():
    shown = read(stats(members=(NodeStats("new", endpoints=1),)))
    assert shown["fabric_node_endpoints"] == {("new",): 1.0}
    assert shown["fabric_node_sent_events_total"] == {}


def test_nodes_are_bounded_and_the_longest_present_are_exported():
    members = tuple(NodeStats(f"n{number}", since=float(-number)) for number in range(MAX_NODES + 50))
    shown = read(stats(nodes=len(members), members=members))
    assert len(shown["fabric_node_start_time_seconds"]) == MAX_NODES
    assert ("n0",) not in shown["fabric_node_start_time_seconds"]
    assert shown["fabric_nodes"] == {(): MAX_NODES + 50}
    assert shown["fabric_nodes_shown"] == {(): MAX_NODES}


def test_topics_are_bounded_and_the_busiest_are_exported():
    shown = read(stats(busiest=tuple(TopicStats(f"t{number}") for number in range(MAX_TOPICS + 1))))
    assert len(shown["fabric_topic_events_total"]) == MAX_TOPICS
    assert (f"t{MAX_TOPICS}",) not in shown["fabric_topic_events_total"]


def test_unknown_causes_are_bounded_and_the_rest_is_added_up():
    dropped = {f"cause{number}": 1 for number in range(100)}
    shown = read(stats(dropped=dropped))["fabric_dropped_events_total"]
    assert len(shown) == MAX_CAUSES + 1
    assert sum(shown.values()) == 100
    assert shown["other",] == 100 - (MAX_CAUSES - len(CAUSES))
