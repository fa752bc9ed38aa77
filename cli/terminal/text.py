"""Text on a terminal: made safe (see `fabric.system.terminal`), measured and fitted in columns."""

from __future__ import annotations

import unicodedata

from fabric.system.terminal import safe as safe
from fabric.system.terminal import to_json as to_json


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes."""
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
