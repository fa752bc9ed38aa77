"""Tables and lists that fit into a terminal. Pure: safe texts go in, lines come out.

    TOPIC          COUNT      /S      the first `texts` columns are aligned left, the others right
    order.creat…  12,345     9.0      the first column gives way: it is cut where the others need the room

Columns are two spaces apart, one where there is no room for two.
"""

from __future__ import annotations

from collections.abc import Sequence

from cli.terminal.text import cells, fit

RED = "\x1b[31m"
_RESET = "\x1b[0m"
#: Columns of a table that need not fit anywhere.
UNLIMITED = 1_000_000_000
#: The first column keeps this width, however narrow the terminal.
MIN_FIRST = 12


class Cell(str):
    """A text with an SGR sequence, which is used where there is colour."""

    __slots__ = ("sgr",)
    sgr: str

    def __new__(cls, text: str, sgr: str) -> Cell:
        """`text`, shown with the SGR sequence `sgr`: a colour, bold, reverse."""
        cell = super().__new__(cls, text)
        cell.sgr = sgr
        return cell


def red(text: str, colour: bool) -> str:
    """`text` in red, if there is `colour`."""
    return f"{RED}{text}{_RESET}" if colour else text


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int = UNLIMITED,
    *,
    texts: int = 1,
    widths: Sequence[int] = (),
    first: int = MIN_FIRST,
    gap: int = 2,
    clip: bool = False,
    colour: bool = False,
) -> list[str]:
    """The lines of `rows` below `header` (empty: none), in `columns` of a terminal. No rows are no table.

    `widths`: least widths of the columns. `first`: the first column is not cut below this width. `gap`: spaces between
    columns, 1 where there is no room for more. A table that still does not fit is wider, or with `clip` cut at the right.
    """
    if not rows:
        return []
    lines = [header, *rows] if header else rows
    found = [max(cells(line[column]) for line in lines) for column in range(len(rows[0]))]
    found = [max(pair) for pair in zip(found, widths, strict=True)] if widths else found
    gaps = len(found) - 1
    gap = gap if sum(found) + gap * gaps <= columns else 1
    found[0] = max(min(found[0], columns - sum(found[1:]) - gap * gaps), min(found[0], first))
    room = columns if clip else UNLIMITED
    return [_line(line, found, " " * gap, texts, room, colour) for line in lines]


def _line(line: Sequence[str], widths: Sequence[int], gap: str, texts: int, room: int, colour: bool) -> str:
    shown = []
    for place, (text, width) in enumerate(zip(line, widths, strict=True)):
        part = fit(text, width) if place < texts else " " * (width - cells(text)) + text
        part = f"{gap}{part}" if place else part
        if cells(part) > room:
            part = fit(part, room) if room else ""
        room -= cells(part)
        # Cut before it is coloured: a colour has no width. The gap is coloured, too, so that a reversed header is one bar.
        shown.append(f"{text.sgr}{part}{_RESET}" if colour and isinstance(text, Cell) else part)
    return "".join(shown).rstrip()


def wrapped(label: str, facts: Sequence[str], columns: int, *, margin: int = 10) -> list[str]:
    """`label`, and beside it `facts` with commas; broken only between facts, so that an address stays whole."""
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
