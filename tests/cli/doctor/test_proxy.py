"""The doctor's checks of the answers of a proxy."""

from dataclasses import replace

import pytest

from cli.doctor.findings import OK, WARNING, WRONG
from cli.doctor.proxy import Answered, clock, limits, lost, round_trips, silent_nodes, versions
from fabric import __version__
from proxy import client
from proxy.health.self_check import CheckResult
from proxy.stats import NodeStats, PlaneStats, ProcessStats, ProxyStats

STATS = ProxyStats(1, "h", "u", "b", __version__, uptime=60.0, now=1_000.0, plane=PlaneStats(True, 0.1, 0.001))


@pytest.mark.parametrize(
    ("skew", "round_trip", "level"),
    [(0.2, 0.001, OK), (-0.2, 0.001, OK), (2.0, 0.001, WARNING), (-2.0, 0.001, WARNING), (2.0, 4.0, OK)],
)
def test_a_clock_is_wrong_by_more_than_the_question_took(skew, round_trip, level):
    assert clock(Answered(STATS, round_trip, skew)).level == level


def test_a_clock_that_is_ahead_is_not_behind():
    assert "2.0 s ahead of ours" in clock(Answered(STATS, 0.001, 2.0)).text
    assert "2.0 s behind ours" in clock(Answered(STATS, 0.001, -2.0)).text


@pytest.mark.parametrize(
    ("process", "levels"),
    [
        (ProcessStats(descriptors=50, descriptor_limit=20_000), [OK]),
        (ProcessStats(descriptors=50, descriptor_limit=-1), [OK]),
        (ProcessStats(descriptors=50, descriptor_limit=1_024), [WARNING]),
        (ProcessStats(descriptors=1_000, descriptor_limit=1_024), [WRONG]),
        (ProcessStats(descriptors=50, descriptor_limit=20_000, memory=2_000_000_000), [WARNING]),
    ],
)
def test_a_proxy_near_its_limits_is_reported_before_it_reaches_them(process, levels):
    assert [each.level for each in limits(replace(STATS, process=process))] == levels


def test_other_versions_and_vulnerable_ones_are_reported():
    same = replace(STATS, libraries=client.libraries())
    assert [each.level for each in versions(same)] == [OK]
    assert "the proxy's are the same" in versions(same)[0].text
    older = replace(STATS, version="0.0.1", libraries=("libzmq 4.3.2", "pyzmq 19.0.0"))
    found = versions(older)
    assert [each.level for each in found] == [WARNING, WARNING, OK]
    assert "the proxy is version 0.0.1" in found[0].text
    assert "CVE" in found[1].text
    assert "libzmq 4.3.2, pyzmq 19.0.0" in found[2].text


def test_a_node_whose_heartbeats_have_stopped_is_reported():
    members = (NodeStats("late", pid=7, host="h", seen=988.0), NodeStats("here", seen=999.0))
    (quiet,) = silent_nodes(replace(STATS, members=members))
    assert quiet.text == "late (pid 7 on h) has not been heard for 12s"


def test_a_plane_through_which_nothing_comes_is_wrong():
    (problem,) = round_trips(CheckResult(None, 0.001), STATS, 0.001, 1.0)
    assert (problem.level, problem.text) == (WRONG, "nothing came through the plane of events within 1 s")


def test_a_plane_that_is_slow_is_a_warning_and_one_that_is_not_is_fine():
    (slow,) = round_trips(CheckResult(0.001, 0.25), STATS, 0.001, 1.0)
    assert (slow.level, slow.text) == (WARNING, "messages take 250 ms there and back")
    (fine,) = round_trips(CheckResult(0.001, 0.002), STATS, 0.003, 1.0)
    assert (fine.level, fine.text) == (OK, "messages 2.0 ms, events 1.0 ms, its record 3.0 ms")


def test_probes_of_the_proxys_own_that_do_not_come_through_are_a_warning():
    stats = replace(STATS, plane=PlaneStats(False, 60.0, 0.001))
    found = round_trips(CheckResult(0.001, 0.001), stats, 0.001, 1.0)
    assert [each.level for each in found] == [OK, WARNING]


def test_losses_are_reported_by_cause_with_a_remedy():
    assert [each.level for each in lost(STATS)] == [OK]
    found = lost(replace(STATS, dropped={"missed": 3}, messages={"malformed": 2}))
    assert [each.text for each in found] == [
        "3 events that left another node and never arrived",
        "2 messages to the proxy made no sense",
    ]
    assert "fabric top" in found[0].fix
