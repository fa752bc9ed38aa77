"""The screen of `fabric top`, made from a record."""

import re
from dataclasses import replace

import pytest

from cli.terminal.text import cells
from cli.views.top import Snapshot, frame, plain
from cli.views.top_keys import NODES, TopView
from fabric.protocol.node_report import Report
from proxy.stats import NodeStats, PlaneStats, ProcessStats, ProxyStats, TopicStats

NOW = 1_700_000_000.0
TOPICS = (
    TopicStats("order.created", 1_234_567, 98_000_000, 1_234.0, 98_765.0, NOW - 0.2),
    TopicStats("注文.作成.日本語のとても長い名前", 10, 500, 2.0, 100.0, NOW - 70),
    TopicStats("evil\x1b[2J", 5, 5, 0.0, 0.0, NOW - 7_000),
)
MEMBERS = (
    NodeStats("app", pid=11, seen=NOW - 1, sent_rate=5.0, report=Report(delivered=3, lag=0.0012, backlog=7, waiting=9)),
    NodeStats("lossy", pid=12, seen=NOW - 2, report=Report(dropped={"outbox": 40, "missed": 2})),
    NodeStats("新しい", pid=13, seen=NOW),
)
STATS = ProxyStats(
    4242, "host", "ipc:///run/fabric", "boot", "1.2.3", uptime=7_200.0, now=NOW, nodes=3, endpoints=2, subscriptions=9,
    plane=PlaneStats(True, 0.1, 0.0007, events=1_234_582, rate=1_236.0, byte_rate=98_865.0, topics=3),
    process=ProcessStats(cpu=72.0, memory=33_000_000, descriptors=50, descriptor_limit=1_024),
    busiest=TOPICS, members=MEMBERS,
)  # fmt: skip
KNOWN = Snapshot("ipc:///run/fabric", STATS, answered=NOW)
SGR = re.compile(r"\x1b\[[\d;]*m")


def shown(known=KNOWN, view=None, columns=100, lines=30, **how):
    return frame(known, view or TopView(), columns, lines, NOW, **how)


def column(lines, name):
    """The first words of the rows below the header that begins with `name`."""
    start = next(index for index, line in enumerate(lines) if line.startswith(name))
    return [line.split()[0] for line in lines[start + 1 :]]


def test_the_header_has_the_proxy_the_traffic_and_the_losses():
    assert shown(colour=False)[1:6] == [
        "proxy   up 2h  pid 4242 on host  version 1.2.3",
        "uses    33.0 MB of memory  1 % of a core  50 of 1,024 descriptors",
        "here    3 nodes  2 endpoints  9 subscriptions  0 messages",
        "events  1,236/s  98.9 kB/s  1,234,582 in all  round trip 0.7 ms",
        "lost    0",
    ]


def test_what_was_lost_is_red_and_has_its_causes_the_worst_first():
    stats = replace(STATS, dropped={"outbox": 40, "missed": 1_200, "handlers": 0})
    assert "\x1b[31mlost    1,240 events: missed 1,200  outbox 40\x1b[0m" in shown(Snapshot("", stats))


def test_a_topic_is_a_row_with_its_rates_counts_and_age():
    row = next(line for line in shown(colour=False) if line.startswith("order"))
    assert row.split() == ["order.created", "1,234", "98.8", "kB", "1,234,567", "98.0", "MB", "0.2s"]


def test_a_node_is_a_row_and_one_that_has_not_reported_has_none_of_it():
    lines = shown(view=TopView(table=NODES), colour=False)
    rows = {line.split()[0]: line.split()[1:] for line in lines[-3:]}
    assert rows["app"] == ["11", "5.0", "0.0", "0", "1.2ms", "7", "9", "0", "1.0s"]
    assert rows["lossy"][3] == "42"
    assert rows["新しい"] == ["13", "0.0", "0.0", "-", "-", "-", "-", "-", "0.0s"]


def test_a_nodes_losses_are_red_where_there_are_some():
    lines = shown(view=TopView(table=NODES))
    assert any("\x1b[31m    42\x1b[0m" in line for line in lines)
    assert sum("\x1b[31m" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("view", "first", "order"),
    [
        (TopView(), "TOPIC", ["order.created", "注文.作成.日本語のとても長い名前", "evil\\u001b[2J"]),
        (TopView(reverse=True), "TOPIC", ["evil\\u001b[2J", "注文.作成.日本語のとても長い名前", "order.created"]),
        (TopView(topics_by="topic"), "TOPIC", ["evil\\u001b[2J", "order.created", "注文.作成.日本語のとても長い名前"]),
        (
            TopView(topics_by="last", reverse=True),
            "TOPIC",
            ["evil\\u001b[2J", "注文.作成.日本語のとても長い名前", "order.created"],
        ),
        (TopView(NODES, nodes_by="lost"), "NODE", ["lossy", "app", "新しい"]),
        (TopView(NODES, nodes_by="backlog"), "NODE", ["app", "lossy", "新しい"]),
        (TopView(NODES, nodes_by="node"), "NODE", ["app", "lossy", "新しい"]),
        (TopView(NODES, nodes_by="node", reverse=True), "NODE", ["新しい", "lossy", "app"]),
    ],
)
def test_rows_are_in_the_order_that_was_chosen(view, first, order):
    assert column(shown(view=view, colour=False), first) == order


