"""The documentation, held to what is true: blocks compile, settings and errors are described, links lead somewhere."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import fabric
from fabric.settings import Settings
from proxy.settings import ProxySettings

ROOT = Path(__file__).parents[1]
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
    text = (ROOT / "docs" / "settings.md").read_text()
    assert [field.name for field in fields(kind) if f"| `{field.name}` |" not in text] == []


def test_the_program_in_the_readme_is_the_first_thing_and_runs_as_it_is():
    _, code = next(block for block in BLOCK.findall((ROOT / "README.md").read_text()) if block[0] == "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    assert "import fabric" in code


def test_every_error_is_in_the_tree_of_the_docstring():
    names = [name for name in dir(fabric.errors) if isinstance(getattr(fabric.errors, name), type)]
    assert [name for name in names if name != "Sequence" and name not in fabric.errors.__doc__] == []
