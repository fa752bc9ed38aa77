"""The long rows: which run, how long, and where their numbers go.

    make soak                  all of them at full length
    make soak ROWS=kill,stop   some
    pytest                     short versions of all

Each row records what it measured as a line of JSON in the file `SOAK_REPORT`; `faults_page` makes a table of them.
"""

import json
import os
import time
from pathlib import Path

import pytest

#: Whether rows run at full length, and are held to what only means something there: times, slopes.
FULL = "SOAK" in os.environ
WORKER = Path(__file__).parents[1] / "chaos" / "worker.py"


def full(short, long):
    """How much: in the ordinary suite, and in a soak."""
    return long if FULL else short


def row(name):
    """Marks a test as a row, which `ROWS` may leave out."""
    chosen = [each for each in os.environ.get("SOAK_ROWS", "").split(",") if each]
    return pytest.mark.skipif(bool(chosen) and name not in chosen, reason="not one of ROWS")


def record(row, fault, target, **measured):
    """Note what was measured, before it is judged: a row that fails is worth reading, too."""
    facts = {"row": row, "fault": fault, "target": target, "measured": measured, "full": FULL}
    line = json.dumps(facts | {"date": time.strftime("%Y-%m-%d", time.gmtime())}, ensure_ascii=False)
    if FULL:
        print(f"\n{line}")
    if path := os.environ.get("SOAK_REPORT"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


def median(values):
    """The middle one."""
    return sorted(values)[len(values) // 2]


def memory_of(pid):
    """Bytes in memory of another process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def milliseconds(seconds):
    """For the record."""
    return None if seconds is None else round(seconds * 1_000, 3)
