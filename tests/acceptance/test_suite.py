"""The test suite itself, many times in a row: it must not fail once."""

import os
import re
import subprocess
import sys
from time import monotonic

from tests.acceptance.rows import ROOT, full, record, row

#: How each run differs: beside a process that keeps a core busy, or with the signals of a background job ignored.
PLAIN, BUSY, BACKGROUND = "plain", "busy", "background"


def kinds():
    """20 runs: two beside a busy core, two in the background."""
    return [PLAIN, BUSY, BACKGROUND] if not full(False, True) else [PLAIN] * 8 + [BUSY, BACKGROUND] * 2 + [PLAIN] * 8


def run_suite(kind):
    """`make test`; (seconds, what failed, the last line)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCEPTANCE")}
    command = ["make", "--no-print-directory", "test"]
    if kind == BACKGROUND:
        command = ["sh", "-c", "trap '' INT QUIT HUP; exec make --no-print-directory test"]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if kind == BUSY else None
    try:
        begun = monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        seconds = monotonic() - begun
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode and not failed:
        failed = [done.stdout[-2_000:] + done.stderr[-2_000:]]
    return seconds, failed, done.stdout.strip().rpartition("\n")[2]


@row("suite")
def test_the_suite_passes_every_time():
    seconds, failed, tests = {PLAIN: [], BUSY: [], BACKGROUND: []}, [], 0
    for number, kind in enumerate(kinds(), 1):
        took, problems, last = run_suite(kind)
        seconds[kind].append(took)
        failed += problems
        tests = int(found[1]) if (found := re.search(r"(\d+) passed", last)) else tests
        print(
            f"\nrun {number} ({kind}): {took:.0f} s, {last}{'' if not problems else f', failed: {problems}'}",
            flush=True,
        )
    record(
        "suite",
        "`make test` in a row, in random order, two beside a busy core, two with the signals of a background job",
        "no failure; ≤ 180 s undisturbed",
        runs=sum(map(len, seconds.values())),
        tests=tests,
        failures=len(failed),
        longest_s=round(max(seconds[PLAIN])),
        longest_beside_a_busy_core_s=round(max(seconds[BUSY])),
    )
    assert not failed
    assert max(seconds[PLAIN]) <= 180.0 or not full(False, True)
