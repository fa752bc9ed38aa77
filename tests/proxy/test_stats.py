import dataclasses

import orjson
import pytest

from fabric.errors import WireError
from fabric.protocol.node_report import Report
from proxy.stats import NodeStats, PlaneStats, ProcessStats, ProxyStats, TopicStats, stats_from

FULL = ProxyStats(
    pid=1,
    host="here",
    url="ipc:///run/fabric",
    boot="ab",
    version="1",
    uptime=2.5,
    plane=PlaneStats(alive=True, round_trip=0.001, frames_in=4),
    process=ProcessStats(cpu=0.5, memory=1024),
    messages={"messages": 3},
    dropped={"outbox": 2, "missed": 1},
    programs=("notify",),
    busiest=(TopicStats("a.b", 3, 90, 1.5),),
    members=(NodeStats("n", report=Report(sent=3, dropped={"outbox": 2})), NodeStats("silent")),
)


def through_json(stats):
    return stats_from(orjson.loads(orjson.dumps(stats.as_json())))


def test_the_record_is_the_same_at_the_other_end():
    assert through_json(FULL) == FULL


def test_lost_events_are_the_sum_over_the_causes():
    assert FULL.lost == 3


def test_the_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.pid = 2


def test_keys_of_a_newer_proxy_are_skipped():
    facts = FULL.as_json()
    facts["colour"] = facts["plane"]["colour"] = "red"
    assert stats_from(facts) == FULL


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "1"},
        {"pid": True},
        {"uptime": None},
        {"uptime": float("inf")},
        {"plane": []},
        {"plane": {"alive": 1}},
        {"messages": {"messages": "3"}},
        {"messages": []},
        {"busiest": {}},
        {"busiest": [{"events": 3}]},
        {"busiest": ["a.b"]},
        {"members": [{"node": "n", "report": []}]},
        {"members": [{"node": "n", "report": {"sent": -1}}]},
        {"programs": [1]},
    ],
)
def test_a_malformed_record_is_refused(change):
    with pytest.raises(WireError):
        stats_from({**FULL.as_json(), **change})


@pytest.mark.parametrize("facts", [None, [], 1, "stats", {}, {"pid": 1}])
def test_another_json_value_is_refused(facts):
    with pytest.raises(WireError):
        stats_from(facts)
