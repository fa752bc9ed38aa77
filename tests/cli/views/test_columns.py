"""The columns of topics and nodes, and the table of topics."""

import pytest

from cli.terminal.table import RED, Cell
from cli.terminal.text import cells
from cli.views.columns import NODE_COLUMNS, TOPIC_COLUMNS, share, topic_table
from fabric.protocol.node_report import Report
from proxy.stats import NodeStats, PlaneStats, ProxyStats, TopicStats

STATS = ProxyStats(1, "h", "ipc:///x", "b", "1", now=100.0)


def shown(columns, row, stats=STATS):
    return {name: column.text(row, stats) for name, column in columns.items()}


def test_a_topic_shows_its_counts_its_rates_and_its_age():
    assert shown(TOPIC_COLUMNS, TopicStats("a", 12_345, 2_000, 7.25, 1e6, last=98.0)) == {
        "topic": "a", "rate": "7.2", "byte_rate": "1.0 MB", "events": "12,345", "bytes": "2.0 kB", "last": "2.0s",
    }  # fmt: skip


def test_a_node_shows_what_it_reported():
    report = Report(delivered=3, lag=0.0012, backlog=7, waiting=12_345, subscriptions=2, dropped={"missed": 4})
    row = NodeStats(
        "app", host="h" * 20, pid=7, seen=99.0, endpoints=1, sent_rate=5.0, delivered_rate=50.0, report=report
    )
    assert shown(NODE_COLUMNS, row) == {
        "node": "app", "host": "h" * 11 + "…", "pid": "7", "endpoints": "1", "sent": "5.0", "delivered": "50",
        "lost": "4", "lag": "1.2ms", "backlog": "7", "waiting": "12.3k", "subscriptions": "2", "seen": "1.0s",
    }  # fmt: skip


def test_a_node_that_has_not_reported_yet_shows_a_dash_for_what_it_would_report_and_is_sorted_last():
    row = NodeStats("new", pid=7, seen=100.0)
    unknown = {name for name, text in shown(NODE_COLUMNS, row).items() if text == "-"}
    assert unknown == {"lost", "lag", "backlog", "waiting", "subscriptions"}
    assert NODE_COLUMNS["lost"].value(row) < NODE_COLUMNS["lost"].value(NodeStats("a", report=Report()))


@pytest.mark.parametrize(("lost", "is_red"), [(0, False), (1, True)])
def test_a_loss_is_red(lost, is_red):
    text = NODE_COLUMNS["lost"].text(NodeStats("a", report=Report(dropped={"missed": lost})), STATS)
    assert (text, isinstance(text, Cell) and text.sgr == RED) == (str(lost), is_red)


def test_no_topics_are_no_table():
    assert topic_table([], STATS, 80) == []


def test_estimates_are_marked_and_their_share_is_never_100_percent():
    stats = ProxyStats(1, "h", "ipc:///x", "b", "1", now=9.0, plane=PlaneStats(observed=0.99999))
    assert topic_table([TopicStats("a", 7, 8, 9.0, 10.0, last=1.0)], stats, 80)[1].split() == [
        "a", "~7", "~9.0", "~8", "B", "~10", "B", "8.0s",
    ]  # fmt: skip
    assert share(stats) == "99.9 %"


def test_nothing_of_others_acts_on_a_terminal():
    stats = ProxyStats(1, "h", "ipc:///x", "b", "1")
    rows = [TopicStats("\x1b[2J" + "名" * 90, 10**15, 10**15, 1e9, 1e12, last=-1e9), TopicStats("\u202e")]
    lines = topic_table(rows, stats, 80)
    assert all(line.isprintable() for line in lines)
    assert max(map(cells, lines)) <= 80
