"""A bounded queue and its threads: jobs run in order, the oldest are dropped, `put` never waits."""

import threading
from time import monotonic

import pytest

from fabric.system.worker_pool import Job, WorkerPool
from fabric.testing import wait_until


@pytest.fixture
def pool():
    made = []

    def make(**options):
        made.append(WorkerPool("test-jobs", **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert each.join(monotonic() + 10)


def threads():
    return [each for each in threading.enumerate() if each.name == "fabric-test-jobs"]


def occupied(pool):
    """Let the pool run a job until the event is set."""
    gate = threading.Event()
    pool.put(Job(lambda: gate.wait(10)))
    wait_until(lambda: pool.stats()["running"] == 1)
    return gate


def test_with_one_thread_jobs_run_in_order(pool):
    done, one = [], pool()
    for number in range(100):
        one.put(Job(lambda number=number: done.append(number)))
    assert one.wait(monotonic() + 10)
    assert done == list(range(100))


def test_no_more_jobs_run_at_a_time_than_the_concurrency_allows(pool):
    gate, running = threading.Event(), []
    one = pool(concurrency=3)
    for number in range(10):
        one.put(Job(lambda number=number: (running.append(number), gate.wait(10))))
    wait_until(lambda: len(running) == 3)
    assert one.stats() == {"waiting": 7, "running": 3, "threads": 3}
    gate.set()
    assert one.wait(monotonic() + 10)
    assert sorted(running) == list(range(10))


def test_a_full_queue_drops_the_oldest_job_and_calls_its_dropped(pool):
    done, dropped = [], []
    one = pool(limit=2)
    gate = occupied(one)
    for number in range(5):
        one.put(Job(lambda number=number: done.append(number), lambda number=number: dropped.append(number)))
    assert dropped == [0, 1, 2]
    gate.set()
    assert one.wait(monotonic() + 10)
    assert done == [3, 4]


def test_a_queue_is_full_at_its_limit_of_bytes_but_one_job_of_any_size_fits(pool):
    done, dropped = [], []
    one = pool(max_bytes=10)
    gate = occupied(one)
    for size in (6, 4, 1, 100):
        one.put(Job(lambda size=size: done.append(size), lambda size=size: dropped.append(size), size))
    assert dropped == [6, 4, 1]
    gate.set()
    assert one.wait(monotonic() + 10)
    assert done == [100]


def test_a_job_that_raises_is_logged_by_the_logger_of_its_part_and_the_next_one_runs(pool, caplog):
    done, one = [], pool()
    one.put(Job(lambda: 1 / 0))
    one.put(Job(lambda: done.append(1)))
    assert one.wait(monotonic() + 10)
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text
    assert [record.name for record in caplog.records] == ["fabric.test"]


def test_an_idle_thread_ends_and_a_later_job_starts_one_again(pool):
    done, one = [], pool(idle_timeout=0.01)
    for number in range(2):
        one.put(Job(lambda number=number: done.append(number)))
        wait_until(lambda number=number: done == list(range(number + 1)))
        wait_until(lambda: not threads())
    assert one.stats() == {"waiting": 0, "running": 0, "threads": 0}


def test_closing_drops_the_jobs_that_wait_and_all_later_ones_and_is_seen_by_those_that_run(pool):
    dropped, one, ended = [], pool(), []
    one.put(Job(lambda: ended.append(wait_until(lambda: one.closing))))
    wait_until(lambda: one.stats()["running"] == 1)
    one.put(Job(lambda: None, lambda: dropped.append(1)))
    one.close()
    one.put(Job(lambda: None, lambda: dropped.append(2)))
    assert one.join(monotonic() + 10)
    assert (dropped, ended) == ([1, 2], [True])


def test_waiting_and_joining_end_at_their_deadline(pool):
    one = pool()
    gate = occupied(one)
    assert not one.wait(monotonic() + 0.01)
    assert not one.join(monotonic() + 0.01)
    gate.set()
    assert one.wait(monotonic() + 10)


def test_a_started_pool_has_all_its_threads_and_keeps_them_until_it_is_closed(pool):
    gate, one = threading.Event(), pool(concurrency=3, idle_timeout=None)
    one.start()
    assert one.stats()["threads"] == 3
    for _ in range(5):
        one.put(Job(lambda: gate.wait(10)))
    wait_until(lambda: one.stats() == {"waiting": 2, "running": 3, "threads": 3})
    gate.set()
    assert one.wait(monotonic() + 10)
    assert one.stats() == {"waiting": 0, "running": 0, "threads": 3}
    one.close()
    assert one.join(monotonic() + 10)
