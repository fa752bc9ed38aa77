"""Platforms: senders, default chats and policies, resolved for a channel."""

import pytest

from fabric.routes.batch import Policy
from fabric.routes.platforms import Platforms


@pytest.fixture
def platforms():
    return Platforms(Policy(interval=7.0))


def register(platforms, platform="a", send=lambda delivery: True, **options):
    platforms.register(platform, send, **{"name": "", "timeout": 1.0, "needs_chat": None, "concurrency": 1, **options})


def test_a_channel_has_the_senders_of_its_platform_in_order_and_its_own_chat(platforms):
    register(platforms, name="one")
    register(platforms, name="two")
    register(platforms, "b", name="other")
    route = platforms.resolve("a:x:y")
    assert [each.name for each in route.senders] == ["one", "two"]
    assert route.chat == "x:y"
    assert platforms.names == ["a", "b"]


def test_a_channel_without_a_chat_has_the_default_else_that_of_the_environment(platforms, monkeypatch):
    assert platforms.resolve("a").chat == ""
    monkeypatch.setenv("A_HOME_CHANNEL", " home ")
    assert platforms.resolve("a").chat == "home"
    platforms.configure("a", "set", {})
    assert platforms.resolve("a").chat == "set"


def test_a_policy_is_that_of_all_platforms_but_for_the_fields_that_are_set(platforms):
    platforms.configure("a", None, {"attempts": 2})
    platforms.configure("a", None, {"backoff": 3.0})
    assert platforms.resolve("a").policy == Policy(interval=7.0, attempts=2, backoff=3.0)
    assert platforms.resolve("b").policy == Policy(interval=7.0)


def test_a_sender_has_its_own_name_and_says_whether_it_needs_a_chat(platforms):
    class Send:
        name = "mine"
        needs_chat = False

        def __call__(self, delivery):
            return True

    def function(delivery):
        return True

    register(platforms, send=Send())
    register(platforms, send=function)
    register(platforms, send=Send(), name="given", needs_chat=True)
    assert [(each.name.rpartition(".")[2], each.needs_chat) for each in platforms.resolve("a").senders] == [
        ("mine", False), ("function", True), ("given", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("channel", "problem"),
    [("a:1", ""), ("b:1", "nobody sends to 'b'; there are: a"), ("", "names no platform"), (None, "not NoneType")],
)
def test_a_channel_without_a_sender_is_a_problem(platforms, channel, problem):
    register(platforms)
    found = platforms.problem_with(channel)
    assert problem in found
    assert bool(problem) == bool(found)


def test_without_any_sender_the_problem_says_so():
    assert Platforms(Policy()).problem_with("a") == "nobody sends to 'a'; no platform has a sender"


@pytest.mark.parametrize("platform", ["", "a:b", " a"])
def test_a_platform_has_a_name_that_a_channel_can_begin_with(platforms, platform):
    with pytest.raises(ValueError, match="no platform's name"):
        register(platforms, platform)


def test_settings_are_checked(platforms):
    with pytest.raises(ValueError, match="at least"):
        register(platforms, timeout=0)
    with pytest.raises(ValueError, match="at least"):
        register(platforms, concurrency=0)
    with pytest.raises(TypeError, match="no 'intervall'"):
        platforms.configure("a", None, {"intervall": 3})
