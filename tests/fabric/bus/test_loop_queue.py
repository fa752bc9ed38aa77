import asyncio
import threading

from fabric.bus.loop_queue import BUDGET, LIMIT, LoopQueue, LoopQueues, running_loop
from fabric.testing import await_until


class StuckLoop:
    """Takes calls and never runs one, until `turn`."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, call):
        self.calls.append(call)

    call_soon = call_soon_threadsafe

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def test_outside_a_loop_there_is_none():
    assert running_loop() is None


def test_inside_a_loop_it_is_that_one():
    async def main():
        return running_loop() is asyncio.get_running_loop()

    assert asyncio.run(main())


def test_items_put_on_another_thread_are_handled_on_the_loop_in_order():
    async def main():
        items, threads = [], set()

        def handle(item):
            items.append(item)
            threads.add(threading.current_thread())

        queue = LoopQueue(asyncio.get_running_loop(), handle)
        await asyncio.to_thread(lambda: [queue.put(n) for n in range(10_000)])
        await await_until(lambda: len(items) == 10_000)
        return items == list(range(10_000)), threads

    assert asyncio.run(main()) == (True, {threading.current_thread()})


def test_a_burst_wakes_the_loop_once():
    loop = StuckLoop()
    queue = LoopQueue(loop, print)
    for n in range(100):
        queue.put(n)
    assert len(loop.calls) == 1


def test_the_next_burst_wakes_it_again():
    loop, items = StuckLoop(), []
    queue = LoopQueue(loop, items.append)
    queue.put(1)
    loop.turn()
    queue.put(2)
    assert len(loop.calls) == 1
    loop.turn()
    assert items == [1, 2]


def test_one_turn_handles_a_budget_and_the_rest_waits_for_the_next():
    loop, items = StuckLoop(), []
    queue = LoopQueue(loop, items.append)
    for n in range(2 * BUDGET + 5):
        queue.put(n)
    sizes = []
    while loop.calls:
        loop.turn()
        sizes.append(len(items))
    assert sizes == [BUDGET, 2 * BUDGET, 2 * BUDGET + 5]
    assert items == list(range(2 * BUDGET + 5))


def test_a_flood_does_not_starve_the_loops_own_timers():
    async def main():
        items, between = [], []
        queue = LoopQueue(asyncio.get_running_loop(), items.append)
        for n in range(10 * BUDGET):
            queue.put(n)
        await asyncio.sleep(0)
        while len(items) < 10 * BUDGET:
            between.append(len(items))
            await asyncio.sleep(0)
        return between

    assert len(asyncio.run(main())) >= 9


def test_an_item_put_while_one_is_handled_is_handled_too():
    loop, items = StuckLoop(), []

    def handle(item):
        items.append(item)
        if item < 3:
            queue.put(item + 1)

    queue = LoopQueue(loop, handle)
    queue.put(0)
    while loop.calls:
        loop.turn()
    assert items == [0, 1, 2, 3]


def test_a_full_queue_drops_its_oldest_item_and_counts_it():
    loop, items = StuckLoop(), []
    queue = LoopQueue(loop, items.append, limit=3)
    taken = [queue.put(n) for n in range(5)]
    loop.turn()
    assert (taken, items, queue.dropped) == ([True, True, True, False, False], [2, 3, 4], 2)


def test_the_default_limit_bounds_a_stuck_loop():
    queue = LoopQueue(StuckLoop(), print)
    for n in range(LIMIT + 10):
        queue.put(n)
    assert (queue.dropped, len(queue)) == (10, LIMIT)


def test_items_for_a_closed_loop_are_dropped_and_counted():
    loop = asyncio.new_event_loop()
    loop.close()
    queue = LoopQueue(loop, print)
    assert [queue.put(1), queue.put(2)] == [False, False]
    assert (queue.dropped, len(queue)) == (2, 0)


def test_every_item_of_many_threads_is_handled_or_counted_as_dropped():
    async def main():
        items = []
        queue = LoopQueue(asyncio.get_running_loop(), items.append, limit=100)
        await asyncio.gather(*(asyncio.to_thread(lambda: [queue.put(n) for n in range(2_000)]) for _ in range(8)))
        await await_until(lambda: len(items) + queue.dropped == 16_000)

    asyncio.run(main())


# The queues of one bus


def run_in_a_loop(function):
    async def main():
        return function()

    return asyncio.run(main())


def test_each_loop_has_one_queue_and_a_thread_without_loop_has_none():
    queues = LoopQueues(print, lambda: set(queues.all()))
    assert queues.here() is None
    first = run_in_a_loop(lambda: (queues.here(), queues.here()))
    second = run_in_a_loop(queues.here)
    assert first[0] is first[1] is not second
    assert queues.all() == [first[0], second]


def test_closed_loops_are_forgotten_unless_their_queue_is_used():
    queues = LoopQueues(print, lambda: used)
    used = set()
    for _ in range(3):
        run_in_a_loop(queues.here)
    assert len(queues.all()) == 1
    used = set(queues.all())
    for _ in range(3):
        run_in_a_loop(queues.here)
    assert len(queues.all()) == 2


def test_items_that_were_dropped_for_a_forgotten_loop_stay_counted():
    queues = LoopQueues(print, set)
    run_in_a_loop(queues.here).put(1)
    assert queues.dropped == 1
    run_in_a_loop(queues.here)
    assert (queues.dropped, len(queues.all())) == (1, 1)
