import asyncio
import threading

import pytest

from fabric import Bus, Capture, Closed
from fabric.testing import wait_until
from tests.fabric.bus.recorder import started


@pytest.fixture
def bus():
    return Bus()


def ns(events):
    return [event["n"] for event in events]


def test_a_capture_records_matching_events_in_order(bus):
    captured = Capture(bus, "orders.*")
    for n, topic in enumerate(("orders.placed", "other", "orders.shipped")):
        bus.publish(topic, {"n": n})
    assert ns(captured) == [0, 2]
    assert captured.topics == ["orders.placed", "orders.shipped"]


def test_a_capture_is_a_sequence(bus):
    captured = Capture(bus, "a")
    assert not captured
    for n in range(3):
        bus.publish("a", {"n": n})
    assert (len(captured), captured[-1]["n"], ns(captured[1:]), captured[0] in captured) == (3, 2, [1, 2], True)
    with pytest.raises(IndexError):
        captured[3]


def test_iterating_is_over_the_recorded_events_and_does_not_wait(bus):
    captured = Capture(bus, "a")
    bus.publish("a", {"n": 0})
    for _ in captured:
        bus.publish("a", {"n": 1})
    assert len(captured) == 2


def test_the_list_of_events_is_a_copy(bus):
    captured = Capture(bus, "a")
    bus.publish("a")
    captured.events.clear()
    captured.wait(1).clear()
    assert len(captured) == 1


def test_waiting_returns_all_recorded_events(bus):
    captured = Capture(bus, "a")
    for n in range(3):
        bus.publish("a", {"n": n})
    assert ns(captured.wait(2)) == [0, 1, 2]


def test_waiting_blocks_until_the_number_of_events_is_recorded(bus):
    captured, got = Capture(bus, "a"), []
    waiting = threading.Thread(target=lambda: got.extend(captured.wait(2, timeout=20)))
    waiting.start()
    bus.publish("a", {"n": 0})
    assert waiting.is_alive()
    bus.publish("a", {"n": 1})
    waiting.join(20)
    assert ns(got) == [0, 1]


def test_a_timeout_shows_the_recorded_events(bus):
    captured = Capture(bus, "a.**")
    bus.publish("a.b", {"fruit": "apple", "pad": "x" * 1_000})
    with pytest.raises(TimeoutError) as caught:
        captured.wait(2, timeout=0.01)
    assert "1 of 2 events of 'a.**' after 0.01 s" in str(caught.value)
    assert "'fruit': 'apple'" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_timeout_shows_the_last_of_many_events(bus):
    captured = Capture(bus, "a")
    for n in range(25):
        bus.publish("a", {"n": n})
    with pytest.raises(TimeoutError) as caught:
        captured.wait(26, timeout=0.0)
    assert "… 15 before" in str(caught.value)
    assert "'n': 24" in str(caught.value)
    assert "'n': 14}" not in str(caught.value)


def test_a_timeout_without_any_event_says_so(bus):
    with pytest.raises(TimeoutError, match="nothing came"):
        Capture(bus, "a").wait(timeout=0.0)


def test_waiting_on_the_thread_of_a_loop_is_refused_unless_the_events_are_recorded(bus):
    async def main():
        captured = Capture(bus, "a")
        with pytest.raises(RuntimeError, match="running event loop"):
            captured.wait(1)
        bus.publish("a")
        return captured.wait(1)

    assert len(asyncio.run(main())) == 1


def test_waiting_for_more_events_than_the_limit_is_refused(bus):
    captured = Capture(bus, "a", limit=2)
    with pytest.raises(ValueError, match="never be there"):
        captured.wait(3)


def test_a_full_capture_keeps_the_first_events_and_counts_the_rest(bus):
    captured = Capture(bus, "a", limit=2)
    for n in range(5):
        bus.publish("a", {"n": n})
    assert (ns(captured), captured.dropped) == ([0, 1], 3)


def test_a_limit_below_one_is_refused(bus):
    with pytest.raises(ValueError, match="at least 1"):
        Capture(bus, "a", limit=0)
    assert len(bus) == 0


def test_clearing_goes_on_recording(bus):
    captured = Capture(bus, "a")
    bus.publish("a", {"n": 0})
    captured.clear()
    bus.publish("a", {"n": 1})
    assert ns(captured.wait(1)) == [1]


def test_cancelling_ends_the_subscription_and_keeps_the_recorded_events(bus):
    with Capture(bus, "a") as captured:
        bus.publish("a")
    bus.publish("a")
    assert (len(captured), len(bus), captured.cancel()) == (1, 0, False)
    assert repr(captured) == "<Capture 'a': 1 events, ended>"


def test_cancelling_ends_a_wait(bus):
    captured, errors = Capture(bus, "a"), []

    def wait():
        try:
            captured.wait(1, timeout=20)
        except Closed as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    captured.cancel()
    waiting.join(20)
    assert "cancelled" in str(errors[0])


def test_events_of_another_thread_can_be_awaited(bus):
    async def main():
        captured = Capture(bus, "a")
        [waiting] = await started(captured.await_(2, timeout=20))
        await asyncio.to_thread(bus.publish, "a", {"n": 0})
        assert not waiting.done()
        await asyncio.to_thread(bus.publish, "a", {"n": 1})
        return ns(await waiting)

    assert asyncio.run(main()) == [0, 1]


def test_the_timeout_of_an_await_shows_the_recorded_events(bus):
    async def main():
        captured = Capture(bus, "a")
        bus.publish("a", {"n": 7})
        with pytest.raises(TimeoutError, match="'n': 7"):
            await captured.await_(2, timeout=0.01)

    asyncio.run(main())


def test_cancelling_ends_an_await(bus):
    async def main():
        captured = Capture(bus, "a")
        [waiting] = await started(captured.await_(1, timeout=20))
        await asyncio.to_thread(captured.cancel)
        with pytest.raises(Closed):
            await waiting

    asyncio.run(main())


def test_several_loops_and_threads_can_wait_at_once(bus):
    captured, got = Capture(bus, "a"), []

    def block():
        got.append(len(captured.wait(1, timeout=20)))

    async def main():
        [task] = await started(captured.await_(1, timeout=20))
        begun.append(task)
        got.append(len(await task))

    begun = []
    threads = [
        threading.Thread(target=block),
        *(threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)),
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(begun) == 2)
    bus.publish("a")
    for thread in threads:
        thread.join(20)
    assert got == [1, 1, 1]


def test_a_capture_of_a_bus_that_is_not_connected_is_always_ready(bus):
    captured = Capture(bus, "a")
    captured.wait_ready()
    asyncio.run(captured.ready())
