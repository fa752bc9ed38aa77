"""Endpoint names: asked for, granted, lost, released. The proxy is played by the test."""

from __future__ import annotations

import pytest

from fabric import errors
from fabric.messages.session.outcomes import NameLost, NameRefused, NameRegistered
from fabric.messages.session.session import SessionLimits
from fabric.protocol import verbs
from tests.fabric.messages.session.harness import Harness, welcomed


def test_a_name_is_asked_for(node):
    node.register("inbox", "suffix")
    assert node.sent() == [verbs.Register(1, "inbox", "suffix")]


def test_a_granted_name_is_reported_with_its_session(node):
    node.register("inbox", "suffix")
    node.receive(verbs.Registered(1, "inbox-2", "i-1"))
    assert node.outcomes() == [NameRegistered(1, "inbox-2", "i-1")]


def test_the_error_about_a_taken_name_names_its_holder(node):
    node.register()
    node.receive(verbs.Error("REGISTER", "1", "name_taken", {"holder": "b (pid 7 on host)"}))
    ((key, name, error),) = node.outcomes(NameRefused)
    assert (key, name, type(error), error.holder) == (1, "inbox", errors.NameTaken, "b (pid 7 on host)")


def test_a_name_that_is_not_granted_fails_at_its_deadline():
    node = Harness().start()
    node.register()
    node.tick(5.0)
    assert [type(outcome.error) for outcome in node.outcomes(NameRefused)] == [errors.NotConnected]


@pytest.mark.parametrize(("name", "policy"), [("", "reject"), ("a b", "reject"), ("a", "steal")])
def test_a_bad_name_or_policy_is_refused_at_once(node, name, policy):
    with pytest.raises(ValueError, match=r"name|policy"):
        node.register(name, policy)


def test_a_name_is_asked_for_again_with_its_session_after_a_reconnect(inbox):
    inbox.session.link_lost(inbox.now)
    inbox.welcome("boot2")
    assert inbox.sent(verbs.Register) == [verbs.Register(1, "inbox", "reject", "i-1", "inbox")]


def test_a_name_that_was_taken_meanwhile_is_lost(inbox):
    inbox.session.link_lost(inbox.now)
    inbox.welcome("boot2")
    inbox.outcomes()
    inbox.receive(verbs.Error("REGISTER", "1", "name_taken", {"holder": "c"}))
    ((key, name, reason, error),) = inbox.outcomes(NameLost)
    assert (key, name, reason, error.holder) == (1, "inbox", "taken", "c")


def test_a_name_that_is_replaced_is_lost(inbox):
    inbox.receive(verbs.Bye("replaced", "i-1"))
    assert inbox.outcomes() == [NameLost(1, "inbox", "replaced", None)]


def test_a_lost_name_is_not_asked_for_again(inbox):
    inbox.receive(verbs.Bye("replaced", "i-1"))
    inbox.session.link_lost(inbox.now)
    inbox.welcome("boot2")
    assert inbox.sent(verbs.Register) == []


def test_a_name_is_released(inbox):
    inbox.session.unregister(1)
    assert inbox.sent() == [verbs.Unregister(1)]


def test_a_name_released_without_a_link_is_released_again_before_names_are_asked_for(inbox):
    inbox.session.link_lost(inbox.now)
    inbox.session.unregister(1)
    inbox.register("inbox")
    inbox.welcome("boot")
    assert inbox.sent() == [verbs.Unregister(1), verbs.Register(2, "inbox", "reject")]


def test_a_name_granted_after_its_release_is_released_again(node):
    key = node.register()
    node.session.unregister(key)
    node.sent()
    node.receive(verbs.Registered(1, "inbox", "i-1"))
    assert node.sent() == [verbs.Unregister(1)]


def test_over_the_limit_only_the_names_released_last_are_released_again():
    node = welcomed(limits=SessionLimits(released_names=2))
    node.session.link_lost(node.now)
    for _ in range(3):
        node.session.unregister(node.register())
    node.welcome("boot2")
    assert node.sent() == [verbs.Unregister(2), verbs.Unregister(3)]


def test_the_names_of_a_session_are_those_granted_and_those_asked_for(inbox):
    inbox.register("second")
    assert inbox.session.names == {1: "inbox", 2: ""}
