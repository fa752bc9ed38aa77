"""Queues and their threads: bounded, in order, and nobody who puts something in waits."""

import threading
from time import monotonic

import pytest

from fabric.system import worker_pool
from fabric.system.worker_pool import Job, WorkerPool
from fabric.testing import wait_until


@pytest.fixture
def lane():
    made = []

    def make(**options):
        made.append(WorkerPool("test", **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert each.join(monotonic() + 10)


def threads():
    return [each for each in threading.enumerate() if each.name == "fabric-rules-test"]


def test_one_at_a_time_they_are_done_in_order(lane):
    done, one = [], lane()
    for number in range(100):
        one.put(Job(lambda number=number: done.append(number)))
    assert one.wait(monotonic() + 10)
    assert done == list(range(100))


def test_at_most_so_many_run_at_a_time(lane):
    gate, running = threading.Event(), []
    one = lane(concurrency=3)
    for number in range(10):
        one.put(Job(lambda number=number: (running.append(number), gate.wait(10))))
    wait_until(lambda: len(running) == 3)
    assert len(threads()) == 3
    gate.set()
    assert one.wait(monotonic() + 10)
    assert sorted(running) == list(range(10))


def test_when_it_is_full_the_oldest_gives_way_and_is_told(lane):
    gate, done, dropped = threading.Event(), [], []
    one = lane(limit=2)
    one.put(Job(lambda: gate.wait(10)))
    wait_until(lambda: one._running)
    for number in range(5):
        one.put(Job(lambda number=number: done.append(number), lambda number=number: dropped.append(number)))
    assert dropped == [0, 1, 2]
    gate.set()
    assert one.wait(monotonic() + 10)
    assert done == [3, 4]


def test_it_is_full_of_bytes_too_but_one_job_of_any_size_is_taken(lane):
    gate, done, dropped = threading.Event(), [], []
    one = lane(max_bytes=10)
    one.put(Job(lambda: gate.wait(10)))
    wait_until(lambda: one._running)
    for size in (6, 4, 1, 100):
        one.put(Job(lambda size=size: done.append(size), lambda size=size: dropped.append(size), size))
    assert dropped == [6, 4, 1]
    gate.set()
    assert one.wait(monotonic() + 10)
    assert done == [100]


def test_a_job_that_raises_is_logged_and_the_next_one_is_done(lane, caplog):
    done, one = [], lane()
    one.put(Job(lambda: 1 / 0))
    one.put(Job(lambda: done.append(1)))
    assert one.wait(monotonic() + 10)
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text


def test_threads_go_when_there_is_nothing_to_do_and_come_back(lane, monkeypatch):
    monkeypatch.setattr(worker_pool, "LINGER", 0.01)
    done, one = [], lane()
    for number in range(2):
        one.put(Job(lambda number=number: done.append(number)))
        wait_until(lambda number=number: done == list(range(number + 1)))
        wait_until(lambda: not threads())


def test_closing_drops_what_waits_lets_what_runs_know_and_takes_nothing_more(lane):
    dropped, one, ended = [], lane(), []
    one.put(Job(lambda: ended.append(wait_until(lambda: one.closing))))
    wait_until(lambda: one._running)
    one.put(Job(lambda: None, lambda: dropped.append(1)))
    one.close()
    one.put(Job(lambda: None, lambda: dropped.append(2)))
    assert one.join(monotonic() + 10)
    assert (dropped, ended) == ([1, 2], [True])


def test_a_wait_ends_when_its_time_is_over(lane):
    gate, one = threading.Event(), lane()
    one.put(Job(lambda: gate.wait(10)))
    assert not one.wait(monotonic() + 0.01)
    assert not one.join(monotonic() + 0.01)
    gate.set()
    assert one.wait(monotonic() + 10)


def test_a_started_pool_has_all_its_threads_and_keeps_them_until_it_is_closed(lane):
    gate, one = threading.Event(), lane(concurrency=3, linger=None)
    one.start()
    assert len(threads()) == 3
    for _ in range(5):
        one.put(Job(lambda: gate.wait(10)))
    wait_until(lambda: (one.running, one.queued) == (3, 2))
    gate.set()
    assert one.wait(monotonic() + 10)
    assert (one.running, one.queued, len(threads())) == (0, 0, 3)
    one.close()
    assert one.join(monotonic() + 10)
    wait_until(lambda: not threads())


def test_its_threads_have_the_name_that_they_are_given(lane):
    one = lane(prefix="fabric-other")
    one.start()
    assert [each.name for each in threading.enumerate() if each.name.startswith("fabric-other")] == [
        "fabric-other-test"
    ]
