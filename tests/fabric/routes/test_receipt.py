"""The outcome of one text, waited for and awaited."""

import asyncio
import threading

import pytest

from fabric.routes.receipt import Routing


def test_a_routing_is_ok_until_it_fails_and_sent_when_a_sender_confirms_it():
    routing = Routing("a:b", "1")
    assert (routing.ok, routing.sent, routing.state) == (True, False, "waiting")
    routing.settle("one", "")
    assert (routing.ok, routing.sent, routing.via, routing.wait()) == (True, True, "one", True)
    routing = Routing("a:b", "2")
    routing.settle("", "no")
    assert (routing.ok, routing.sent, routing.problem, routing.wait()) == (False, False, "no", False)


def test_waiting_ends_at_its_timeout_and_blocks_no_loop():
    routing = Routing("a:b", "1")
    with pytest.raises(TimeoutError, match="still waiting after 0 s"):
        routing.wait(0)

    async def wrong():
        routing.wait(0)

    with pytest.raises(RuntimeError, match="await it instead"):
        asyncio.run(wrong())


def test_a_routing_can_be_awaited_while_another_thread_settles_it():
    routing = Routing("a:b", "1")

    async def main():
        threading.Thread(target=routing.settle, args=("one", "")).start()
        return await routing

    assert asyncio.run(main()) is True


def test_a_callback_is_called_when_the_routing_is_settled_or_at_once():
    routing, done = Routing("a:b", "1"), []
    routing.when_done(done.append)
    assert done == []
    routing.settle("one", "")
    routing.when_done(done.append)
    assert done == [routing, routing]
