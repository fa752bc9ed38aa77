"""Channels, split; answers of senders as results."""

from types import SimpleNamespace

import pytest

from fabric.routes.model import Result, home_variable, result_of, split


@pytest.mark.parametrize(
    ("channel", "halves"),
    [
        ("feishu", ("feishu", "")),
        ("feishu:oc_1", ("feishu", "oc_1")),
        ("irc:#a:b", ("irc", "#a:b")),
        ("feishu:", ("feishu", "")),
        ("x: y ", ("x", " y ")),
    ],
)
def test_a_channel_is_split_at_its_first_colon(channel, halves):
    assert split(channel) == halves


@pytest.mark.parametrize("channel", ["", ":oc_1", "  :x"])
def test_a_channel_without_a_platform_is_an_error(channel):
    with pytest.raises(ValueError, match="names no platform"):
        split(channel)


def test_the_length_of_a_channel_is_bounded():
    with pytest.raises(ValueError, match="1,000 are allowed"):
        split("a" * 1_001)


def test_a_channel_is_a_str():
    with pytest.raises(TypeError, match="not int"):
        split(7)


def test_the_variable_of_a_default_chat_is_named_after_the_platform():
    assert home_variable("feishu") == "FEISHU_HOME_CHANNEL"
    assert home_variable("my-chat.2") == "MY_CHAT_2_HOME_CHANNEL"


@pytest.mark.parametrize(
    "value",
    [True, Result(True), SimpleNamespace(ok=True), SimpleNamespace(success=True), {"ok": True}, {"success": True}],
)
def test_an_explicit_true_is_success(value):
    assert result_of(value).ok


@pytest.mark.parametrize(
    "value",
    [
        None, False, 1, "ok", b"1", object(), [1], {}, {"ok": 1}, {"ok": "true"}, SimpleNamespace(ok=False),
        SimpleNamespace(ok=False, success=True), SimpleNamespace(success=False), SimpleNamespace(ok=1), Result(1),
    ],
)  # fmt: skip
def test_every_other_answer_is_a_failure_even_if_truthy(value):
    assert result_of(value).ok is False


def test_the_error_of_an_object_is_the_problem():
    assert result_of(SimpleNamespace(success=False, error="no such chat")).problem == "no such chat"
    assert "None, which is not True" in result_of(None).problem
    assert len(result_of("x" * 1_000).problem) < 200
