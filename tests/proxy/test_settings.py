"""Patterns of topics as a setting of the proxy; other settings are tested where they matter."""

import pytest

from fabric.config.settings import load
from fabric.errors import SettingsError
from proxy.settings import ProxySettings, read_patterns


def loaded(**arguments):
    return load(ProxySettings, "proxy", arguments).retain


def test_patterns_are_a_list_or_text_with_commas_or_json(monkeypatch):
    assert loaded() == ()
    assert loaded(retain=["state.**", " config.* ", "state.**"]) == ("state.**", "config.*")
    for text in ("state.**,config.*", " state.** , config.*, ", '["state.**", "config.*"]'):
        monkeypatch.setenv("FABRIC_RETAIN", text)
        assert loaded() == ("state.**", "config.*")


def test_none_switches_off_what_another_place_says(monkeypatch):
    monkeypatch.setenv("FABRIC_RETAIN", "state.**")
    assert loaded(retain=["none"]) == ()
    for text in ("none", "None", "", "[]"):
        monkeypatch.setenv("FABRIC_RETAIN", text)
        assert loaded() == ()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a..b", "empty segment"),
        (["a", "b*"], "a wildcard must be a whole segment"),
        ("fabric.**", "are the system's own, and not retained"),
        (["fabric"], "are the system's own"),
        ("[1]", "a pattern is a str"),
        ('["a"', "is no JSON array"),
        (5, "patterns are a list such as"),
        ({"a": 1}, "patterns are a list such as"),
    ],
)
def test_wrong_patterns_are_refused(value, problem):
    with pytest.raises((ValueError, TypeError), match=problem):
        read_patterns(value)


def test_a_wrong_pattern_is_said_with_where_it_came_from(monkeypatch):
    monkeypatch.setenv("FABRIC_RETAIN", "state.**,b*")
    with pytest.raises(SettingsError, match=r"retain \(from FABRIC_RETAIN\): pattern 'b\*'"):
        loaded()


def test_the_arguments_of_another_proxy_say_the_same():
    settings = ProxySettings(retain=("state.**", "a,b.*"), retain_topics=7)
    arguments = settings.arguments()
    assert "--retain=state.**" in arguments
    assert "--retain=a,b.*" in arguments
    assert "--retain-topics=7" in arguments
    assert "--retain=none" in ProxySettings().arguments()
    assert loaded(retain=["state.**", "a,b.*"]) == settings.retain
