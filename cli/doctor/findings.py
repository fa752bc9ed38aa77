"""What `fabric doctor` finds, and how it is shown. Pure, and without the fabric: it may be what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

OK, WARNING, WRONG = "ok", "warning", "wrong"
_COLOURS = {OK: "\x1b[32m", WARNING: "\x1b[33m", WRONG: "\x1b[31m"}
_RESET = "\x1b[0m"
_MARGIN = 20


class Finding(NamedTuple):
    """One thing that was looked at. `fix` says what to do; empty where nothing need be done."""

    level: str
    what: str
    text: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return self._asdict()


def ok(what: str, text: str) -> Finding:
    """Nothing need be done."""
    return Finding(OK, what, text)


def warning(what: str, text: str, fix: str = "") -> Finding:
    """It works, and may not be what somebody wants, or for long."""
    return Finding(WARNING, what, text, fix)


def wrong(what: str, text: str, fix: str = "") -> Finding:
    """It does not work."""
    return Finding(WRONG, what, text, fix)


def count(found: Sequence[Finding], level: str) -> int:
    """How many there are of a level."""
    return sum(each.level == level for each in found)


def described(found: Sequence[Finding], *, colour: bool = False) -> list[str]:
    """The lines that are shown, and a last one that sums them up."""
    lines = []
    for each in found:
        level = f"{each.level:<8}"
        shade = f"{_COLOURS[each.level]}{level}{_RESET}" if colour else level
        lines.append(f"{shade} {_safe(each.what):<{_MARGIN - 9 - 1}} {_safe(each.text)}")
        if each.fix:
            lines.append(f"{'':<{_MARGIN}}→ {_safe(each.fix)}")
    return [*lines, "", _summary(found)]


def _summary(found: Sequence[Finding]) -> str:
    bad, doubtful = count(found, WRONG), count(found, WARNING)
    if not bad and not doubtful:
        return "nothing is wrong"
    warnings = f"{doubtful} {'warning' if doubtful == 1 else 'warnings'}"
    if not bad:
        return f"nothing is wrong, {warnings}"
    return f"{bad} {'thing is' if bad == 1 else 'things are'} wrong" + (f", {warnings}" if doubtful else "")


def _safe(text: str) -> str:
    # As `cli.terminal.text` does, which is the fabric's.
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
