"""Repeats, order and ratios, with invented runs."""

import pytest

from benchmarks import harness
from benchmarks.groups import GROUPS, Group
from benchmarks.measures import Case, Run
from benchmarks.processes import ProcessFailed
from benchmarks.spreads import percentiles

CASES = (Case("reference", "reference"), Case("fabric", "fabric", target=2.0), Case("nats-py", "nats"))


def group_of(measure, **more):
    return Group("made-up", "Made up", "events/s", True, measure, CASES, ours="fabric", **more)


def run_of(value, *, delivered=10, accounted=0):
    return Run(value, {"publisher": 2e-6}, 10, delivered, accounted)


def run(group, repeats=3, heard=None):
    say = (heard if heard is not None else []).append
    return harness.run(group, CASES, events=10, repeats=repeats, say=say)


def test_each_repeat_begins_one_case_later():
    heard = []
    run(group_of(lambda case, events: run_of(1.0)), heard=heard)
    assert [line.partition(": ")[2] for line in heard] == [
        *("reference", "fabric", "nats-py"),
        *("fabric", "nats-py", "reference"),
        *("nats-py", "reference", "fabric"),
    ]


def test_a_ratio_is_taken_between_runs_of_one_repeat():
    # The machine becomes ten times slower each time, which changes no ratio.
    speeds = {case.name: iter([1000.0, 100.0, 10.0]) for case in CASES}
    factors = {"reference": [1, 1, 1], "fabric": [2, 3, 4], "nats-py": [1, 1, 2]}
    factors = {name: iter(values) for name, values in factors.items()}
    result = run(group_of(lambda case, events: run_of(next(speeds[case.name]) * next(factors[case.name]))))
    rows = {row.name: row for row in result.rows}
    assert rows["reference"].ratio == (1, 1, 1)
    assert rows["fabric"].ratio == (3, 2, 4)
    assert rows["fabric"].met(True)
    assert not rows["fabric"].met(False)
    assert result.against == {"nats-py": (2, 2, 3)}


def test_if_less_is_better_the_comparison_with_peers_is_inverted():
    times = {"reference": 1.0, "fabric": 2.0, "nats-py": 6.0}
    group = group_of(lambda case, events: run_of(times[case.name]))._replace(more_is_better=False)
    assert run(group).against == {"nats-py": (3, 3, 3)}


def test_a_case_that_fails_does_not_affect_the_others():
    def measure(case, events):
        if case.name == "nats-py":
            raise ProcessFailed("it did not start")
        return run_of(1.0)

    result = run(group_of(measure))
    rows = {row.name: row for row in result.rows}
    assert rows["nats-py"].failures == ("it did not start",) * 3
    assert rows["nats-py"].ratio is None
    assert rows["fabric"].ratio == (1, 1, 1)


def test_lost_and_counted_events_are_added():
    result = run(group_of(lambda case, events: run_of(1.0, delivered=7, accounted=2)))
    assert [(row.published, row.lost, row.accounted) for row in result.rows] == [(30, 3, 6)] * 3


def test_an_absolute_limit_applies_to_the_value():
    limited = (Case("reference", "reference"), Case("fabric", "fabric", limit=0.5))
    result = harness.run(group_of(lambda case, events: run_of(0.4)), limited, events=1, repeats=1, say=lambda _: None)
    assert [row.met(False) for row in result.rows] == [None, True]


def test_a_peer_that_is_not_installed_is_skipped_and_reported(monkeypatch):
    monkeypatch.setattr("benchmarks.servers.program", lambda name: None)
    heard = []
    cases = harness.chosen(GROUPS[0], peers=True, say=heard.append)
    assert {case.system for case in cases} <= {"reference", "fabric", "zenoh peers", "zenoh router"}
    assert any(line.endswith("there is no nats-server on this machine.") or "nats" in line for line in heard)
    assert len(heard) == len(set(heard))


def test_peers_can_be_left_out():
    cases = harness.chosen(GROUPS[0], peers=False, say=pytest.fail)
    assert {case.system for case in cases} == {"reference", "fabric"}


def test_percentiles_are_values_that_were_measured():
    assert percentiles(range(1, 101)) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert percentiles([7]) == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    with pytest.raises(ValueError, match="nothing was measured"):
        percentiles([])
