"""What is measured at full length, row by row, and where the numbers go.

    make acceptance                       every row
    make acceptance ROWS=kill,stop        some
    make acceptance ROWS=kill QUICK=1     a short version, while a row is being worked on

A row records its numbers as a line of JSON in the file `ACCEPTANCE_REPORT` before it judges them: a row that fails is
worth reading, too. `page` writes the table of docs/acceptance.md from these lines.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "tests" / "chaos" / "worker.py"
#: Whether rows run at full length and are held to times and slopes, which a short run cannot show.
FULL = os.environ.get("ACCEPTANCE") == "full"


def full(short, long):
    """`long` in a full run, `short` in a quick one."""
    return long if FULL else short


def row(name):
    """Marks a test as a row, which ROWS may leave out."""
    chosen = [each for each in os.environ.get("ACCEPTANCE_ROWS", "").split(",") if each]
    return pytest.mark.skipif(bool(chosen) and name not in chosen, reason="not one of ROWS")


def record(row, case, target, **measured):
    """Record the numbers of a case, with the commit that they are of."""
    facts = {"row": row, "case": case, "target": target, "measured": measured, "full": FULL}
    facts |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit()}
    line = json.dumps(facts, ensure_ascii=False)
    print(f"\n{line}")
    if path := os.environ.get("ACCEPTANCE_REPORT"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


def commit():
    """The commit that is checked out, with a `+` if sources differ from it; empty outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=7", "--dirty=+"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip()


def median(values):
    """The middle one."""
    return sorted(values)[len(values) // 2]


def memory_of(pid):
    """Resident bytes of another process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def milliseconds(seconds):
    """For the record."""
    return None if seconds is None else round(seconds * 1_000, 3)
