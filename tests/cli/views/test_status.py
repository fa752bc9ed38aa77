"""The screen of `fabric status`, made from records of every kind."""

import re
from dataclasses import replace

import pytest

from cli.terminal.text import cells
from cli.views.status import SILENCE_TIMEOUT, is_silent, overview
from fabric.config.address import parse_address
from fabric.protocol.node_report import Report
from proxy.client import Status
from proxy.stats import NodeStats, PlaneStats, ProcessStats, ProxyStats, TopicStats

ADDRESS = parse_address("ipc:///run/fabric")
ALIVE = PlaneStats(alive=True, probed=0.4, round_trip=0.0007, events=1_234_567, rate=1_234.0, byte_rate=5e6, topics=40)
NASTY = "\x1b[2J\u202e" + "名" * 60


def record(**facts):
    facts = {"plane": ALIVE, "uptime": 300_000.0, "now": 1_000.0, **facts}
    return ProxyStats(pid=42, host="h", url="ipc:///x", boot="b", version="1.2", **facts)


def member(name, host="h", **report):
    return NodeStats(name, host=host, pid=4_194_304, sent_rate=9_999.0, report=Report(**report))


def shown(stats, columns=80, endpoints=(), **how):
    return overview(Status(stats, [{"endpoint": each} for each in endpoints], [], False), ADDRESS, columns, **how)


def test_a_fabric_without_problems_is_shown_in_a_few_lines():
    lines = shown(record(process=ProcessStats(0, 41_000_000, 49, 20_000, 4)))
    assert lines[:2] == [
        "proxy     up 3d at ipc:///run/fabric, pid 42 on h, version 1.2,",
        "          41.0 MB of memory, 49 of 20,000 descriptors, log stderr",
    ]
    assert "events    alive (round trip 0.7 ms), 1,234/s, 5.0 MB/s, 1,234,567 so far" in lines
    assert "lost      nothing was lost" in lines
    assert "no node is here" in lines


def test_estimates_are_marked_with_the_share_that_was_sampled():
    plane = PlaneStats(alive=True, probed=0.1, round_trip=0.001, events=1_000, observed=0.042, rate=10.0, topics=1)
    lines = "\n".join(shown(record(plane=plane, busiest=(TopicStats("a.b", 900, 5),))))
    assert "~1,000 so far (estimated: 4.2 % was looked at)" in lines
    assert re.search(r"a\.b +~900 +~0\.0", lines)


def test_retained_events_are_counted_if_there_are_any():
    plane = replace(ALIVE, retained=1, retained_bytes=1_500)
    assert "retained  1 last event, 1.5 kB" in shown(record(plane=plane))
    plane = replace(plane, retained=1_200, retained_evicted=3, retained_missed=4)
    assert "retained  1,200 last events, 1.5 kB, 3 evicted, 4 missed" in shown(record(plane=plane))
    assert not any(line.startswith("retained") for line in shown(record()))


def test_every_loss_is_red_with_its_cause_and_its_nodes():
    members = tuple(member(f"n{i}", dropped={"missed": 10 + i}) for i in range(6))
    stats = record(nodes=6, members=members, dropped={"missed": 100, "outbox": 1}, messages={"busy": 2})
    lines = shown(stats, colour=True)
    start = next(place for place, line in enumerate(lines) if "lost   " in line)
    assert lines[start : start + 5] == [
        f"\x1b[31m{line}\x1b[0m"
        for line in (
            "lost      100 events that left another node and never arrived (missed)",
            "              n5 15, n4 14, n3 13, n2 12, 2 more nodes 21,",
            "              nodes that are gone 25",
            "          1 event that waited for a proxy too long, or with too many others (outbox)",
            "              nodes that are gone 1",
        )
    ]
    assert "\x1b[31m          2 messages for nodes that did not read; senders were told (busy)\x1b[0m" in lines
    assert sum("\x1b[31m" in line for line in lines) == 12
    assert not any("\x1b" in line for line in shown(stats))


