"""Tables and lists that fit into a terminal. Pure: texts go in, lines come out.

The first column gives way: it is cut where the others need the room. Numbers stand at the right, under one another.
"""

from __future__ import annotations

from collections.abc import Sequence

from cli.terminal.text import cells, fit

_RED, _RESET = "\x1b[31m", "\x1b[0m"
#: What the first column keeps, however narrow the terminal.
_LEAST = 12


class RedCell(str):
    """A cell that is shown in red where there is colour."""

    __slots__ = ()


def red(text: str, colour: bool) -> str:
    """`text` in red, if there is `colour`."""
    return f"{_RED}{text}{_RESET}" if colour else text


def grid(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: int, *, texts: int = 1, colour: bool = False
) -> list[str]:
    """`rows` below `header`, in `columns` of a terminal; the first `texts` of a row stand at the left. Safe texts only."""
    if not rows:
        return []
    lines = [header, *rows]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(header))]
    gaps = len(widths) - 1
    gap = 2 if sum(widths) + 2 * gaps <= columns else 1
    widths[0] = max(min(widths[0], columns - sum(widths[1:]) - gap * gaps), min(widths[0], _LEAST))
    return [_line(line, widths, " " * gap, texts, colour) for line in lines]


def _line(line: Sequence[str], widths: Sequence[int], gap: str, texts: int, colour: bool) -> str:
    shown = []
    for place, (text, width) in enumerate(zip(line, widths, strict=True)):
        padded = fit(text, width) if place < texts else " " * (width - cells(text)) + text
        shown.append(red(padded, colour and isinstance(text, RedCell)))
    return gap.join(shown).rstrip()


def wrapped(label: str, facts: Sequence[str], columns: int, *, margin: int = 10) -> list[str]:
    """`label`, and `facts` with commas, beside it; broken between facts only, so that an address stays whole."""
    lines: list[str] = []
    line = ""
    for place, fact in enumerate(facts):
        text = fact if place == len(facts) - 1 else f"{fact},"
        if line and margin + cells(line) + 1 + cells(text) > columns:
            lines.append(line)
            line = text
        else:
            line = f"{line} {text}" if line else text
    lines.append(line)
    return [f"{label if not place else '':<{margin}}{text}".rstrip() for place, text in enumerate(lines)]
