import os
from itertools import pairwise
from time import process_time

from cli.demo.machine import BUSIEST_EVERY, Machine


def measure_after_work(machine, seconds=0.15):
    """Measure after computing for some ticks of the kernel's clock, which are a hundredth of a second each."""
    until = process_time() + seconds
    while process_time() < until:
        sum(range(1_000))
    return machine.measure()


def test_a_measurement_has_load_and_memory_of_this_machine():
    told = measure_after_work(Machine())
    cpu, memory = told["machine.cpu"], told["machine.memory"]
    assert 0 < cpu["busy"] <= 100
    assert cpu["switches"] >= 0
    assert cpu["cores"] == os.cpu_count()
    assert 0 < memory["used"] < 100
    assert memory["used_mb"] + memory["free_mb"] > 100


def test_a_process_that_computes_is_among_the_busiest_which_are_sorted():
    processes = measure_after_work(Machine())["machine.busiest"]["processes"]
    assert 1 <= len(processes) <= 3
    assert processes == sorted(processes, key=lambda process: -process["cpu"])
    assert all(process["cpu"] > 0 and process["name"] for process in processes)


def test_memory_is_published_when_it_has_changed_and_the_busiest_at_intervals():
    machine = Machine()
    measures = [measure_after_work(machine, 0.04) for _ in range(BUSIEST_EVERY * 2)]
    assert [n for n, told in enumerate(measures) if "machine.busiest" in told] == [0, BUSIEST_EVERY]
    told = [each["machine.memory"] for each in measures if "machine.memory" in each]
    assert all(before != after for before, after in pairwise(told))


def test_the_busiest_are_published_only_if_there_are_any():
    machine = Machine()
    measures = [machine.measure() for _ in range(3)]
    assert all(each["machine.busiest"]["processes"] for each in measures if "machine.busiest" in each)


def test_measurements_in_quick_succession_divide_nothing_by_zero():
    machine = Machine()
    for _ in range(5):
        assert 0 <= machine.measure()["machine.cpu"]["busy"] <= 100
