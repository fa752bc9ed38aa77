"""Findings of `fabric doctor`, and how they are shown. Pure, and without imports of the fabric, which may be broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

OK, WARNING, WRONG = "ok", "warning", "wrong"
_COLOURS = {OK: "\x1b[32m", WARNING: "\x1b[33m", WRONG: "\x1b[31m"}
_RESET = "\x1b[0m"
_MARGIN = 20


class Finding(NamedTuple):
    """The result of one check. `what` is its subject, `fix` the remedy, empty if nothing need be done."""

    level: str
    what: str
    text: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return self._asdict()


def ok(what: str, text: str) -> Finding:
    """A finding that needs nothing to be done."""
    return Finding(OK, what, text)


def warning(what: str, text: str, fix: str = "") -> Finding:
    """A finding about something that works, but perhaps not as intended, or not for long."""
    return Finding(WARNING, what, text, fix)


def wrong(what: str, text: str, fix: str = "") -> Finding:
    """A finding about something that does not work."""
    return Finding(WRONG, what, text, fix)


def count(found: Sequence[Finding], level: str) -> int:
    """The number of findings of a level."""
    return sum(each.level == level for each in found)


def described(found: Sequence[Finding], *, colour: bool = False) -> list[str]:
    """The lines of all findings, and a last one that sums them up."""
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
    # As `cli.terminal.text.safe`, which imports the fabric.
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
