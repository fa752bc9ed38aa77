import asyncio
import threading

import pytest

from fabric.bus.stream import EventStream
from fabric.errors import Closed
from fabric.testing import wait_until
from tests.fabric.bus.recorder import started


def publish_all(bus, count, topic="a"):
    for n in range(count):
        bus.publish(topic, {"n": n})


def ns(events):
    return [event["n"] for event in events]


def later(function, *arguments):
    """Run it on another thread; the thread, to be joined."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def test_a_stream_yields_the_events_since_it_was_created(fabric_bus):
    fabric_bus.publish("a", {"n": -1})
    with EventStream(fabric_bus, "a", timeout=0) as events:
        publish_all(fabric_bus, 3)
        assert ns(events) == [0, 1, 2]


def test_a_stream_yields_only_matching_events(fabric_bus):
    with EventStream(fabric_bus, "a.*", timeout=0) as events:
        fabric_bus.publish("b", {"n": 1})
        fabric_bus.publish("a.b", {"n": 2})
        assert ns(events) == [2]


def test_an_iteration_waits_for_the_next_event(fabric_bus):
    with EventStream(fabric_bus, "a", timeout=5) as events:
        thread = later(publish_all, fabric_bus, 1)
        assert next(events)["n"] == 0
        thread.join()


def test_an_iteration_ends_after_its_timeout_without_an_event(fabric_bus):
    with EventStream(fabric_bus, "a", timeout=0.01) as events:
        assert list(events) == []


def test_an_iteration_can_be_continued_after_its_timeout(fabric_bus):
    with EventStream(fabric_bus, "a", timeout=0) as events:
        assert list(events) == []
        publish_all(fabric_bus, 1)
        assert ns(events) == [0]


def test_when_the_buffer_is_full_the_oldest_are_dropped_and_counted(fabric_bus):
    with EventStream(fabric_bus, "a", limit=3, timeout=0) as events:
        publish_all(fabric_bus, 10)
        assert (len(events), events.dropped, ns(events)) == (3, 7, [7, 8, 9])


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(fabric_bus, limit):
    with pytest.raises(ValueError, match="at least 1"):
        EventStream(fabric_bus, "a", limit=limit)
    assert len(fabric_bus) == 0


def test_get_raises_when_there_is_no_event_in_time(fabric_bus):
    with EventStream(fabric_bus, "a") as events, pytest.raises(TimeoutError, match=r"0\.01 s"):
        events.get(0.01)


def test_closing_ends_the_subscription(fabric_bus):
    EventStream(fabric_bus, "a").close()
    assert len(fabric_bus) == 0


def test_closing_twice_is_closing_once(fabric_bus):
    events = EventStream(fabric_bus, "a")
    events.close()
    events.close()


def test_events_in_the_buffer_can_be_taken_after_closing(fabric_bus):
    events = EventStream(fabric_bus, "a")
    publish_all(fabric_bus, 2)
    events.close()
    assert ns(events) == [0, 1]
    with pytest.raises(Closed):
        events.get()


def test_closing_wakes_an_iteration_in_another_thread(fabric_bus):
    events, result = EventStream(fabric_bus, "a"), []
    thread = later(lambda: result.extend(events))
    events.close()
    thread.join(5)
    assert not thread.is_alive()
    assert result == []


def test_many_publishers_and_one_consumer_lose_nothing(fabric_bus):
    with EventStream(fabric_bus, "a", limit=10_000, timeout=5) as events:
        threads = [later(publish_all, fabric_bus, 500) for _ in range(8)]
        taken = [events.get(5) for _ in range(4_000)]
        for thread in threads:
            thread.join()
        assert (len(taken), events.dropped, len(events)) == (4_000, 0, 0)


# In a loop


def test_get_on_the_thread_of_a_running_loop_raises_instead_of_blocking_it(fabric_bus):
    async def main():
        with EventStream(fabric_bus, "a") as events, pytest.raises(RuntimeError, match="would block"):
            events.get(5)

    asyncio.run(main())


def test_async_iteration_yields_events(fabric_bus):
    async def main():
        async with EventStream(fabric_bus, "a", timeout=0.01) as events:
            publish_all(fabric_bus, 3)
            return [event["n"] async for event in events]

    assert asyncio.run(main()) == [0, 1, 2]


def test_async_iteration_is_woken_by_another_thread(fabric_bus):
    async def main():
        async with EventStream(fabric_bus, "a", timeout=5) as events:
            [waiting] = await started(anext(events))
            await asyncio.to_thread(fabric_bus.publish, "a", {"n": 7})
            return (await waiting)["n"]

    assert asyncio.run(main()) == 7


def test_aget_raises_when_there_is_no_event_in_time(fabric_bus):
    async def main():
        async with EventStream(fabric_bus, "a") as events:
            with pytest.raises(TimeoutError):
                await events.aget(0.01)

    asyncio.run(main())


def test_an_aget_that_is_cancelled_loses_no_event(fabric_bus):
    async def main():
        async with EventStream(fabric_bus, "a") as events:
            [waiting] = await started(events.aget())
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            fabric_bus.publish("a", {"n": 1})
            return (await events.aget(1))["n"]

    assert asyncio.run(main()) == 1


def test_closing_ends_an_async_iteration(fabric_bus):
    async def main():
        events = EventStream(fabric_bus, "a")
        [waiting] = await started(_collect(events))
        events.close()
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(main()) == []


def test_an_event_after_the_loop_of_a_consumer_was_closed_goes_to_the_next_consumer(fabric_bus):
    events = EventStream(fabric_bus, "a")

    async def main():
        await started(events.aget())

    asyncio.run(main())
    fabric_bus.publish("a", {"n": 1})
    assert events.get(1)["n"] == 1
    events.close()


async def _collect(events):
    return [event async for event in events]


def test_a_reader_in_another_thread_gets_each_event_once(fabric_bus):
    taken = []
    with EventStream(fabric_bus, "a", limit=5_000) as events:
        thread = later(lambda: taken.extend(ns(events)))
        publish_all(fabric_bus, 2_000)
        wait_until(lambda: len(taken) == 2_000 or not len(events), what="the reader catches up")
    thread.join(5)
    assert taken == list(range(2_000))
