"""Endpoints: an inbox, a name that is registered or lost, and what is handled."""

from __future__ import annotations

import threading

import pytest

from fabric.errors import Closed, MessageError, NotReady
from fabric.messages.endpoint import Endpoint
from fabric.testing import wait_until
from tests.fabric.messages.answers import Answers, message


@pytest.fixture
def answers():
    return Answers()


def endpoint(answers, handler=None, *, max_inbox=10, max_workers=1):
    return Endpoint("me", handler, max_inbox=max_inbox, max_workers=max_workers, answers=answers)


def test_a_full_inbox_refuses_a_message(answers):
    inbox = endpoint(answers, max_inbox=1)
    assert [inbox.put(message(answers)), inbox.put(message(answers))] == [True, False]


def test_poll_takes_everything_at_once(answers):
    inbox = endpoint(answers)
    inbox.put(message(answers, 1))
    inbox.put(message(answers, 2))
    assert [each.id for each in inbox.poll()] == ["m-1", "m-2"]
    assert inbox.poll() == []


def test_iterating_ends_when_it_is_closed(answers):
    inbox = endpoint(answers)
    inbox.put(message(answers))
    inbox.close()
    assert [each.id for each in inbox] == ["m-1"]


def test_iterating_raises_the_error_that_ended_the_name(answers):
    inbox = endpoint(answers)
    inbox.lost(MessageError("somebody else has it"), "lost")
    with pytest.raises(MessageError, match="somebody else"):
        next(inbox)


def test_closing_releases_the_name_once(answers):
    inbox = endpoint(answers)
    inbox.key = 5
    inbox.close()
    inbox.close()
    assert answers.released == [5]


def test_waiting_for_the_name_ends_when_it_is_registered(answers):
    inbox = endpoint(answers)
    inbox.registered("me-2", "s-1")
    inbox.wait_ready(0)
    assert (inbox.name, inbox.session, inbox.state) == ("me-2", "s-1", "registered")


def test_waiting_for_the_name_times_out_with_the_address_of_the_proxy(answers):
    with pytest.raises(NotReady, match="nowhere"):
        endpoint(answers).wait_ready(0)


def test_waiting_for_a_name_that_was_refused_raises_its_error(answers):
    inbox = endpoint(answers)
    inbox.lost(MessageError("taken"), "failed")
    with pytest.raises(MessageError, match="taken"):
        inbox.wait_ready(0)


def test_receiving_from_a_closed_endpoint_raises_closed(answers):
    inbox = endpoint(answers)
    inbox.close()
    with pytest.raises(Closed):
        inbox.receive(0)


def test_fewer_than_one_worker_is_refused(answers):
    with pytest.raises(ValueError, match="max_workers"):
        endpoint(answers, max_workers=0)


def test_messages_are_unhandled_until_the_handler_has_finished(answers):
    go_on = threading.Event()
    inbox = endpoint(answers, lambda m: go_on.wait(10))
    inbox.put(message(answers, 1))
    inbox.put(message(answers, 2))
    assert (inbox.unhandled, inbox.handled) == (2, 0)
    go_on.set()
    wait_until(lambda: inbox.handled == 2)
    assert inbox.unhandled == 0
    inbox.close()


def test_a_message_that_was_refused_is_not_unhandled(answers):
    go_on = threading.Event()
    inbox = endpoint(answers, lambda m: go_on.wait(10), max_inbox=1)
    taken = sum(inbox.put(message(answers, number)) for number in range(10))
    assert inbox.unhandled == taken < 10
    inbox.close()
    go_on.set()


def test_without_a_handler_no_message_is_unhandled(answers):
    inbox = endpoint(answers)
    inbox.put(message(answers, 1))
    assert (inbox.unhandled, inbox.handled, inbox.may_wait) == (0, 0, True)
