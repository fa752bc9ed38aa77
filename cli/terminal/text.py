"""Text for a terminal: escaped (see `fabric.system.terminal`), measured and fitted in columns; values of JSON. Pure."""

from __future__ import annotations

import unicodedata
from typing import Any

from fabric.system.terminal import safe as safe
from fabric.system.terminal import to_json as to_json

#: Returned by `find` where there is no value. (None is a value of JSON.)
MISSING = object()


def bare(value: Any) -> str:
    """A JSON value as one safe line: a string without quotes, anything else as JSON."""
    return safe(value) if isinstance(value, str) else to_json(value)


def find(value: Any, keys: list[str]) -> Any:
    """The value at the path `keys` in nested objects and lists (an index is a decimal key), or `MISSING`."""
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value


def cut(text: str, limit: int) -> str:
    """The first `limit` characters of `text` (0: all of it), and the number of characters left out."""
    if not limit or len(text) <= limit:
        return text
    return f"{text[:limit]}… (+{len(text) - limit:,} characters)"


def cells(text: str) -> int:
    """The number of columns of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` columns: padded, or cut and marked with `…`."""
    missing = width - cells(text)
    if missing >= 0:
        return text + " " * missing
    kept, used = "", 0
    for character in text:
        size = _cell(character)
        if used + size > width - 1:
            break
        kept += character
        used += size
    return kept + "…" + " " * (width - 1 - used)