def test_nodes_with_problems_come_first_and_the_number_of_others_is_shown():
    members = [member(f"n{i:02}") for i in range(10)]
    members += [member("slow", backlog=3), member("lossy", dropped={"missed": 1})]
    lines = shown(record(nodes=1_200, members=tuple(members), truncated=True))
    start = next(place for place, line in enumerate(lines) if line.startswith("NODE"))
    assert [line.split()[0] for line in lines[start + 1 : start + 4]] == ["lossy", "slow", "n00"]
    assert lines[start + 9] == "… and 1,192 more: fabric status --all"
    everything = shown(record(nodes=1_200, members=tuple(members)), everything=True)
    assert "… and 1,188 more: fabric ls" in everything
    assert any(line.startswith("n09") for line in everything)


def test_hosts_are_shown_where_there_are_others():
    here, there = member("a"), member("b", host="elsewhere")
    assert "HOST" not in "\n".join(shown(record(nodes=1, members=(here,))))
    assert "PID" not in "\n".join(shown(record(nodes=2, members=(here, there))))
    wide = "\n".join(shown(record(nodes=2, members=(here, there)), columns=120))
    assert re.search(r"b +elsewhere +4194304", wide)


def test_a_node_that_has_not_reported_yet_has_no_numbers():
    lines = shown(record(nodes=1, members=(NodeStats("fresh", host="h", pid=7),)))
    assert next(line for line in lines if line.startswith("fresh")).split()[1:] == ["7", "0", *"-------"]


def test_endpoints_are_named_as_far_as_a_line_holds_them():
    names = [f"endpoint-{i:03}" for i in range(300)]
    (line,) = [line for line in shown(record(endpoints=300), endpoints=names) if "endpoints:" in line]
    assert line.startswith("300 endpoints: endpoint-000, endpoint-001, ")
    assert re.search(r"… and 29\d more: fabric ls$", line)
    everything = "\n".join(shown(record(endpoints=300), endpoints=names, everything=True))
    assert all(name in everything for name in names)
    assert "1 endpoint: worker" in shown(record(endpoints=1), endpoints=["worker"])


@pytest.mark.parametrize(
    ("plane", "uptime", "silent"),
    [
        (ALIVE, 99.0, False),
        (PlaneStats(), 1.0, False),  # not probed yet
        (PlaneStats(), SILENCE_TIMEOUT + 1, True),  # never answered
        (PlaneStats(False, 1.5, 0.001), 99.0, False),  # late by a beat
        (PlaneStats(False, SILENCE_TIMEOUT + 1, 0.001), 99.0, True),
        (PlaneStats(True, SILENCE_TIMEOUT + 1, 0.001), 99.0, True),  # the thread that probes it is stuck
    ],
)
def test_a_plane_is_silent_when_nothing_came_through_for_a_while(plane, uptime, silent):
    stats = record(plane=plane, uptime=uptime)
    assert is_silent(stats) is silent
    assert any("silent" in line and "\x1b[31m" in line for line in shown(stats, colour=True)) is silent


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("everything", [True, False])
def test_it_fits_and_nothing_that_others_wrote_acts_on_a_terminal(columns, everything):
    stats = record(
        nodes=30,
        endpoints=20,
        members=tuple(
            member(f"{NASTY}{i}", host=NASTY[: i + 4], waiting=10**9, lag=-5.5, delivered=1) for i in range(30)
        ),
        busiest=tuple(TopicStats(f"{NASTY}.{i}", 10**12, 10**15, 1e6, 1e9) for i in range(30)),
        messages={NASTY[:20]: 10**9, "messages": 10**12, "acknowledged": 10**12, "refused": 10**9},
        hooks={"done": 10**9, "timed_out": 5},
        programs=("/bin/true", NASTY[:20]),
        log=NASTY[:10],
    )
    lines = shown(stats, columns, endpoints=[f"{NASTY[:20]}-{i}" for i in range(20)], everything=everything)
    assert all(line.isprintable() for line in lines)
    assert max(cells(line) for line in lines) <= columns
