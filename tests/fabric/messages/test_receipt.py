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


def test_what_it_failed_with_is_raised_and_can_be_looked_at():
    one = receipt()
    error = NoSuchEndpoint("worker", ["worker-2"])
    one.failed(error)
    assert (one.state, one.error) == ("failed", error)
    with pytest.raises(NoSuchEndpoint):
        one.wait()


def test_to_stop_waiting_is_no_failure_of_the_message():
    one = receipt()
    with pytest.raises(TimeoutError, match="still waiting"):
        one.wait(0)
    assert one.state == "waiting"


def test_a_delivery_timeout_is_not_taken_for_the_end_of_the_wait():
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


def test_who_stops_awaiting_does_not_take_the_message_back():
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
