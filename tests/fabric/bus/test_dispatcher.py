"""Callbacks run in the call that delivers, or on an event loop; endless recursion is cut."""

import asyncio
import gc
import logging
import threading
import weakref

import pytest

from fabric.bus.dispatcher import MAX_DEPTH
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
        gate, begun, done = asyncio.Event(), [], []

        async def wait(event):
            begun.append(event)
            await gate.wait()
            done.append(event)

        fabric_bus.subscribe("a", wait)
        fabric_bus.publish("a")
        await await_until(lambda: begun)
        gc.collect()
        gate.set()
        await await_until(lambda: done)
        return len(done)

    assert asyncio.run(main()) == 1


def test_finished_tasks_are_released(fabric_bus):
    async def main():
        tasks = []

        async def callback(event):
            tasks.append(weakref.ref(asyncio.current_task()))

        fabric_bus.subscribe("a", callback)
        for _ in range(10):
            fabric_bus.publish("a")
        await await_until(lambda: len(tasks) == 10 and not any(task() for task in tasks))

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


# Recursion


def test_subscribers_that_answer_each_other_are_cut_with_one_warning(fabric_bus, caplog):
    depth = []
    fabric_bus.subscribe("ping", lambda event: fabric_bus.publish("pong"))
    fabric_bus.subscribe("pong", lambda event: (depth.append(1), fabric_bus.publish("ping")))
    fabric_bus.publish("ping")
    assert len(depth) == MAX_DEPTH // 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_cut_that_branches_is_warned_of_once_for_each_publish(fabric_bus, caplog):
    def answer_twice(event):
        if event["n"] < MAX_DEPTH + 3:
            fabric_bus.publish("a", {"n": event["n"] + (1 if event["n"] < MAX_DEPTH - 3 else 0)})
            fabric_bus.publish("b")

    fabric_bus.subscribe("a", lambda event: fabric_bus.publish("a", {"n": event["n"] + 1}))
    fabric_bus.subscribe("b", lambda event: [fabric_bus.publish("a", {"n": 0}) for _ in range(3)])
    fabric_bus.publish("b")
    assert len(caplog.records) == 1
    fabric_bus.publish("b")
    assert len(caplog.records) == 2


def test_after_a_cut_everything_is_as_before(fabric_bus, caplog, seen):
    handle = fabric_bus.subscribe("a", lambda event: fabric_bus.publish("a"))
    fabric_bus.publish("a")
    handle.cancel()
    caplog.clear()
    events = seen("a")
    fabric_bus.publish("a")
    assert (len(events), caplog.text) == (1, "")


def test_after_a_keyboard_interrupt_publishing_is_not_deeper(fabric_bus, seen):
    def interrupt(event):
        raise KeyboardInterrupt

    handle = fabric_bus.subscribe("a", interrupt)
    for _ in range(MAX_DEPTH + 1):
        with pytest.raises(KeyboardInterrupt):
            fabric_bus.publish("a")
    handle.cancel()
    events = seen("a")
    fabric_bus.publish("a")
    assert len(events) == 1


def test_the_depth_of_one_thread_is_not_anothers(fabric_bus, caplog):
    inside, leave = threading.Event(), threading.Event()
    events = []

    def nest(event):
        if event["left"]:
            fabric_bus.publish("deep", {"left": event["left"] - 1})
        else:
            inside.set()
            leave.wait(5)

    fabric_bus.subscribe("deep", nest)
    fabric_bus.subscribe("flat", events.append)
    thread = threading.Thread(target=fabric_bus.publish, args=("deep", {"left": 30}))
    thread.start()
    assert inside.wait(5)
    fabric_bus.publish("flat")
    leave.set()
    thread.join()
    assert (len(events), caplog.text) == (1, "")
