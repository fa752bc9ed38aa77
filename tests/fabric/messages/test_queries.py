"""Queries as futures, against a session whose proxy is played by the test."""

from __future__ import annotations

import itertools

import orjson
import pytest

from fabric.errors import Closed, DeliveryTimeout, EndpointBusy, NotConnected
from fabric.messages.queries import QueryFutures
from fabric.messages.session.outcomes import CallFailed, Listing, RetainedPage
from fabric.messages.session.session import SessionLimits
from fabric.protocol import verbs
from tests.fabric.messages.session.harness import OTHER, welcomed

THIRD = b"ijklmnop"


class Asker:
    """Queries of a welcomed session, without threads: outcomes are handled as the proxy's messages arrive."""

    def __init__(self, **options):
        self.harness = welcomed(**options)
        ids = (f"q{number}" for number in itertools.count(1))
        self.queries = QueryFutures(self.call, self.harness.session, lambda: next(ids))
        self.handlers = {**self.queries.handlers, CallFailed: self.queries.failed}

    def call(self, method, *arguments, **keywords):
        method(*arguments, **keywords)

    def receive(self, *messages):
        self.harness.receive(*messages)
        self.work()

    def pass_deadlines(self):
        self.harness.tick(1e9)
        self.work()

    def lose_the_link(self):
        self.harness.session.link_lost(self.harness.now)
        self.work()

    def work(self):
        for outcome in self.harness.outcomes():
            if (handler := self.handlers.get(type(outcome))) is not None:
                handler(outcome)


@pytest.fixture
def asker():
    return Asker()


def test_a_node_replies(asker):
    future = asker.queries.ask(OTHER, {"n": 1}, 5.0)
    assert asker.harness.sent() == [verbs.Ask("q1", OTHER, b'{"n":1}')]
    asker.receive(verbs.Telling("q1", OTHER, b'{"m":2}'))
    assert future.result(0) == [{"m": 2}]


@pytest.mark.parametrize(("code", "reply"), [("gone", None), ("busy", False)])
def test_a_node_that_cannot_be_reached_has_a_reply_of_its_own(asker, code, reply):
    future = asker.queries.ask(OTHER, 1, 5.0)
    asker.receive(verbs.Error("ASK", "q1", code, {"origin": OTHER.hex()}))
    assert future.result(0) == [reply]


def test_a_reply_that_is_no_json_is_none(asker):
    future = asker.queries.ask(OTHER, 1, 5.0)
    asker.receive(verbs.Telling("q1", OTHER, b"{"))
    assert future.result(0) == [None]


def test_all_nodes_reply(asker):
    future = asker.queries.ask_all("who", 5.0)
    asker.receive(verbs.Ack("q1", 2), verbs.Telling("q1", OTHER, b"1"))
    assert not future.done()
    asker.receive(verbs.Telling("q1", THIRD, b"2"))
    assert future.result(0) == [1, 2]


def test_replies_count_that_come_before_the_number_of_nodes_is_known(asker):
    future = asker.queries.ask_all("who", 5.0)
    asker.receive(verbs.Telling("q1", OTHER, b"1"))
    assert not future.done()
    asker.receive(verbs.Ack("q1", 1))
    assert future.result(0) == [1]


def test_without_other_nodes_there_are_no_replies(asker):
    future = asker.queries.ask_all("who", 5.0)
    asker.receive(verbs.Ack("q1", 0))
    assert future.result(0) == []


def test_a_query_that_has_its_replies_is_ended_in_the_session(asker):
    asker.queries.ask_all("who", 5.0)
    asker.receive(verbs.Ack("q1", 1), verbs.Telling("q1", OTHER, b"1"))
    assert asker.harness.session.leftovers() == {}


def test_a_missing_reply_is_not_connected_at_the_deadline(asker):
    future = asker.queries.ask_all("who", 5.0)
    asker.receive(verbs.Ack("q1", 2), verbs.Telling("q1", OTHER, b"1"))
    asker.pass_deadlines()
    with pytest.raises(NotConnected, match="timeout"):
        future.result(0)


