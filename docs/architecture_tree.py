"""Writes the tree of modules in docs/architecture.md from the first lines of their docstrings.

python docs/architecture_tree.py docs/architecture.md
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent
BEGIN, END = "<!-- tree: begin -->", "<!-- tree: end -->"
#: Columns for indentation and name; the docstring follows.
WIDTH = 29


def tree() -> str:
    """The modules of the three packages, each with the first line of its docstring, as a Markdown code block."""
    lines = [line for package in ("fabric", "proxy", "cli") for line in _folder(ROOT / package, 0)]
    return "\n".join(["```", *lines, "```"])


def _folder(folder: Path, depth: int) -> Iterator[str]:
    yield _line(f"{folder.name}/", folder / "__init__.py", depth)
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield _line(path.stem, path, depth + 1)
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").exists():
            yield from _folder(path, depth + 1)


def _line(name: str, path: Path, depth: int) -> str:
    summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    return f"{'  ' * depth + name:<{WIDTH}}{summary}".rstrip()


def render(page: str) -> str:
    """`page` with its tree up to date."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{tree()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """See the module."""
    page = Path(sys.argv[1])
    page.write_text(render(page.read_text()))


if __name__ == "__main__":
    main()
