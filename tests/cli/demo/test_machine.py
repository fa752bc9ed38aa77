import os
from itertools import pairwise
from time import process_time

from cli.demo.machine import BUSIEST_EVERY, Machine


def look_after_work(machine, seconds=0.15):
    """After some ticks of the kernel's clock, a hundredth of a second each, that we have spent computing."""
    until = process_time() + seconds
    while process_time() < until:
        sum(range(1_000))
    return machine.look()


def test_a_look_says_how_busy_this_machine_is():
    told = look_after_work(Machine())
    cpu, memory = told["machine.cpu"], told["machine.memory"]
    assert 0 < cpu["busy"] <= 100
    assert cpu["switches"] >= 0
    assert cpu["cores"] == os.cpu_count()
    assert 0 < memory["used"] < 100
    assert memory["used_mb"] + memory["free_mb"] > 100


def test_who_computes_is_among_the_busiest_and_they_are_sorted():
    processes = look_after_work(Machine())["machine.busiest"]["processes"]
    assert 1 <= len(processes) <= 3
    assert processes == sorted(processes, key=lambda process: -process["cpu"])
    assert all(process["cpu"] > 0 and process["name"] for process in processes)


def test_memory_is_told_when_it_has_changed_and_the_busiest_now_and_then():
    machine = Machine()
    looks = [look_after_work(machine, 0.04) for _ in range(BUSIEST_EVERY * 2)]
    assert [n for n, told in enumerate(looks) if "machine.busiest" in told] == [0, BUSIEST_EVERY]
    told = [look["machine.memory"] for look in looks if "machine.memory" in look]
    assert all(before != after for before, after in pairwise(told))


def test_the_busiest_are_told_only_if_there_are_any():
    machine = Machine()
    looks = [machine.look() for _ in range(3)]
    assert all(look["machine.busiest"]["processes"] for look in looks if "machine.busiest" in look)


def test_looks_in_quick_succession_divide_nothing_by_zero():
    machine = Machine()
    for _ in range(5):
        assert 0 <= machine.look()["machine.cpu"]["busy"] <= 100
