"""The documentation, held to what is true: blocks compile, settings and errors are described, links lead somewhere."""

import re
from pathlib import Path

import pytest

import fabric
from docs.architecture_tree import render
from docs.settings_reference import markdown
from fabric.config.settings import Settings, load
from proxy.settings import ProxySettings

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "docs" / "settings.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[\w-]+)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_compiles(page):
    for language, code in BLOCK.findall(page.read_text()):
        if language == "python":
            compile(code, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("kind", [Settings, ProxySettings])
def test_every_setting_is_described(kind):
    assert markdown(kind) in SETTINGS.read_text(), "rewrite it with: python docs/settings_reference.py docs/settings.md"


def test_the_settings_file_that_is_shown_is_one(tmp_path, monkeypatch):
    block = next(code for language, code in BLOCK.findall(SETTINGS.read_text()) if language == "toml")
    monkeypatch.setenv("FABRIC_CONFIG", str(tmp_path / "fabric.toml"))
    # The programs in it are examples.
    (tmp_path / "fabric.toml").write_text(re.sub(r"^hooks = .*$", "hooks = ['/bin/true']", block, flags=re.MULTILINE))
    assert load(Settings, "fabric", {}).outbox_seconds == 10
    assert load(ProxySettings, "proxy", {}).timeout == 5


def test_the_program_in_the_readme_is_the_first_thing_and_runs_as_it_is():
    _, code = next(block for block in BLOCK.findall((ROOT / "README.md").read_text()) if block[0] == "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    assert "import fabric" in code


def test_every_error_is_in_the_tree_of_the_docstring():
    names = [name for name in dir(fabric.errors) if isinstance(getattr(fabric.errors, name), type)]
    assert [name for name in names if name != "Sequence" and name not in fabric.errors.__doc__] == []


def test_the_tree_of_modules_is_that_of_the_sources():
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert render(page) == page, "rewrite it with: python docs/architecture_tree.py docs/architecture.md"


def test_every_test_that_the_guarantees_name_is_there():
    page = (ROOT / "docs" / "guarantees.md").read_text()
    named = set(re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)`", page))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert named
    assert {name.rpartition("/")[2] for name in named} <= there
