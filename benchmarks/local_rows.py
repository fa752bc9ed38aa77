"""Runs the rows about one process: each repeat in a new process, with the rows in rotated order."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import Say
from benchmarks.local import ROWS
from benchmarks.processes import Worker
from benchmarks.servers import SYSTEMS


def run_local(names: list[str], *, scale: float, repeats: int, say: Say) -> dict[str, list[float]]:
    """Microseconds per operation, by row and repeat. Rows that others are compared with are included."""
    bases = {row.base for row in ROWS if row.name in names}
    rows = [row.name for row in ROWS if row.name in names or row.name in bases]
    found: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(repeats):
        say(f"local {repeat + 1}/{repeats}")
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            address, proxy = SYSTEMS["fabric"].start(directory)
            if proxy is not None:
                stack.enter_context(proxy)
            worker = stack.enter_context(Worker("local", directory))
            first = repeat % len(rows)
            order = rows[first:] + rows[:first]
            took = worker.ask("local", rows=order, scale=scale, address=address, within=600)
            for name, microseconds in took.items():
                found[name].append(microseconds)
    return found
