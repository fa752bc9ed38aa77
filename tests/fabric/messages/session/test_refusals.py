"""The error that a code on the wire stands for. The proxy is played by the test."""

from __future__ import annotations

import pytest

from fabric import errors
from fabric.messages.session.outcomes import CallFailed
from fabric.protocol import verbs


def test_the_error_about_an_unknown_name_lists_similar_ones(node):
    node.send("m1", "wroker")
    node.receive(verbs.Error("FIND", "wroker", "no_such_endpoint", {"similar": ["worker"]}))
    ((id, error),) = node.outcomes(CallFailed)
    assert (id, type(error), error.to, error.similar) == ("m1", errors.NoSuchEndpoint, "wroker", ("worker",))


@pytest.mark.parametrize(
    ("about", "code", "detail", "kind"),
    [
        ("SEND", "busy", {}, errors.EndpointBusy),
        ("DELIVER", "busy", {"text": "full"}, errors.EndpointBusy),
        ("SEND", "too_large", {"size": 5, "limit": 1}, errors.MessageTooLarge),
        ("SEND", "not_owned", {"sender": "x"}, errors.SenderNotOwned),
        ("DELIVER", "closing", {"text": "soon"}, errors.Refused),
        ("SEND", "something_new", {"text": 1}, errors.Refused),
        ("SEND", "too_large", {"size": "?"}, errors.MessageTooLarge),
        ("FIND", "no_such_endpoint", {"similar": 3}, None),
    ],
)
def test_a_refusal_fails_with_its_own_error(found, about, code, detail, kind):
    found.send("m1")
    found.receive(verbs.Error(about, "m1", code, detail))
    assert [type(outcome.error) for outcome in found.outcomes(CallFailed)] == ([kind] if kind else [])
