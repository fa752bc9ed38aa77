"""Events from outside, and what becomes of closed loops."""

import asyncio
import threading

import pytest

from fabric.bus.bus import Bus
from fabric.testing import await_until


class Recorder:
    """An async subscriber that notes what it got."""

    def __init__(self):
        self.events = []

    async def __call__(self, event):
        self.events.append(event)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_event_from_outside_is_delivered_on_the_loop_of_its_subscriber(fabric_bus, is_async):
    async def main():
        threads = []

        def note(event):
            threads.append(threading.current_thread())

        async def note_async(event):
            note(event)

        fabric_bus.subscribe("a", note_async if is_async else note)
        await asyncio.to_thread(fabric_bus.deliver, "a", {"n": 1})
        await await_until(lambda: threads)
        return threads

    assert asyncio.run(main()) == [threading.current_thread()]


def test_an_event_from_outside_is_delivered_in_the_call_to_a_subscriber_without_loop(fabric_bus):
    events = []
    fabric_bus.subscribe("a", events.append)
    fabric_bus.deliver("a", {"n": 1})
    assert events == [{"n": 1}]


def test_each_subscriber_owns_an_event_from_outside(fabric_bus):
    events = []
    fabric_bus.subscribe("a", lambda event: event.clear())
    fabric_bus.subscribe("a", events.append)
    fabric_bus.deliver("a", {"n": 1})
    assert events == [{"n": 1}]


def test_an_event_from_outside_for_an_async_subscriber_without_loop_is_counted(fabric_bus, caplog):
    fabric_bus.subscribe("a", Recorder())
    fabric_bus.deliver("a", {"n": 1})
    assert fabric_bus.stats()["dropped"] == 1
    assert "no event loop" in caplog.text


def test_a_failing_subscriber_does_not_starve_the_next_of_an_event_from_outside(fabric_bus, caplog):
    events = []
    fabric_bus.subscribe("a", lambda event: 1 / 0)
    fabric_bus.subscribe("a", events.append)
    fabric_bus.deliver("a", {"n": 1})
    assert len(events) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_program_that_runs_loop_after_loop_does_not_collect_them():
    bus = Bus()

    async def main():
        bus.subscribe("a", Recorder()).cancel()

    for _ in range(5):
        asyncio.run(main())
    assert len(bus._queues) == 1


def test_what_was_dropped_for_a_loop_stays_counted_when_it_is_let_go():
    bus = Bus()

    async def subscribe():
        return bus.subscribe("a", Recorder())

    handle = asyncio.run(subscribe())
    bus.publish("a")
    handle.cancel()
    asyncio.run(subscribe())
    assert bus.stats()["dropped"] == 1
