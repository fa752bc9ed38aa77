"""Writes the tables of docs/settings.md from the table of settings.

    python docs/settings_reference.py docs/settings.md

replaces the text between `<!-- settings of [fabric] -->` and the next `<!-- end -->`; likewise for `[proxy]`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cli.commands.operating.config import TABLES
from fabric.config.schema import Setting, settings_of

_PART = re.compile(r"(?<=^<!-- settings of \[)(\w+)(\] -->\n).*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL)
_HEAD = "| name | what | default | flag | variable | |\n|---|---|---|---|---|---|\n"


def markdown(kind: type[Any]) -> str:
    """The settings of a class as a Markdown table."""
    return _HEAD + "".join(f"| {' | '.join(_cells(each))} |\n" for each in settings_of(kind))


def rewritten(page: str) -> str:
    """`page` with its tables written anew. KeyError for a table that does not exist."""
    return _PART.sub(lambda found: found[1] + found[2] + markdown(TABLES[found[1]][0]), page)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the pages of these names in place; the exit status."""
    for name in arguments:
        path = Path(name)
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _cells(each: Setting) -> Iterable[str]:
    flag = f"{each.flag}` `{each.no_flag}" if each.kind is bool and not each.flag.startswith("--no-") else each.flag
    what = " ".join(f"`{choice}`" for choice in each.choices) or each.what
    facts = (f"`{each.name}`", what, each.show(each.default), f"`{flag}`" if flag else "", f"`{each.variable}`")
    return (text.replace("|", "\\|") for text in (*facts, each.help))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
