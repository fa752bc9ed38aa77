"""Hooks and patterns of topics as settings of the proxy; other settings are tested where they are used."""

import orjson
import pytest

from fabric.config.settings import load
from fabric.errors import SettingsError
from proxy.settings import ProxySettings, read_hooks, read_patterns

# Hooks


def loaded_hooks(**arguments):
    return load(ProxySettings, "proxy", arguments).hooks


def test_a_hook_is_a_path_or_a_list_of_a_path_and_arguments(program):
    one, two = program(""), program("")
    assert read_hooks([one, [two, "a b", ""]]) == ((one,), (two, "a b", ""))
    assert read_hooks(read_hooks([one, [two, "x"]])) == ((one,), (two, "x"))


@pytest.mark.parametrize("text", ["", "  ", "none", "None", "[]", '["none"]', ","])
def test_an_environment_variable_that_names_no_hook_switches_them_off(text, monkeypatch):
    monkeypatch.setenv("FABRIC_HOOKS", text)
    assert loaded_hooks() == ()


def test_the_environment_variable_is_a_comma_list_or_a_json_array(program, monkeypatch):
    one, two = program(""), program("")
    monkeypatch.setenv("FABRIC_HOOKS", f"{one}, {two}")
    assert loaded_hooks() == ((one,), (two,))
    monkeypatch.setenv("FABRIC_HOOKS", orjson.dumps([[one, "x,y"], two]).decode())
    assert loaded_hooks() == ((one, "x,y"), (two,))


def test_the_settings_file_has_a_list(program, monkeypatch, tmp_path):
    one = program("")
    (tmp_path / "f.toml").write_text(f'[proxy]\nhooks = [["{one}", "arg"], "{one}"]\nhook_timeout = 5\n')
    monkeypatch.setenv("FABRIC_CONFIG", str(tmp_path / "f.toml"))
    assert loaded_hooks() == ((one, "arg"), (one,))
    monkeypatch.setenv("FABRIC_HOOKS", "none")
    assert loaded_hooks() == ()


def test_an_option_is_a_path_with_any_characters_or_a_json_array(program):
    one = program("", "a b,c")
    assert loaded_hooks(hooks=[one, orjson.dumps([one, "x"]).decode()]) == ((one,), (one, "x"))
    assert loaded_hooks(hooks=["none"]) == ()


def test_a_program_without_a_slash_is_looked_for_in_path(program, monkeypatch, tmp_path):
    one = program("", "my-hook")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert read_hooks(["my-hook"]) == ((one,),)


def test_a_home_directory_and_a_relative_path_are_made_absolute(program, monkeypatch, tmp_path):
    one = program("", "rel")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert read_hooks(["~/rel", "./rel"]) == ((one,), (one,))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["/nonexistent/x"], "hook 1: there is no file /nonexistent/x"),
        (["/bin/sh", "/tmp"], "hook 2: /tmp is no file"),
        (["no-such-program-anywhere"], "hook 1: there is no program 'no-such-program-anywhere' in PATH"),
        (["/bin/sh", 5], "hook 2 is a path, or a list of a path and its arguments, not 5"),
        ([["/bin/sh", 5]], "hook 1 is a path, or a list"),
        ([[]], "hook 1 names no program"),
        ([["/bin/sh", "a\0b"]], "hook 1 names no program"),
        (["/bin/sh\udc80"], "hook 1 is no valid Unicode"),
        ("[1, 2", "is no JSON array"),
        ({"a": 1}, "hooks are a list of programs"),
        (5, "hooks are a list of programs"),
    ],
)
def test_a_wrong_hook_is_named_with_the_reason(value, problem):
    with pytest.raises((ValueError, TypeError)) as caught:
        read_hooks(value)
    assert problem in str(caught.value)


def test_a_file_that_is_not_executable_is_refused_with_the_remedy(program):
    one = program("", mode=0o644)
    with pytest.raises(ValueError, match=f"is not executable; mend it with: chmod \\+x {one}"):
        read_hooks([one])


def test_the_error_for_a_wrong_hook_names_its_source(monkeypatch):
    monkeypatch.setenv("FABRIC_HOOKS", "/nonexistent")
    with pytest.raises(SettingsError, match=r"hooks \(from FABRIC_HOOKS\): hook 1: there is no file /nonexistent"):
        loaded_hooks()


# Patterns


def loaded(**arguments):
    return load(ProxySettings, "proxy", arguments).retain


def test_patterns_are_a_list_or_text_with_commas_or_json(monkeypatch):
    assert loaded() == ()
    assert loaded(retain=["state.**", " config.* ", "state.**"]) == ("state.**", "config.*")
    for text in ("state.**,config.*", " state.** , config.*, ", '["state.**", "config.*"]'):
        monkeypatch.setenv("FABRIC_RETAIN", text)
        assert loaded() == ("state.**", "config.*")


def test_none_overrides_patterns_from_another_source(monkeypatch):
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


def test_the_error_for_a_wrong_pattern_names_its_source(monkeypatch):
    monkeypatch.setenv("FABRIC_RETAIN", "state.**,b*")
    with pytest.raises(SettingsError, match=r"retain \(from FABRIC_RETAIN\): pattern 'b\*'"):
        loaded()


def test_patterns_are_among_the_arguments_of_settings():
    settings = ProxySettings(retain=("state.**", "a,b.*"), retain_topics=7)
    arguments = settings.arguments()
    assert "--retain=state.**" in arguments
    assert "--retain=a,b.*" in arguments
    assert "--retain-topics=7" in arguments
    assert "--retain=none" in ProxySettings().arguments()
    assert loaded(retain=["state.**", "a,b.*"]) == settings.retain
