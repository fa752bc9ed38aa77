"""Measurements of this machine for `fabric demo`, from /proc. Reads files, publishes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

PROC = Path("/proc")
#: Measurements from one list of processes to the next: it is the longest event, and changes least.
BUSIEST_EVERY = 4
_TICKS = os.sysconf("SC_CLK_TCK")


class _Times(NamedTuple):
    """Counters that only grow; a measurement is the difference of two readings."""

    at: float
    busy: int
    total: int
    switches: int
    #: pid → (name, ticks)
    processes: dict[int, tuple[str, int]]


class Machine:
    """A series of measurements; each `measure` covers the time since the one before."""

    def __init__(self) -> None:
        self._before = _read_times()
        self._memory: dict[str, Any] = {}
        #: Measurements until the list of processes is due again.
        self._wait = 0

    def measure(self) -> dict[str, dict[str, Any]]:
        """The events to publish: topic → payload. Memory is left out if it has not changed."""
        before, now = self._before, _read_times()
        self._before = now
        elapsed = max(now.at - before.at, 0.001)
        busy = 100 * (now.busy - before.busy) / max(now.total - before.total, 1)
        busiest = _busiest(before, now, elapsed)
        told: dict[str, dict[str, Any]] = {
            "machine.cpu": {
                "busy": round(max(busy, 0.0), 1),
                "switches": round((now.switches - before.switches) / elapsed),
                "load": round(os.getloadavg()[0], 2),
                "cores": os.cpu_count(),
                "busiest": busiest[0]["name"] if busiest else None,
            }
        }
        memory = _memory()
        if memory != self._memory:
            self._memory = told["machine.memory"] = memory
        self._wait -= 1
        if busiest and self._wait < 0:
            self._wait = BUSIEST_EVERY - 1
            told["machine.busiest"] = {"processes": busiest}
        return told


def _read_times() -> _Times:
    lines = (PROC / "stat").read_text().splitlines()
    numbers = [int(number) for number in lines[0].split()[1:9]]  # user … steal; guest time is part of user
    switches = next(int(line.split()[1]) for line in lines if line.startswith("ctxt "))
    idle = numbers[3] + numbers[4]
    return _Times(monotonic(), sum(numbers) - idle, sum(numbers), switches, _read_processes())


def _read_processes() -> dict[int, tuple[str, int]]:
    found = {}
    for entry in os.listdir(PROC):
        if not entry.isdecimal():
            continue
        try:
            head, _, rest = (PROC / entry / "stat").read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # the process has ended meanwhile
        fields = rest.split()
        found[int(entry)] = (head.partition("(")[2], int(fields[11]) + int(fields[12]))
    return found


def _busiest(before: _Times, now: _Times, elapsed: float, count: int = 3) -> list[dict[str, Any]]:
    used = []
    for pid, (name, ticks) in now.processes.items():
        spent = ticks - before.processes.get(pid, (name, ticks))[1]
        if spent > 0:
            used.append((spent / _TICKS / elapsed, pid, name))
    used.sort(reverse=True)
    return [{"name": name, "pid": pid, "cpu": round(100 * share)} for share, pid, name in used[:count]]


def _memory() -> dict[str, Any]:
    facts = {}
    for line in (PROC / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        facts[name] = int(rest.split()[0])  # kB
    total, free = facts["MemTotal"], facts["MemAvailable"]
    return {"used": round(100 * (total - free) / total, 2), "used_mb": (total - free) // 1000, "free_mb": free // 1000}
