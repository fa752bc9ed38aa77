import asyncio
import logging
import threading

import pytest

from fabric.errors import Closed, MessageError, NotReady
from fabric.messages.endpoint import Endpoint, Message
from fabric.messages.session.outcomes import Arrived
from fabric.testing import wait_until


class Answers:
    """Stands in for the session's shell, which needs a proxy; what it does is tested with one elsewhere."""

    url = "ipc:///nowhere"

    def __init__(self):
        self.replies, self.errors, self.released = [], [], []

    def reply(self, arrived, value):
        self.replies.append((arrived.id, value))
        return True

    def reply_error(self, arrived, error):
        self.errors.append((arrived.id, error))
        return True

    def release(self, key):
        self.released.append(key)

    def may_block(self):
        pass


def message(answers, number=1, *, request=False):
    facts = {"type": "message", "id": f"m-{number}", "to": "me", "from": "you", "ts": 1.0, "body": {"n": number}}
    return Message(Arrived(1, "me", f"m-{number}", facts, request, 0.0), answers)


def endpoint(answers, handler=None, *, max_inbox=10, max_workers=1):
    return Endpoint("me", handler, max_inbox=max_inbox, max_workers=max_workers, answers=answers)


def test_a_message_is_a_dict_with_the_usual_questions_as_attributes():
    one = message(Answers(), 7)
    assert one == {"type": "message", "id": "m-7", "to": "me", "from": "you", "ts": 1.0, "body": {"n": 7}}
    assert (one.id, one.sender, one.body, one.is_request) == ("m-7", "you", {"n": 7}, False)


def test_who_takes_messages_can_answer_a_request_with_an_error_as_a_handler_can():
    answers, wrong = Answers(), ValueError("no")
    assert message(answers, 1, request=True).fail(wrong) is True
    assert message(answers, 2).fail(wrong) is False
    assert answers.errors == [("m-1", wrong)]


def test_a_full_inbox_says_no():
    answers = Answers()
    inbox = endpoint(answers, max_inbox=1)
    assert [inbox.put(message(answers)), inbox.put(message(answers))] == [True, False]


def test_poll_takes_everything_at_once():
    answers = Answers()
    inbox = endpoint(answers)
    inbox.put(message(answers, 1))
    inbox.put(message(answers, 2))
    assert [each.id for each in inbox.poll()] == ["m-1", "m-2"]
    assert inbox.poll() == []


def test_iterating_ends_when_it_is_closed():
    answers = Answers()
    inbox = endpoint(answers)
    inbox.put(message(answers))
    inbox.close()
    assert [each.id for each in inbox] == ["m-1"]


def test_iterating_raises_why_the_name_was_lost():
    inbox = endpoint(Answers())
    inbox.lost(MessageError("somebody else has it"), "lost")
    with pytest.raises(MessageError, match="somebody else"):
        next(inbox)


def test_closing_gives_the_name_back_once():
    answers = Answers()
    inbox = endpoint(answers)
    inbox.key = 5
    inbox.close()
    inbox.close()
    assert answers.released == [5]


def test_what_a_handler_returns_answers_a_request():
    answers = Answers()
    inbox = endpoint(answers, lambda m: m.body["n"] + 1)
    inbox.put(message(answers, 1, request=True))
    wait_until(lambda: answers.replies == [("m-1", 2)])
    inbox.close()


def test_what_a_handler_returns_for_a_plain_message_goes_nowhere():
    answers = Answers()
    seen = []
    inbox = endpoint(answers, lambda m: seen.append(m.id))
    inbox.put(message(answers, 1))
    wait_until(lambda: seen == ["m-1"])
    inbox.close()
    assert answers.replies == []


def test_what_a_handler_raises_is_logged_and_answers_a_request(caplog):
    answers = Answers()

    def handler(m):
        raise KeyError("no")

    inbox = endpoint(answers, handler)
    with caplog.at_level(logging.ERROR, "fabric.endpoint"):
        inbox.put(message(answers, 1, request=True))
        wait_until(lambda: answers.errors)
    inbox.close()
    assert "m-1" in caplog.text
    assert isinstance(answers.errors[0][1], KeyError)


def test_one_worker_keeps_the_order():
    answers = Answers()
    seen = []
    inbox = endpoint(answers, lambda m: seen.append(m.body["n"]), max_inbox=1_000)
    for number in range(200):
        inbox.put(message(answers, number))
    wait_until(lambda: len(seen) == 200)
    inbox.close()
    assert seen == list(range(200))


def test_more_workers_handle_at_the_same_time():
    answers = Answers()
    together = threading.Barrier(3)
    inbox = endpoint(answers, lambda m: together.wait(10), max_workers=3)
    for number in range(3):
        inbox.put(message(answers, number, request=True))
    wait_until(lambda: len(answers.replies) == 3)
    inbox.close()


def test_an_async_handler_runs_on_the_loop_that_ran_when_the_endpoint_was_made():
    async def main():
        answers = Answers()
        loops = []

        async def handler(m):
            loops.append(asyncio.get_running_loop())
            return "done"

        inbox = endpoint(answers, handler)
        thread = threading.Thread(target=inbox.put, args=(message(answers, 1, request=True),))
        thread.start()
        while not answers.replies:
            await asyncio.sleep(0.001)
        thread.join()
        inbox.close()
        await asyncio.sleep(0)
        return loops == [asyncio.get_running_loop()], answers.replies

    assert asyncio.run(main()) == (True, [("m-1", "done")])


def test_an_async_handler_without_a_loop_is_refused_and_says_what_to_do():
    async def handler(m):
        pass

    with pytest.raises(RuntimeError, match="inside a coroutine"):
        endpoint(Answers(), handler)


def test_a_handler_that_returns_a_coroutine_fails_the_request():
    async def answer():
        return 1

    answers = Answers()
    inbox = endpoint(answers, lambda m: answer())
    inbox.put(message(answers, 1, request=True))
    wait_until(lambda: answers.errors)
    inbox.close()
    assert "async def" in str(answers.errors[0][1])


def test_waiting_for_the_name_ends_when_it_is_registered():
    inbox = endpoint(Answers())
    inbox.registered("me-2", "s-1")
    inbox.wait_ready(0)
    assert (inbox.name, inbox.session, inbox.state) == ("me-2", "s-1", "registered")


def test_waiting_for_the_name_says_which_proxy_does_not_answer():
    with pytest.raises(NotReady, match="nowhere"):
        endpoint(Answers()).wait_ready(0)


def test_waiting_for_a_name_that_was_refused_raises_why():
    inbox = endpoint(Answers())
    inbox.lost(MessageError("taken"), "failed")
    with pytest.raises(MessageError, match="taken"):
        inbox.wait_ready(0)


def test_a_closed_endpoint_says_so_to_who_waits():
    inbox = endpoint(Answers())
    inbox.close()
    with pytest.raises(Closed):
        inbox.receive(0)


def test_fewer_than_one_worker_is_refused():
    with pytest.raises(ValueError, match="max_workers"):
        endpoint(Answers(), max_workers=0)
