"""Receipts: waited on, awaited, and what they raise."""

import asyncio

import pytest

from fabric.errors import DeliveryTimeout, NoSuchEndpoint
from fabric.messages.receipt import Receipt


def receipt(*, request=False):
    return Receipt("id-1", "worker", request=request, may_block=lambda: None)


def test_a_message_is_done_when_it_is_delivered():
    one = receipt()
    one.delivered(1)
    assert (one.wait(0), one.state, one.holders, one.error) == (1, "delivered", 1, None)


def test_a_request_is_done_when_it_is_answered_and_not_before():
    one = receipt(request=True)
    one.delivered(1)
    assert not one.done
    one.replied({"sum": 3})
    assert (one.wait(0), one.state) == ({"sum": 3}, "replied")


def test_its_error_is_raised_and_can_be_read():
    one = receipt()
    error = NoSuchEndpoint("worker", ["worker-2"])
    one.failed(error)
    assert (one.state, one.error) == ("failed", error)
    with pytest.raises(NoSuchEndpoint):
        one.wait()


def test_a_wait_that_times_out_does_not_fail_the_message():
    one = receipt()
    with pytest.raises(TimeoutError, match="still waiting"):
        one.wait(0)
    assert one.state == "waiting"


def test_a_delivery_timeout_is_not_taken_for_a_timeout_of_the_wait():
    one = receipt()
    one.failed(DeliveryTimeout("worker", 5))
    with pytest.raises(DeliveryTimeout):
        one.wait(0)


def test_it_can_be_awaited():
    async def main():
        one = receipt(request=True)
        asyncio.get_running_loop().call_soon(one.replied, "yes")
        return await one

    assert asyncio.run(main()) == "yes"


def test_a_task_that_stops_awaiting_does_not_cancel_the_message():
    async def main():
        one = receipt()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one, 0.001)
        one.delivered(1)
        return await one

    assert asyncio.run(main()) == 1


def test_an_acknowledgement_after_a_failure_changes_nothing():
    one = receipt()
    one.failed(DeliveryTimeout("worker", 5))
    one.delivered(1)
    assert one.error is not None
