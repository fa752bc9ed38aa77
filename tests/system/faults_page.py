"""Writes the table of `docs/faults.md` from what `make soak` has measured.

    python tests/system/faults_page.py soak.jsonl docs/faults.md

Of each row the last measurement at full length counts; rows that have none keep what the page says.
"""

import json
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = "| fault | what should happen | measured | on |\n|---|---|---|---|\n"


def rows_of(lines):
    """{(row, fault): its line of the table}; the last measurement at full length wins."""
    found = {}
    for line in lines:
        facts = json.loads(line)
        if facts["full"]:
            cells = (facts["fault"], facts["target"], said(facts["measured"]), facts["date"])
            found[facts["row"], facts["fault"]] = f"| {' | '.join(cells)} |"
    return found


def said(measured):
    """Numbers for people."""
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
    """`page` with its table brought up to date."""
    before, rest = page.split(BEGIN)
    table, after = rest.split(END)
    old = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
    new = rows_of(lines)
    fresh = {fault: line for (_, fault), line in new.items()}
    kept = [fresh.pop(re.match(r"\| (.*?) \|", line).group(1), line) for line in old]
    return f"{before}{BEGIN}\n{HEAD}" + "\n".join([*kept, *fresh.values()]) + f"\n{END}{after}"


def main():
    report, page = map(Path, sys.argv[1:3])
    lines = report.read_text().splitlines() if report.exists() else []
    page.write_text(render(page.read_text(), lines))


if __name__ == "__main__":
    main()
