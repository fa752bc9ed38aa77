import asyncio
import threading

import pytest

from fabric.bus.buffer import Buffer
from fabric.errors import Closed
from tests.fabric.bus.recorder import started


def test_items_come_out_in_the_order_they_went_in():
    buffer = Buffer("it", 10)
    for number in range(5):
        buffer.put(number)
    assert [buffer.get(0) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_full_buffer_refuses_an_item():
    buffer = Buffer("it", 2)
    assert [buffer.put(number) for number in range(3)] == [True, True, False]
    assert buffer.take_all() == [0, 1]


def test_a_full_buffer_that_may_drop_drops_its_oldest_item_and_counts_it():
    buffer = Buffer("it", 2)
    for number in range(5):
        buffer.put_dropping(number)
    assert (buffer.take_all(), buffer.dropped) == ([3, 4], 3)


def test_a_timeout_names_the_buffer():
    with pytest.raises(TimeoutError, match="the inbox"):
        Buffer("the inbox", 1).get(0)


def test_items_can_be_taken_after_closing_and_then_the_reason_is_raised():
    buffer = Buffer("it", 2)
    buffer.put(1)
    buffer.close(ValueError("replaced"))
    assert buffer.get() == 1
    with pytest.raises(ValueError, match="replaced"):
        buffer.get()


def test_a_closed_buffer_refuses_items():
    buffer = Buffer("it", 2)
    buffer.close()
    assert not buffer.put(1)


def test_closing_wakes_a_thread_that_waits():
    buffer = Buffer("it", 1)
    raised = []

    def wait():
        try:
            buffer.get()
        except Closed as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    buffer.close()
    thread.join(10)
    assert len(raised) == 1


def test_an_item_put_by_a_thread_wakes_a_coroutine():
    async def main():
        buffer = Buffer("it", 1)
        [taken] = await started(buffer.aget(10))
        thread = threading.Thread(target=buffer.put, args=("x",))
        thread.start()
        try:
            return await taken
        finally:
            thread.join()

    assert asyncio.run(main()) == "x"


def test_each_of_several_coroutines_gets_one_item():
    async def main():
        buffer = Buffer("it", 10)
        takers = await started(*(buffer.aget(10) for _ in range(3)))
        for number in range(3):
            buffer.put(number)
        return sorted(await asyncio.gather(*takers))

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_coroutine_that_is_cancelled_as_it_is_woken_passes_the_item_on():
    async def main():
        buffer = Buffer("it", 10)
        first, second = await started(buffer.aget(10), buffer.aget(10))
        buffer.put("x")
        first.cancel()
        return await second

    assert asyncio.run(main()) == "x"


def test_waiting_on_the_thread_of_a_running_loop_is_refused():
    async def main():
        Buffer("it", 1).get()

    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(main())


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Buffer("it", 0)
