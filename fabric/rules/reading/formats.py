"""Text in TOML or YAML → a document, and the lines of its parts. RulesError for what is neither, with its line.

PyYAML is an extra, imported when the first YAML text is read.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fabric.rules.model import RulesError
from fabric.rules.reading.value import Locate, Path

#: Keys of YAML files are at most so deep; lines are noted down to there.
_MAX_DEPTH = 4
_MAX_LINES = 100_000


class Parsed(NamedTuple):
    """A document, and the function that returns the line of a path in it."""

    document: Any
    locate: Locate


def parse_toml(text: str, file: str) -> Parsed:
    """A TOML document. RulesError names `file` and the line."""
    import tomllib

    from fabric.config.toml_lines import line_of

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        problem = str(error)[: found.start()] if found else str(error).removesuffix(" (at end of document)")
        line = int(found[1]) if found else text.count("\n") + 1
        raise RulesError(file, line, "", f"is no TOML: {problem}") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise RulesError(file, None, "", f"is no TOML: {error}") from None
    return Parsed(document, lambda path: line_of(text, path))


def parse_yaml(text: str, file: str) -> Parsed:
    """A YAML document; None for an empty text. RulesError names `file` and the line, or what to install."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise RulesError(
            file, None, "", "YAML needs PyYAML: pip install 'event-fabric[rules]' (TOML needs nothing)"
        ) from None

    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            document = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RulesError(file, mark.line + 1 if mark else None, "", f"is no YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        # PyYAML lets errors of Python pass: for dates that do not exist, for keys that cannot be hashed.
        raise RulesError(file, None, "", f"is no YAML: {' '.join(str(error).split())}") from None
    lines: dict[Path, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return Parsed(document, lines.get)


def _note_lines(node: Any, path: Path, lines: dict[Path, int]) -> None:
    if len(path) >= _MAX_DEPTH or len(lines) > _MAX_LINES:  # aliases of aliases are more than there is text
        return
    if node.id == "mapping":
        for key, value in node.value:
            lines[(*path, str(key.value))] = key.start_mark.line + 1
            _note_lines(value, (*path, str(key.value)), lines)
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            lines[(*path, number)] = value.start_mark.line + 1
            _note_lines(value, (*path, number), lines)