def test_the_column_that_decides_is_marked_with_its_direction():
    assert "/S↓" in "".join(shown())
    assert "/S↑" in "".join(shown(view=TopView(reverse=True)))
    assert "TOPIC↑" in "".join(shown(view=TopView(topics_by="topic")))


@pytest.mark.parametrize("view", [TopView(), TopView(NODES), TopView(help=True), TopView(NODES, nodes_by="seen")])
@pytest.mark.parametrize("known", [KNOWN, Snapshot("ipc:///x"), KNOWN._replace(problem="no proxy is running at 日本")])
def test_nothing_is_wider_or_longer_than_the_terminal(view, known):
    for columns in (*range(1, 90), 200):
        for lines in (1, 2, 7, 8, 9, 10, 24):
            found = frame(known, view, columns, lines, NOW)
            assert 1 <= len(found) <= lines
            assert max(cells(SGR.sub("", line)) for line in found) <= columns
            assert "\x1b[2J" not in "".join(found)


@pytest.mark.parametrize("view", [TopView(NODES, nodes_by="seen"), TopView(topics_by="bytes")])
def test_the_column_that_decides_is_the_last_to_go(view):
    title = "SEEN" if view.table == NODES else "BYTES"
    for columns in range(30, 100):
        header = next(
            line for line in shown(view=view, columns=columns, colour=False) if line.startswith(("NODE", "TOPIC"))
        )
        assert f"{title}↓" in header


def test_rows_that_have_no_room_are_counted():
    lines = shown(lines=10, colour=False)
    assert lines[-2].startswith("order.created")
    assert lines[-1] == "… and 2 more"
    assert shown(view=TopView(limit=1), colour=False)[-1] == "… and 2 more"
    assert shown(lines=11, colour=False)[-1].startswith("evil")


def test_a_proxy_that_is_away_is_said_above_what_was_known_last():
    known = Snapshot("ipc:///x", STATS, problem="no proxy is running at ipc:///x", answered=NOW - 65)
    assert shown(known)[1] == "\x1b[31mno proxy is running at ipc:///x; this is 1m old; waiting for it\x1b[0m"
    assert any("order.created" in line for line in shown(known))


def test_before_anything_is_known_there_is_the_title_and_the_trouble():
    assert len(shown(Snapshot("ipc:///x"))) == 1
    assert len(shown(Snapshot("ipc:///x", problem="no proxy is running at ipc:///x"))) == 2


def test_a_plane_that_passes_nothing_on_is_red():
    stats = replace(STATS, plane=replace(STATS.plane, alive=False, probed=60.0))
    assert "\x1b[31mevents  the event plane passes nothing on\x1b[0m" in shown(Snapshot("", stats))


def test_estimates_are_marked():
    stats = replace(STATS, plane=replace(STATS.plane, observed=0.5))
    assert "~1,234,567" in "".join(shown(Snapshot("", stats)))


def test_cpu_is_that_of_the_time_since_the_record_before():
    before = replace(STATS, uptime=7_190.0, process=replace(STATS.process, cpu=67.0))
    assert "50 % of a core" in shown(KNOWN._replace(before=before), colour=False)[2]
    other = replace(before, boot="another life")
    assert "1 % of a core" in shown(KNOWN._replace(before=other), colour=False)[2]


def test_for_scripts_there_is_no_colour_and_names_are_whole():
    lines = plain(KNOWN, TopView(), 10_000, NOW)
    assert "\x1b" not in "".join(lines)
    assert column(lines, "TOPIC")[1] == "注文.作成.日本語のとても長い名前"
    assert max(cells(line) for line in lines) < 120


def test_where_nothing_is_there_that_is_said():
    empty = replace(STATS, busiest=(), members=(), nodes=0, plane=PlaneStats(True))
    assert shown(Snapshot("", empty), TopView(NODES), colour=False)[-1] == "no node is here"
    assert shown(Snapshot("", empty), colour=False)[-1].startswith("nothing has passed yet")
