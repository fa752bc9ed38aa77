"""The table [routes] of the settings file: its router, and the error of each mistake."""

import sys
from pathlib import Path

import pytest

from fabric.errors import SettingsError
from fabric.routes import config
from fabric.routes.batch import Policy


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A function that writes the settings file."""
    path = tmp_path / "fabric.toml"
    monkeypatch.setenv("FABRIC_CONFIG", str(path))

    def write(text):
        path.write_text(text)
        return path

    return write


def test_without_a_file_or_a_table_there_is_a_router_without_senders(file, monkeypatch):
    file("[fabric]\n")
    assert not config.is_configured()
    with config.load(write=None) as router:
        assert router.platforms == []
    monkeypatch.delenv("FABRIC_CONFIG")
    with config.load(write=None) as router:
        assert router.platforms == []


def test_platforms_have_their_senders_in_order_their_default_and_their_policy(file, tmp_path):
    out = tmp_path / "out"
    file(
        f"""
[routes]
interval = 0
attempts = 1

[routes.feishu]
default = "oc_1"
backoff = 0.5
senders = [
  {{ program = ["{sys.executable}", "-c", "raise SystemExit(1)"], name = "broken" }},
  {{ program = ["{sys.executable}", "-c", "import os; open('{out}', 'w').write(os.environ['FABRIC_CHAT'])"] }},
  {{ webhook = "https://example.com/x", payload = {{ a = "{{text}}" }}, expect = {{ ok = true }}, timeout = 3 }},
]
"""
    )
    assert config.is_configured()
    with config.load(write=None) as router:
        assert router.platforms == ["feishu"]
        names = [each["name"] for each in router.stats()["senders"]["feishu"]]
        assert names == ["broken", f"program {sys.executable.rpartition('/')[2]}", "webhook example.com"]
        assert router.route("feishu", "x").wait(30)
    assert out.read_text() == "oc_1"
    found = config.read()
    assert found.policy == Policy(interval=0.0, attempts=1)
    assert (found.platforms["feishu"].default, found.platforms["feishu"].policy) == ("oc_1", {"backoff": 0.5})
    assert [facts for _, facts in found.platforms["feishu"].senders] == [{"name": "broken"}, {}, {"timeout": 3.0}]


@pytest.mark.parametrize(
    ("text", "line", "name", "problem"),
    [
        ("[routes]\nintervall = 1", 2, "routes.intervall", "there is no such key; did you mean interval?"),
        ("[routes]\ninterval = '1'", 2, "routes.interval", "'1' is not a number of at least 0 (no quotes)"),
        ("[routes]\nattempts = 0", 2, "routes.attempts", "0 is not a whole number over 0"),
        ("[routes]\nattempts = true", 2, "routes.attempts", "True is not a whole number over 0"),
        ("[routes]\nbackoff = nan", 2, "routes.backoff", "nan is not a number over 0"),
        ("routes = 1", 1, "routes", "[routes] is a table"),
        ("[routes.a]", 1, "routes.a", "senders is a list, with one at least"),
        ("[routes.a]\nsenders = []", 2, "routes.a.senders", "senders is a list, with one at least"),
        ("[routes.a]\ndefault = 3\nsenders = []", 2, "routes.a.default", "3 is no chat"),
        ("[routes.a]\ndefalt = 'x'\nsenders = []", 2, "routes.a.defalt", "did you mean default?"),
        ("[routes.'a:b']\nsenders = []", 1, "routes.a:b", "has no colon"),
        ("[routes.a]\nsenders = [\n  'x',\n]", 3, "routes.a.senders[0]", "a sender is a table"),
        ("[routes.a]\nsenders = [\n  {},\n]", 3, "routes.a.senders[0]", "either webhook or program"),
        (
            "[[routes.a.senders]]\nprogram = '/bin/true'\n[[routes.a.senders]]\nwebhok = 'x'",
            4, "routes.a.senders[1].webhok", "did you mean webhook?",
        ),
        ("[[routes.a.senders]]\nwebhook = 'ftp://x'", 2, "routes.a.senders[0].webhook", "begins with https"),
        ("[[routes.a.senders]]\nwebhook = 3", 2, "routes.a.senders[0].webhook", "3 is not text"),
        (
            "[[routes.a.senders]]\nwebhook = 'https://x/${NOPE}'",
            2, "routes.a.senders[0].webhook", "${NOPE} is not set in the environment",
        ),
        (
            "[[routes.a.senders]]\nwebhook = 'https://x'\npayload = { a = '{txt}' }",
            3, "routes.a.senders[0].payload", "did you mean text?",
        ),
        ("[[routes.a.senders]]\nwebhook = 'https://x'\nheaders = { a = 1 }", 3, "routes.a.senders[0].headers", "texts"),
        ("[[routes.a.senders]]\nwebhook = 'https://x'\nexpect = 1", 3, "routes.a.senders[0].expect", "a table such as"),
        ("[[routes.a.senders]]\nwebhook = 'https://x'\ntimeout = 0", 3, "routes.a.senders[0].timeout", "over 0"),
        ("[[routes.a.senders]]\nprogram = '/nope'", 2, "routes.a.senders[0].program", "there is no program '/nope'"),
        ("[[routes.a.senders]]\nprogram = []", 2, "routes.a.senders[0].program", "a path, or a list"),
        (
            "[[routes.a.senders]]\nprogram = '/bin/true'\nexpect = { ok = true }",
            3, "routes.a.senders[0].expect", "is for webhooks",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_with_file_line_and_key(file, text, line, name, problem):
    path = file(text)
    with pytest.raises(SettingsError) as raised:
        config.load(write=None)
    assert raised.value.name == name
    assert raised.value.source == f"{path}:{line}"
    assert problem in raised.value.problem


def test_the_file_of_the_documentation_is_valid(file, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "routes.md").read_text()
    monkeypatch.setenv("FEISHU_HOOK", "secret")
    file(page.partition("```toml\n")[2].partition("```")[0].replace("/usr/local/bin/send-to-feishu", "/bin/true"))
    with config.load(write=None) as router:
        assert [each["name"] for each in router.stats()["senders"]["feishu"]] == [
            "webhook open.example.com",
            "program true",
        ]


def test_a_file_that_is_no_toml_is_an_error(file):
    file("[routes")
    with pytest.raises(SettingsError, match="is no TOML"):
        config.load()
