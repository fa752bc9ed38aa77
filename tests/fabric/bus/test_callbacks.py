import asyncio
import sys
import threading

import pytest

from fabric.bus.callbacks import callbacks_of_thread, running_callbacks
from fabric.testing import await_until


def running():
    """Pattern and topic of the callbacks that this call is in, the innermost first."""
    return [(each.pattern, topic) for each, topic in running_callbacks(sys._getframe(1))]


def test_outside_of_callbacks_none_runs():
    assert running() == []


@pytest.mark.parametrize("is_local", [True, False])
def test_inside_a_callback_it_is_that_one(fabric_bus, is_local):
    found = []
    fabric_bus.subscribe("a.*", lambda event: found.append(running()))
    (fabric_bus.publish if is_local else fabric_bus.deliver)("a.b", {"type": "other"})
    assert found == [[("a.*", "a.b")]]


def test_callbacks_inside_callbacks_are_all_found_the_innermost_first(fabric_bus):
    found = []
    fabric_bus.subscribe("a", lambda event: fabric_bus.publish("b"))
    fabric_bus.subscribe("b", lambda event: found.append(running()))
    fabric_bus.deliver("a", {})
    assert found == [[("b", "b"), ("a", "a")]]


def test_an_async_callback_is_found_after_it_has_waited(fabric_bus):
    async def main():
        found, gate = [], asyncio.Event()

        async def callback(event):
            await gate.wait()
            found.append(running())

        fabric_bus.subscribe("a", callback)
        fabric_bus.publish("a")
        gate.set()
        await await_until(lambda: found)
        return found

    assert asyncio.run(main()) == [[("a", "a")]]


def test_the_callback_of_another_thread_is_found_however_deep_it_calls(fabric_bus):
    inside, leave = threading.Event(), threading.Event()

    def nest(depth):
        if depth:
            nest(depth - 1)
        else:
            inside.set()
            leave.wait(10)

    fabric_bus.subscribe("a", lambda event: nest(300))
    thread = threading.Thread(target=fabric_bus.deliver, args=("a", {}))
    thread.start()
    assert inside.wait(10)
    found = [(each.pattern, topic) for each, topic in callbacks_of_thread(thread.ident)]
    leave.set()
    thread.join(10)
    assert found == [("a", "a")]
