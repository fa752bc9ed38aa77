"""Nothing that somebody else wrote acts on a terminal.

A topic, a source or a payload may hold what a terminal obeys or is fooled by: escape sequences that set the title or
answer as if typed, C1 controls that do the same in one character, bidirectional overrides that show text in another
order, invisible characters. They are shown as `\\u001b`, everywhere and always: a pipe, too, ends at a terminal sooner or
later. (kubectl's CVE-2021-25743 was events.) Inside JSON that is the same string to whoever parses it.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson


def safe(text: str) -> str:
    """`text` with every character escaped that is not plainly visible in one line."""
    if text.isprintable():
        return text
    return "".join(character if _visible(character) else _escaped(character) for character in text)


def _visible(character: str) -> bool:
    # Cc control, Cf format (bidi, zero width), Cs surrogate, Co private, Cn unassigned, Zl and Zp line breaks; Zs are
    # spaces, of which scripts have several.
    category = unicodedata.category(character)
    return category[0] != "C" and category not in ("Zl", "Zp")


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000  # as JSON has it
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def to_json(value: Any) -> str:
    """`value`, which came as JSON, as one safe line of it."""
    try:
        return safe(orjson.dumps(value).decode())
    except TypeError:  # what orjson reads may be nested deeper than what it writes
        return '"(nested too deeply to be shown)"'


def safe_lines(text: str, indent: str = "  ") -> str:
    """`text` safe as `safe` makes it, but with its lines and tabulators.

    Each line but the first begins with `indent`: no line of somebody else's passes for one of ours.
    """
    if text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return f"\n{indent}".join("\t".join(map(safe, line.split("\t"))) for line in lines)
