"""Events from outside, and the calls to it."""

import asyncio
import threading

import pytest

from fabric.testing import await_until
from tests.fabric.bus.recorder import Recorder


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


# The calls to the outside


def test_an_outside_first_gets_the_subscriptions_that_exist(fabric_bus, outside):
    fabric_bus.subscribe("b", print)
    fabric_bus.subscribe("a.**", print)
    fabric_bus.attach(outside)
    assert outside.calls == [("+", "b"), ("+", "a.**")]


def test_an_outside_gets_the_beginning_and_the_end_of_each_subscription(fabric_bus, outside):
    fabric_bus.attach(outside)
    with fabric_bus.subscribe("a", print):
        pass
    assert outside.calls == [("+", "a"), ("-", "a")]


def test_an_outside_gets_an_end_once(fabric_bus, outside):
    fabric_bus.attach(outside)
    handle = fabric_bus.subscribe("a", print)
    handle.cancel()
    handle.cancel()
    assert outside.calls == [("+", "a"), ("-", "a")]


def test_an_outside_gets_events_that_have_no_subscriber_here(fabric_bus, outside):
    fabric_bus.attach(outside)
    fabric_bus.publish("a.b", {"n": 1, "ts": 1.0})
    assert outside.calls == [("a.b", {"type": "a.b", "ts": 1.0, "src": "a", "n": 1})]


def test_an_outside_gets_the_answer_of_a_callback_after_the_event_that_it_answers(fabric_bus, outside):
    fabric_bus.subscribe("question", lambda event: fabric_bus.publish("answer"))
    fabric_bus.attach(outside)
    outside.calls.clear()
    fabric_bus.publish("question")
    assert [topic for topic, _ in outside.calls] == ["question", "answer"]


def test_an_outside_gets_the_event_before_a_subscriber_can_change_it(fabric_bus, outside):
    fabric_bus.attach(outside)
    fabric_bus.subscribe("a", lambda event: event.clear())
    fabric_bus.publish("a", {"n": 1})
    assert outside.calls[-1][1]["n"] == 1


def test_an_event_from_outside_is_not_forwarded(fabric_bus, outside):
    fabric_bus.attach(outside)
    fabric_bus.deliver("a", {"n": 1})
    assert outside.calls == []


def test_an_announcement_is_not_forwarded(fabric_bus, outside):
    fabric_bus.attach(outside)
    fabric_bus.announce("fabric.link.up")
    assert outside.calls == []


def test_after_detach_an_outside_gets_nothing(fabric_bus, outside):
    fabric_bus.attach(outside)
    fabric_bus.detach()
    fabric_bus.subscribe("a", print)
    fabric_bus.publish("a")
    assert outside.calls == []
    assert fabric_bus.outside is None


def test_a_bus_is_attached_once(fabric_bus, outside):
    fabric_bus.attach(outside)
    with pytest.raises(RuntimeError, match="connected already"):
        fabric_bus.attach(outside)
