"""Escapes text of other programs before it is displayed or logged, so that none of it controls a terminal.

A topic, a source or a payload may contain characters that a terminal obeys or that deceive a reader: escape sequences
that set the title or insert input as if typed, C1 controls that do the same in one character, bidirectional overrides that
reorder the text, invisible characters. Each is shown as `\\u001b`, also when the output is no terminal: the content of a
pipe or a log is displayed later. (kubectl's CVE-2021-25743 was about events.) Within a JSON string the escape is JSON's
own, so that a parser returns the original text.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson


def safe(text: str) -> str:
    """`text` as one line: every character that is not visible is escaped as `\\uXXXX`, in UTF-16 units as in JSON."""
    if text.isprintable():
        return text
    return "".join(character if _visible(character) else _escaped(character) for character in text)


def _visible(character: str) -> bool:
    # Not visible: Cc control, Cf format (bidi, zero width), Cs surrogate, Co private, Cn unassigned, Zl and Zp line breaks.
    # Visible: Zs, the spaces of which scripts have several.
    category = unicodedata.category(character)
    return category[0] != "C" and category not in ("Zl", "Zp")


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000  # a surrogate pair, as in JSON
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def to_json(value: Any) -> str:
    """`value`, which was parsed from JSON, as one escaped line of JSON."""
    try:
        return safe(orjson.dumps(value).decode())
    except TypeError:  # orjson reads deeper nesting than it writes
        return '"(nested too deeply to be shown)"'


def safe_lines(text: str, indent: str = "  ") -> str:
    """`text` escaped as by `safe`, except for its line ends and tabulators.

    Each line but the first is indented by `indent`, so that no line of foreign text looks like a line of our output.
    """
    if text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return f"\n{indent}".join("\t".join(map(safe, line.split("\t"))) for line in lines)
