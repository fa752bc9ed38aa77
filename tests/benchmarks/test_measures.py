"""Every benchmark runs, and accounts for every event; here with few events, and without looking at the numbers."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.client import ENVELOPE, PAYLOAD, SIZE
from benchmarks.groups import GROUPS
from benchmarks.local import ROWS
from benchmarks.local_rows import run_local
from benchmarks.servers import SYSTEMS

EVENTS = 200

CASES = {f"{group.name}: {case.name}": (group, case) for group in GROUPS for case in group.cases}


@pytest.fixture(scope="module")
def runs():
    """All rows that can run here, by name; some run at the same time, because each mostly waits for its processes."""
    with ThreadPoolExecutor(4) as pool:
        yield {
            name: pool.submit(group.measure, case, EVENTS)
            for name, (group, case) in CASES.items()
            if SYSTEMS[case.system].missing() is None
        }


@pytest.mark.parametrize("name", CASES)
def test_each_row_runs_and_loses_nothing(name, runs):
    if missing := SYSTEMS[CASES[name][1].system].missing():
        pytest.skip(missing)
    run = runs[name].result()
    assert run.value > 0
    assert (run.published, run.lost, run.extra) == (run.delivered + run.accounted, 0, 0)


def test_a_publisher_that_subscribes_to_its_own_events_gets_echoes(runs):
    assert runs["throughput: fabric, echo"].result().details["echoes"] > 0


def test_the_rows_about_one_process_run():
    names = [row.name for row in ROWS]
    found = run_local(names, scale=0.002, repeats=1, say=lambda _: None)
    assert list(found) == names
    assert all(len(times) == 1 and times[0] > 0 for times in found.values())


def test_a_row_about_one_process_includes_the_row_it_is_compared_with():
    found = run_local(["publish, unwanted"], scale=0.002, repeats=1, say=lambda _: None)
    assert set(found) == {"publish, unwanted", "publish, unconnected"}


def test_every_system_carries_an_event_of_the_same_size():
    import orjson

    from fabric.protocol.envelope import stamp

    assert len(orjson.dumps(ENVELOPE)) == SIZE
    assert len(orjson.dumps(stamp(ENVELOPE["type"], PAYLOAD, "tui", ENVELOPE["ts"]))) == SIZE


def test_each_group_begins_with_its_reference():
    assert all(group.cases[0].system.startswith(("reference", "fabric, uncounted")) for group in GROUPS)
    assert all(case.system in SYSTEMS for group in GROUPS for case in group.cases)
