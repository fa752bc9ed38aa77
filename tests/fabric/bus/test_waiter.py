import asyncio
import threading

import pytest

from fabric.bus.waiter import Promise, Waiter, forked
from fabric.testing import await_until, wait_until
from tests.fabric.bus.recorder import started


class Box:
    """A value that is put in once and taken out once, as the simplest use of a Waiter."""

    def __init__(self):
        self.waiter = Waiter()
        self.values = []
        self.checks = 0

    def put(self, *values):
        with self.waiter:
            self.values += values
            self.waiter.notify(len(values))

    def is_full(self):
        self.checks += 1
        return bool(self.values)

    def take(self):
        return self.values.pop(0)

    def get(self, timeout=10):
        with self.waiter:
            return self.take() if self.waiter.wait_for(self.is_full, timeout) else None

    def aget(self, timeout=10):
        return self.waiter.until(self.is_full, self.take, timeout)


def test_a_thread_gets_what_a_thread_puts():
    box, got = Box(), []
    thread = threading.Thread(target=lambda: got.append(box.get()))
    thread.start()
    wait_until(lambda: box.checks)
    box.put(1)
    thread.join(10)
    assert got == [1]


def test_a_coroutine_gets_what_a_thread_puts():
    async def main():
        box = Box()
        [task] = await started(box.aget())
        await asyncio.to_thread(box.put, 1)
        return await task

    assert asyncio.run(main()) == 1


def test_a_condition_that_is_true_needs_no_waiting():
    async def main():
        box = Box()
        box.put(1)
        return await box.aget(0), box.checks

    assert asyncio.run(main()) == (1, 1)


def test_one_notification_wakes_one_coroutine():
    async def main():
        box = Box()
        tasks = await started(box.aget(), box.aget(), box.aget())
        box.put(1)
        await await_until(lambda: any(task.done() for task in tasks))
        checks = box.checks
        box.put(2, 3)
        return sorted(await asyncio.gather(*tasks)), checks

    # Each coroutine checks once as it begins; then `notify` checks for the first, which checks as it takes.
    assert asyncio.run(main()) == ([1, 2, 3], 5)


def test_a_coroutine_whose_condition_is_false_is_not_woken():
    async def main():
        waiter, state, wakes = Waiter(), [], []
        task = asyncio.create_task(waiter.until(lambda: len(state) > 1, lambda: wakes.append(1)))
        for number in range(2):
            await asyncio.to_thread(lambda number=number: _notify(waiter, lambda: state.append(number)))
        await task
        return len(wakes)

    assert asyncio.run(main()) == 1


def _notify(waiter, change):
    with waiter:
        change()
        waiter.notify_all()


def test_notifying_all_wakes_threads_and_coroutines():
    async def main():
        box = Box()
        tasks = await started(box.aget(), box.aget())
        threads = [asyncio.create_task(asyncio.to_thread(box.get)) for _ in range(2)]
        await await_until(lambda: box.checks == 4)
        with box.waiter:
            box.values += [1, 2, 3, 4]
            box.waiter.notify_all()
        return sorted(await asyncio.gather(*tasks, *threads))

    assert asyncio.run(main()) == [1, 2, 3, 4]


def test_a_coroutine_that_is_cancelled_as_it_is_notified_passes_the_notification_on():
    async def main():
        box = Box()
        first, second = await started(box.aget(), box.aget())
        box.put(1)
        first.cancel()
        return await second

    assert asyncio.run(main()) == 1


def test_a_coroutine_that_is_cancelled_takes_nothing():
    async def main():
        box = Box()
        [task] = await started(box.aget())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        box.put(1)
        return task.cancelled(), box.values

    assert asyncio.run(main()) == (True, [1])


def test_a_coroutine_that_timed_out_is_forgotten():
    async def main():
        box = Box()
        with pytest.raises(TimeoutError):
            await box.aget(0.001)
        checks = box.checks
        box.put(1)
        return box.values, box.checks - checks

    assert asyncio.run(main()) == ([1], 0)


def test_a_coroutine_of_a_closed_loop_is_skipped():
    box = Box()
    loop = asyncio.new_event_loop()
    left_over = loop.create_task(box.aget())
    loop.run_until_complete(await_until(lambda: box.checks))
    loop.close()

    async def main():
        [task] = await started(box.aget())
        box.put(1)
        return await task

    assert asyncio.run(main()) == 1
    left_over._log_destroy_pending = False  # it cannot end any more


def test_in_a_forks_child_a_lock_that_a_thread_of_the_parent_held_is_free_where_that_was_asked_for():
    waiters = Waiter(used_after_fork=True), Waiter()
    thread = threading.Thread(target=lambda: [waiter.acquire() for waiter in waiters])
    thread.start()
    thread.join(10)
    forked()
    assert [waiter.acquire(blocking=False) for waiter in waiters] == [True, False]


# Promises


def test_a_promise_is_done_when_its_value_is_set():
    promise = Promise()
    assert (promise.done, promise.wait(0)) == (False, False)
    assert promise.set(1)
    assert (promise.done, promise.wait(0), promise.result(), promise.error) == (True, True, 1, None)


def test_a_promise_that_fails_raises_its_error():
    promise, error = Promise(), ValueError("no")
    promise.fail(error)
    assert (promise.wait(), promise.error) == (True, error)
    with pytest.raises(ValueError, match="no"):
        promise.result()


def test_a_promise_is_set_once():
    promise = Promise()
    assert [promise.set(1), promise.set(2), promise.fail(ValueError())] == [True, False, False]
    assert (promise.result(), promise.error) == (1, None)


def test_threads_and_coroutines_of_several_loops_wait_for_one_promise():
    promise, got = Promise(), []

    def block():
        promise.wait(10)
        got.append(promise.result())

    async def wait():
        got.append(await promise)

    threads = [threading.Thread(target=block) for _ in range(2)]
    threads += [threading.Thread(target=asyncio.run, args=(wait(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    promise.set(1)
    for thread in threads:
        thread.join(10)
    assert got == [1] * 4


def test_cancelling_a_coroutine_that_awaits_a_promise_leaves_it_as_it_is():
    async def main():
        promise = Promise()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(promise, 0.001)
        promise.set(1)
        return await promise

    assert asyncio.run(main()) == 1


def test_a_callback_is_called_when_a_promise_is_done_or_at_once_if_it_is():
    promise, called = Promise(), []
    promise.when_done(lambda: called.append(1))
    assert called == []
    promise.set(None)
    promise.when_done(lambda: called.append(2))
    assert called == [1, 2]


def test_a_callback_that_raises_is_logged_and_the_next_one_is_called(caplog):
    promise, called = Promise(), []
    promise.when_done(lambda: 1 / 0)
    promise.when_done(lambda: called.append(1))
    promise.set(None)
    assert called == [1]
    assert "ZeroDivisionError" in caplog.text
