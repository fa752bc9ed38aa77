"""The tables of docs/settings.md."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.settings_reference import main, markdown, rewritten
from fabric.config.schema import setting
from proxy.settings import ProxySettings

ROOT = Path(__file__).parents[2]
PAGE = "before\n<!-- settings of [proxy] -->\nold\n\nold\n<!-- end -->\nbetween\n<!-- end -->\nafter\n"


@dataclass(frozen=True)
class Made:
    """A few settings."""

    size: int = setting(2048, "a `size`, or a | b", unit="bytes")
    on: bool = setting(True, "a switch")
    off: bool = setting(True, "another", flag="--no-off")
    none: str = setting("", "no flag", flag="", unset="nothing")
    mode: str = setting("a", "a choice", choices=("a", "b"))


def test_a_setting_is_a_row_with_all_its_names():
    assert markdown(Made).splitlines()[2:] == [
        "| `size` | whole number | 2 KiB | `--size` | `FABRIC_SIZE` | a `size`, or a \\| b |",
        "| `on` | yes or no | yes | `--on` `--no-on` | `FABRIC_ON` | a switch |",
        "| `off` | yes or no | yes | `--no-off` | `FABRIC_OFF` | another |",
        "| `none` | text | nothing |  | `FABRIC_NONE` | no flag |",
        "| `mode` | `a` `b` | a | `--mode` | `FABRIC_MODE` | a choice |",
    ]


def test_only_the_text_between_the_marks_is_rewritten():
    made = rewritten(PAGE)
    table = markdown(ProxySettings)
    assert made == f"before\n<!-- settings of [proxy] -->\n{table}<!-- end -->\nbetween\n<!-- end -->\nafter\n"
    assert rewritten(made) == made


def test_a_page_that_asks_for_an_unknown_table_is_a_mistake():
    with pytest.raises(KeyError, match="nobody"):
        rewritten(PAGE.replace("proxy", "nobody"))


def test_pages_are_rewritten_in_place(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert main([str(page)]) == 0
    assert page.read_text() == rewritten(PAGE)


def test_it_runs_as_a_script(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    subprocess.run([sys.executable, ROOT / "docs" / "settings_reference.py", page], cwd="/", check=True)
    assert page.read_text() == rewritten(PAGE)