def test_partial_replies_are_the_result_at_the_deadline(asker):
    future = asker.queries.ask_all("who", 5.0, partial=True)
    asker.receive(verbs.Ack("q1", 2), verbs.Telling("q1", OTHER, b"1"))
    asker.pass_deadlines()
    assert future.result(0) == [1]


@pytest.mark.parametrize("partial", [False, True])
def test_a_lost_link_is_not_connected(asker, partial):
    future = asker.queries.ask_all("who", 5.0, partial=partial)
    asker.lose_the_link()
    with pytest.raises(NotConnected, match="disconnected"):
        future.result(0)


def test_a_listing_is_the_result(asker):
    future = asker.queries.listing(5.0, name="worker", nodes=False)
    assert asker.harness.sent() == [verbs.List("q1", {"nodes": False, "endpoint": "worker"})]
    asker.receive(verbs.Listed("q1", {"endpoints": [], "nodes": []}))
    assert future.result(0) == Listing("q1", [], [], False)


def test_a_page_of_retained_events_is_the_result(asker):
    future = asker.queries.last({"pattern": "a.**"}, 5.0)
    assert asker.harness.sent() == [verbs.Last("q1", {"pattern": "a.**"})]
    asker.receive(verbs.Kept("q1", {"events": [], "more": False, "after": 3, "mark": None}))
    assert future.result(0) == RetainedPage("q1", [], False, 3, None)


def test_a_query_to_the_proxy_fails_at_its_deadline(asker):
    future = asker.queries.listing(5.0)
    asker.pass_deadlines()
    assert isinstance(future.exception(0), DeliveryTimeout)


def test_a_query_that_the_session_refuses_is_not_open():
    asker = Asker(limits=SessionLimits(queries=1))
    asker.queries.ask(OTHER, 1, 5.0)
    with pytest.raises(EndpointBusy):
        asker.queries.ask(OTHER, 2, 5.0)
    assert len(asker.queries) == 1


def test_closing_fails_open_queries(asker):
    futures = [asker.queries.ask(OTHER, 1, 5.0), asker.queries.listing(5.0)]
    error = Closed("the node was closed")
    asker.queries.close(error)
    assert [future.exception(0) for future in futures] == [error, error]


def test_an_outcome_after_closing_changes_nothing(asker):
    future = asker.queries.ask(OTHER, 1, 5.0)
    asker.queries.close(Closed("the node was closed"))
    asker.receive(verbs.Telling("q1", OTHER, b"1"))
    assert isinstance(future.exception(0), Closed)


def test_a_waiter_that_gives_up_does_not_end_the_query(asker):
    # An asyncio task cancels the future it waits on; the control thread would find it cancelled between two lines.
    future = asker.queries.ask(OTHER, 1, 5.0)
    assert not future.cancel()
    asker.receive(verbs.Telling("q1", OTHER, b"1"))
    assert future.result(0) == [1]


def test_a_query_of_another_node_is_answered(asker):
    asker.queries.answer_with(lambda question: question["n"] + 1)
    asker.receive(verbs.Asking("x", OTHER, b'{"n":1}'))
    assert asker.harness.sent() == [verbs.Tell("x", OTHER, b"2")]


@pytest.mark.parametrize("question", [b"{", b"{}", b"5", b"null", b"\xff"])
def test_a_query_that_makes_no_sense_is_answered_with_null(asker, question):
    asker.queries.answer_with(lambda question: question["n"] + 1)
    asker.receive(verbs.Asking("x", OTHER, question))
    assert asker.harness.sent() == [verbs.Tell("x", OTHER, orjson.dumps(None))]


def test_without_an_answer_set_a_query_is_answered_with_null(asker):
    asker.receive(verbs.Asking("x", OTHER, b"1"))
    assert asker.harness.sent() == [verbs.Tell("x", OTHER, b"null")]
