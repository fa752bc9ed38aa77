"""Async subscribers, and sync ones that were registered inside a loop."""

import asyncio
import gc
import threading

from fabric.testing import await_until
from tests.fabric.bus.recorder import Recorder


def publish_elsewhere(bus, topic, payload=None):
    """Publish on another thread, and return when that is over."""
    thread = threading.Thread(target=bus.publish, args=(topic, payload), name="publisher")
    thread.start()
    thread.join()


# The four cases of delivery


def test_registered_in_a_loop_and_published_in_it_runs_as_a_task(fabric_bus):
    async def main():
        got = Recorder()
        fabric_bus.subscribe("a", got)
        fabric_bus.publish("a", {"n": 1})
        assert got.events == []  # the publisher does not wait
        await await_until(lambda: got.events)
        return [event["n"] for event in got.events]

    assert asyncio.run(main()) == [1]


def test_registered_in_a_loop_and_published_on_another_thread_runs_on_the_loop(fabric_bus):
    async def main():
        got = Recorder()
        fabric_bus.subscribe("a", got)
        await asyncio.to_thread(fabric_bus.publish, "a")
        await await_until(lambda: got.events)
        return got.threads, got.loops == {asyncio.get_running_loop()}

    assert asyncio.run(main()) == ({threading.current_thread()}, True)


def test_registered_without_a_loop_runs_on_the_publishers(fabric_bus):
    got = Recorder()
    fabric_bus.subscribe("a", got)

    async def main():
        fabric_bus.publish("a")
        await await_until(lambda: got.events)
        return got.loops == {asyncio.get_running_loop()}

    assert asyncio.run(main())


def test_with_no_loop_anywhere_it_is_dropped_with_one_warning_and_counted(fabric_bus, caplog):
    got, events = Recorder(), []
    fabric_bus.subscribe("a", got)
    fabric_bus.subscribe("a", Recorder())
    fabric_bus.subscribe("a", events.append)
    fabric_bus.publish("a")
    assert (got.events, len(events)) == ([], 1)
    assert [record.getMessage() for record in caplog.records] == [
        "dropped 2 async subscriber(s) on topic 'a': no event loop is running"
    ]
    assert fabric_bus.stats()["dropped"] == 2


# Others


def test_a_subscriber_of_another_loop_runs_there(fabric_bus):
    got = Recorder()
    registered, done = threading.Event(), threading.Event()

    async def other():
        fabric_bus.subscribe("a", got)
        registered.set()
        await await_until(lambda: got.events)
        done.set()

    thread = threading.Thread(target=asyncio.run, args=(other(),))
    thread.start()
    registered.wait(5)

    async def main():
        fabric_bus.publish("a")
        await asyncio.to_thread(done.wait, 5)

    asyncio.run(main())
    thread.join()
    assert got.threads == {thread}


def test_a_sync_callback_registered_in_a_loop_runs_in_the_publishers_stack(fabric_bus):
    async def main():
        threads = []
        fabric_bus.subscribe("a", lambda event: threads.append(threading.current_thread().name))
        publish_elsewhere(fabric_bus, "a")
        return threads

    assert asyncio.run(main()) == ["publisher"]


def test_events_from_another_thread_keep_their_order(fabric_bus):
    async def main():
        got = Recorder()
        fabric_bus.subscribe("a", got)
        await asyncio.to_thread(lambda: [fabric_bus.publish("a", {"n": n}) for n in range(5_000)])
        await await_until(lambda: len(got.events) == 5_000)
        return [event["n"] for event in got.events]

    assert asyncio.run(main()) == list(range(5_000))


def test_an_object_with_an_async_call_is_an_async_subscriber(fabric_bus):
    assert fabric_bus.subscribe("a", Recorder()).is_async


def test_a_bound_async_method_is_an_async_subscriber(fabric_bus):
    assert fabric_bus.subscribe("a", Recorder().__call__).is_async


