"""Formats of numbers in tables: short, with a unit, the same in all commands. Pure."""

from __future__ import annotations


def count(number: float, estimated: bool = False) -> str:
    """A whole number with all its digits; `~` marks an estimate."""
    return f"{'~' if estimated else ''}{number:,.0f}"


def short(number: float) -> str:
    """A whole number in at most five characters: 9,999 12.3k 123k 1.2M."""
    if number < 9_999.5:
        return f"{number:,.0f}"
    for unit in ("k", "M", "G", "T"):
        number /= 1_000
        if number < 999.5 or unit == "T":
            break
    return f"{number:.1f}{unit}" if number < 99.95 else f"{number:.0f}{unit}"


def rate(number: float, estimated: bool = False) -> str:
    """A number per second, with one decimal below 100."""
    return f"{'~' if estimated else ''}{number:,.{0 if number >= 99.95 else 1}f}"


def size(number: float, estimated: bool = False) -> str:
    """A number of bytes, with a unit of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    text = f"{number:,.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
    return f"~{text}" if estimated else text


def ago(seconds: float) -> str:
    """A time span in seconds, with tenths of a second below one minute."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    if seconds < 5_940:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h"


def duration(seconds: float) -> str:
    """A time span in seconds, in a few characters. A negative one (two clocks differ) is 0."""
    seconds = max(seconds, 0.0)
    for limit, unit, name in ((60, 1, "s"), (3_600, 60, "m"), (86_400, 3_600, "h")):
        if seconds < limit:
            return f"{seconds // unit:.0f}{name}"
    return f"{seconds // 86_400:.0f}d"


def took(seconds: float) -> str:
    """A short time span in seconds, as milliseconds below one second; it may be negative (two clocks differ)."""
    size = abs(seconds)
    if size < 0.01:
        return f"{seconds * 1_000:.1f} ms"
    return f"{seconds * 1_000:.0f} ms" if size < 1 else f"{seconds:.1f} s"


def plural(number: float, one: str, many: str = "") -> str:
    """`1 event`, `2 events`."""
    return f"{number:,.0f} {one if number == 1 else many or f'{one}s'}"
