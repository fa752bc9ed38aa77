"""Writes the table of docs/acceptance.md from the numbers that `make acceptance` has recorded.

    python tests/acceptance/page.py acceptance.jsonl docs/acceptance.md

The last full run of a case counts. Cases without one keep their line.
"""

import json
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = "| case | what must hold | measured | commit, day |\n|---|---|---|---|\n"


def rows_of(lines):
    """{case: its line of the table}; the last full run wins."""
    found = {}
    for line in lines:
        facts = json.loads(line)
        if facts["full"]:
            when = f"{facts['commit']}, {facts['date']}"
            cells = (facts["case"], facts["target"], said(facts["measured"]), when)
            found[facts["case"]] = f"| {' | '.join(cells)} |"
    return found


def said(measured):
    """Numbers as a reader wants them, with their units."""
    parts = []
    for name, value in measured.items():
        name, _, unit = name.partition("_ms") if name.endswith("_ms") else (name, "", "")
        unit = " ms" if name + "_ms" in measured else ""
        for suffix, text in (("_mib", " MiB"), ("_s", " s")):
            if name.endswith(suffix):
                name, unit = name.removesuffix(suffix), text
        parts.append(f"{name.replace('_', ' ')} {_value(value)}{unit if value is not None else ''}")
    return ", ".join(parts)


def _value(value):
    if value is None:
        return "not at all"
    if isinstance(value, dict):
        return "(" + "; ".join(f"{name} {_value(each)}" for name, each in value.items()) + ")"
    if isinstance(value, list):
        return " to ".join(_value(each) for each in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def render(page, lines):
    """`page` with its table up to date."""
    before, rest = page.split(BEGIN)
    table, after = rest.split(END)
    old = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| case |")]
    fresh = rows_of(lines)
    kept = [fresh.pop(re.match(r"\| (.*?) \|", line).group(1), line) for line in old]
    return f"{before}{BEGIN}\n{HEAD}" + "\n".join([*kept, *fresh.values()]) + f"\n{END}{after}"


def main():
    report, page = map(Path, sys.argv[1:3])
    lines = report.read_text().splitlines() if report.exists() else []
    page.write_text(render(page.read_text(), lines))


if __name__ == "__main__":
    main()