def test_each_async_subscriber_owns_its_envelope(fabric_bus):
    async def main():
        async def spoil(event):
            event["spoiled"] = True

        got = Recorder()
        fabric_bus.subscribe("a", spoil)
        fabric_bus.subscribe("a", got)
        fabric_bus.publish("a")
        await await_until(lambda: got.events)
        return got.events[0]

    assert "spoiled" not in asyncio.run(main())


def test_an_async_subscribers_exception_is_logged_with_topic_and_pattern(fabric_bus, caplog):
    async def main():
        async def fail(event):
            raise ZeroDivisionError

        fabric_bus.subscribe("a.*", fail)
        fabric_bus.publish("a.b")
        await await_until(lambda: caplog.records)

    asyncio.run(main())
    assert "'a.*'" in caplog.text
    assert "'a.b'" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_async_subscriber_that_cannot_be_started_is_logged(fabric_bus, caplog):
    async def takes_nothing():
        pass

    async def main():
        fabric_bus.subscribe("a", takes_nothing)
        fabric_bus.publish("a")

    asyncio.run(main())
    assert "TypeError" in caplog.text


def test_a_waiting_callback_is_not_collected(fabric_bus):
    async def main():
        gate, done = asyncio.Event(), []

        async def wait(event):
            await gate.wait()
            done.append(event)

        fabric_bus.subscribe("a", wait)
        fabric_bus.publish("a")
        await asyncio.sleep(0)
        gc.collect()
        gate.set()
        await await_until(lambda: done)
        return len(done)

    assert asyncio.run(main()) == 1


def test_finished_tasks_are_let_go(fabric_bus):
    async def main():
        got = Recorder()
        fabric_bus.subscribe("a", got)
        for _ in range(10):
            fabric_bus.publish("a")
        await await_until(lambda: len(got.events) == 10 and not fabric_bus._tasks)

    asyncio.run(main())


def test_a_sync_callback_that_returns_a_coroutine_is_warned_about_with_its_pattern(fabric_bus, caplog):
    ran = []

    async def work():
        ran.append(1)

    fabric_bus.subscribe("a.*", lambda event: work())
    fabric_bus.publish("a.b")  # -W error: the coroutine must have been closed
    gc.collect()
    assert (len(caplog.records), ran) == (1, [])
    assert "coroutine" in caplog.text
    assert "'a.*'" in caplog.text


def test_other_return_values_are_ignored(fabric_bus, caplog):
    fabric_bus.subscribe("a", lambda event: "something")
    fabric_bus.publish("a")
    assert caplog.text == ""


def test_events_for_a_closed_loop_are_counted_as_dropped(fabric_bus):
    async def main():
        fabric_bus.subscribe("a", Recorder())

    asyncio.run(main())
    fabric_bus.publish("a")
    fabric_bus.publish("a")
    assert fabric_bus.stats()["dropped"] == 2


def test_an_event_on_its_way_to_a_loop_is_not_delivered_after_unsubscribe(fabric_bus):
    async def main():
        got = Recorder()
        handle = fabric_bus.subscribe("a", got)
        publish_elsewhere(fabric_bus, "a")
        handle.cancel()
        marker = Recorder()
        fabric_bus.subscribe("b", marker)
        publish_elsewhere(fabric_bus, "b")
        await await_until(lambda: marker.events)
        return got.events

    assert asyncio.run(main()) == []


def test_a_program_that_runs_loop_after_loop_does_not_collect_their_queues(fabric_bus):
    async def main():
        fabric_bus.subscribe("a", Recorder()).cancel()

    for _ in range(5):
        asyncio.run(main())
    assert len(fabric_bus.queues()) == 1


def test_events_that_were_dropped_for_a_loop_stay_counted_when_its_queue_is_forgotten(fabric_bus):
    async def subscribe():
        return fabric_bus.subscribe("a", Recorder())

    handle = asyncio.run(subscribe())
    fabric_bus.publish("a")
    handle.cancel()
    asyncio.run(subscribe())
    assert fabric_bus.stats()["dropped"] == 1
