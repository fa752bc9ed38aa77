"""Writes a document as TOML; tomllib only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(document: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """`document` (texts, numbers, booleans, lists and tables of them) as TOML, with `comments` at its top.

    TypeError for a value that TOML does not have.
    """
    lines = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    tables: list[tuple[str, Any]] = []
    top = []
    for key, value in document.items():
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            tables += [(f"[[{_key(key)}]]", each) for each in value]
        elif isinstance(value, dict):
            tables.append((f"[{_key(key)}]", value))
        else:
            top.append(f"{_key(key)} = {_value(value)}")
    blocks = [lines, top, *([header, *_pairs(table)] for header, table in tables)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(_pairs(value)) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"TOML has nothing for a {type(value).__name__}")


def _string(text: str) -> str:
    # As in JSON, except that TOML wants DEL escaped, and has no surrogate pairs.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
