"""Messages, as a handler gets them."""

from __future__ import annotations

import pytest

from tests.fabric.messages.answers import Answers, message


def test_a_message_is_a_dict_with_its_most_used_facts_as_attributes():
    one = message(Answers(), 7)
    assert one == {"type": "message", "id": "m-7", "to": "me", "from": "you", "ts": 1.0, "body": {"n": 7}}
    assert (one.id, one.sender, one.body, one.is_request) == ("m-7", "you", {"n": 7}, False)


def test_a_request_is_answered_with_a_value():
    answers = Answers()
    assert message(answers, 1, request=True).reply([2]) is True
    assert answers.replies == [("m-1", [2])]


def test_a_request_is_answered_with_an_error_as_if_its_handler_had_raised_it():
    answers, wrong = Answers(), ValueError("no")
    assert message(answers, 1, request=True).fail(wrong) is True
    assert answers.errors == [("m-1", wrong)]


@pytest.mark.parametrize("answer", [lambda one: one.reply(1), lambda one: one.fail(ValueError("no"))])
def test_a_message_that_is_no_request_is_not_answered(answer):
    answers = Answers()
    assert answer(message(answers, 2)) is False
    assert (answers.replies, answers.errors) == ([], [])
