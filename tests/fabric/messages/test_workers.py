"""Workers: a handler runs on the messages of an inbox, and answers the requests."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from fabric.bus.buffer import Buffer
from fabric.errors import Closed
from fabric.messages.workers import HandlerWorkers
from fabric.testing import wait_until
from tests.fabric.messages.answers import Answers, message


@pytest.fixture
def inbox():
    inbox = Buffer("the inbox of 'me'", 1_000)
    yield inbox
    inbox.close(Closed("the endpoint was closed"))


@pytest.fixture
def answers():
    return Answers()


def test_the_return_value_of_a_handler_answers_a_request(inbox, answers):
    HandlerWorkers("me", lambda m: m.body["n"] + 1, inbox, 1)
    inbox.put(message(answers, 1, request=True))
    wait_until(lambda: answers.replies == [("m-1", 2)])


def test_the_return_value_for_a_message_that_is_no_request_is_dropped(inbox, answers):
    workers = HandlerWorkers("me", lambda m: m.body["n"], inbox, 1)
    inbox.put(message(answers, 1))
    wait_until(lambda: workers.handled == 1)
    assert answers.replies == []


@pytest.mark.parametrize("error", [KeyError("no"), SystemExit("no")])
def test_the_exception_of_a_handler_is_logged_and_answers_a_request(inbox, answers, caplog, error):
    def handler(m):
        raise error

    HandlerWorkers("me", handler, inbox, 1)
    with caplog.at_level(logging.ERROR, "fabric.endpoint"):
        inbox.put(message(answers, 1, request=True))
        wait_until(lambda: answers.errors)
    assert "m-1" in caplog.text
    assert answers.errors == [("m-1", error)]


def test_a_worker_goes_on_after_an_exception(inbox, answers):
    workers = HandlerWorkers("me", lambda m: 1 / m.body["n"], inbox, 1)
    for number in range(3):
        inbox.put(message(answers, number, request=True))
    wait_until(lambda: workers.handled == 3)
    assert answers.replies == [("m-1", 1.0), ("m-2", 0.5)]


def test_one_worker_keeps_the_order(inbox, answers):
    seen = []
    workers = HandlerWorkers("me", lambda m: seen.append(m.body["n"]), inbox, 1)
    for number in range(200):
        inbox.put(message(answers, number))
    wait_until(lambda: workers.handled == 200)
    assert seen == list(range(200))


def test_several_workers_handle_messages_at_the_same_time(inbox, answers):
    together = threading.Barrier(3)
    HandlerWorkers("me", lambda m: together.wait(10), inbox, 3)
    for number in range(3):
        inbox.put(message(answers, number, request=True))
    wait_until(lambda: len(answers.replies) == 3)


def test_an_async_handler_runs_on_the_loop_of_its_endpoint(inbox, answers):
    async def main():
        loops, handled = [], asyncio.Event()

        async def handler(m):
            loops.append(asyncio.get_running_loop())
            handled.set()
            return "done"

        workers = HandlerWorkers("me", handler, inbox, 1)
        thread = threading.Thread(target=inbox.put, args=(message(answers, 1, request=True),))
        thread.start()
        await asyncio.wait_for(handled.wait(), 10)
        thread.join()
        inbox.close(Closed("the endpoint was closed"))
        while not workers.handled:
            await asyncio.sleep(0)
        return loops == [asyncio.get_running_loop()]

    assert asyncio.run(main())
    assert answers.replies == [("m-1", "done")]


def test_an_async_handler_without_a_loop_is_refused_with_a_hint(inbox):
    async def handler(m):
        pass

    with pytest.raises(RuntimeError, match="inside a coroutine"):
        HandlerWorkers("me", handler, inbox, 1)


def test_a_sync_handler_that_returns_a_coroutine_fails_the_request(inbox, answers):
    async def answer():
        return 1

    HandlerWorkers("me", lambda m: answer(), inbox, 1)
    inbox.put(message(answers, 1, request=True))
    wait_until(lambda: answers.errors)
    assert "async def" in str(answers.errors[0][1])


def test_the_thread_of_a_handler_must_not_wait_for_it(inbox, answers):
    may_wait = []
    workers = HandlerWorkers("me", lambda m: may_wait.append(workers.may_wait), inbox, 1)
    inbox.put(message(answers, 1))
    wait_until(lambda: workers.handled == 1)
    assert (may_wait, workers.may_wait) == ([False], True)


def test_the_loop_of_a_handler_must_not_wait_for_it(inbox):
    async def handler(m):
        pass

    async def main():
        workers = HandlerWorkers("me", handler, inbox, 1)
        here, elsewhere = workers.may_wait, await asyncio.to_thread(lambda: workers.may_wait)
        inbox.close(Closed("the endpoint was closed"))
        await asyncio.sleep(0)
        return workers, here, elsewhere

    workers, here, elsewhere = asyncio.run(main())
    assert (here, elsewhere) == (False, True)
    assert not workers.may_wait, "no thread runs its loop any more"
