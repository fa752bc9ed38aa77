"""Queries to other nodes and to the proxy. The proxy is played by the test."""

from __future__ import annotations

import pytest

from fabric import errors
from fabric.messages.session.outcomes import (
    CallFailed,
    Listing,
    QueryArrived,
    QueryFailed,
    QueryReply,
    QuerySent,
    RetainedPage,
)
from fabric.messages.session.session import SessionLimits
from fabric.protocol import verbs
from tests.fabric.messages.session.harness import OTHER, Harness, welcomed


def test_a_query_is_sent_and_its_answer_reported(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    asked = node.sent()
    node.receive(verbs.Telling("q", OTHER, b"that"))
    assert (asked, node.outcomes()) == ([verbs.Ask("q", OTHER, b"what")], [QueryReply("q", OTHER, b"that")])


def test_a_query_to_all_reports_the_number_of_nodes_asked(node):
    node.session.ask("q", b"*", b"what", node.now + 5, node.now)
    node.receive(verbs.Ack("q", 3))
    assert node.outcomes() == [QuerySent("q", 3)]


@pytest.mark.parametrize("code", ["gone", "busy"])
def test_a_query_that_is_refused_reports_by_which_node(node, code):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.receive(verbs.Error("ASK", "q", code, {"origin": OTHER.hex()}))
    assert node.outcomes() == [QueryFailed("q", OTHER, code)]


def test_a_query_ends_with_the_link(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.session.link_lost(node.now)
    assert node.outcomes(QueryFailed) == [QueryFailed("q", b"", "disconnected")]


def test_a_query_ends_at_its_deadline(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.tick(5.0)
    assert node.outcomes(QueryFailed) == [QueryFailed("q", b"", "timeout")]


def test_an_answer_after_the_end_is_ignored(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    node.session.cancel("q", node.now)
    node.receive(verbs.Telling("q", OTHER, b"that"))
    assert node.outcomes() == []


def test_without_a_proxy_a_query_fails_at_once():
    node = Harness()
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    assert node.outcomes() == [QueryFailed("q", b"", "disconnected")]


def test_a_query_over_the_limit_is_refused_as_busy():
    node = welcomed(limits=SessionLimits(queries=1))
    node.session.ask("q1", OTHER, b"what", node.now + 5, node.now)
    with pytest.raises(errors.EndpointBusy):
        node.session.ask("q2", OTHER, b"what", node.now + 5, node.now)


def test_an_id_of_an_open_query_is_not_used_again(node):
    node.session.ask("q", OTHER, b"what", node.now + 5, node.now)
    with pytest.raises(ValueError, match="used once"):
        node.session.endpoints("q", node.now + 5, node.now)


def test_a_query_of_another_node_is_answered(node):
    node.receive(verbs.Asking("q", OTHER, b"what"))
    (asked,) = node.outcomes(QueryArrived)
    node.session.tell(asked, b"that")
    assert node.sent() == [verbs.Tell("q", OTHER, b"that")]


def test_a_listing_is_reported(node):
    node.session.endpoints("l", node.now + 5, node.now, name="worker", nodes=False)
    asked = node.sent()
    node.receive(verbs.Listed("l", {"endpoints": [{"endpoint": "worker"}], "nodes": []}))
    assert (asked, node.outcomes()) == (
        [verbs.List("l", {"nodes": False, "endpoint": "worker"})],
        [Listing("l", [{"endpoint": "worker"}], [], False)],
    )


def test_a_listing_is_asked_for_again_after_a_reconnect(node):
    node.session.endpoints("l", node.now + 5, node.now)
    node.session.link_lost(node.now)
    node.welcome("boot2")
    assert node.sent() == [verbs.List("l", {})]


def test_a_listing_that_does_not_come_fails_at_its_deadline():
    node = Harness().start()
    node.session.endpoints("l", node.now + 5, node.now)
    node.tick(5.0)
    assert [type(outcome.error) for outcome in node.outcomes(CallFailed)] == [errors.NotConnected]


def test_retained_events_are_reported(node):
    node.session.last("l", {"pattern": "a.*"}, node.now + 5, node.now)
    asked = node.sent()
    event = ["a.b", "00" * 8, 3, {"n": 1}]
    node.receive(verbs.Kept("l", {"events": [event], "more": True, "after": 9, "mark": None}))
    assert (asked, node.outcomes()) == (
        [verbs.Last("l", {"pattern": "a.*"})],
        [RetainedPage("l", [event], True, 9, None)],
    )


def test_retained_events_are_asked_for_again_after_a_reconnect(node):
    node.session.last("l", {"pattern": "a"}, node.now + 5, node.now)
    node.session.link_lost(node.now)
    node.welcome("boot2")
    assert node.sent() == [verbs.Last("l", {"pattern": "a"})]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"events": {}, "after": 1, "mark": None},
        {"events": [], "after": "1", "mark": None},
        {"events": [], "after": 1, "mark": True},
        {"events": [["a", "00", 1]], "after": 1, "mark": None},
        {"events": [["a", "00", 1, None]], "after": 1, "mark": None},
    ],
)
def test_a_malformed_page_is_counted_and_the_query_stays_open(node, kept):
    node.session.last("l", {"pattern": "a"}, node.now + 5, node.now)
    node.receive(verbs.Kept("l", kept))
    node.receive(verbs.Listed("l", {"endpoints": [], "nodes": []}))
    assert (node.outcomes(), node.session.stats()["malformed"]) == ([], 1)
    node.tick(5.0)
    assert [type(outcome.error) for outcome in node.outcomes(CallFailed)] == [errors.DeliveryTimeout]


def test_a_query_that_the_proxy_does_not_know_fails_with_its_verb(node):
    node.session.last("l", {"pattern": "a"}, node.now + 5, node.now)
    node.receive(verbs.Error("unknown", "l", "unknown_verb", {"verbs": ["LIST"]}))
    (failed,) = node.outcomes(CallFailed)
    assert (type(failed.error), failed.error.code) == (errors.Refused, "unknown_verb")
    assert "does not know LAST" in str(failed.error)
