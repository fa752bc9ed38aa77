"""The table at the end, and the JSON file with all numbers.

The table has ratios and CPU time per event. Absolute rates and times depend on the machine and its load: they are in the
JSON, and in the table only for the reference, as context.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from benchmarks.harness import Result, Row
from benchmarks.local import Row as LocalRow
from benchmarks.measures import Run
from benchmarks.spreads import Spread, spread

_PACKAGES = ("event-fabric", "pyzmq", "orjson", "nats-py", "redis", "hiredis", "eclipse-zenoh", "paho-mqtt")
_ENDS = ("publisher", "broker", "subscriber")


def table(result: Result) -> str:
    """A group as text."""
    group = result.group
    sign = "≥" if group.more_is_better else "≤"
    tail = any(row.ratio_p99 for row in result.rows)
    head = ["", "ratio", "min", "max", "target", *(["p99 ratio", "min", "max"] if tail else [])]
    lines = [[*head, *(f"CPU µs {end}" for end in _ENDS), "lost"]]
    for row in result.rows:
        cpu = [f"{row.cpu[end]:.2f}" if row.cpu.get(end) else "" for end in _ENDS]
        p99 = _spread(row.ratio_p99) if tail else []
        lines.append([row.name, *_spread(row.ratio), _target(row, sign, group.more_is_better), *p99, *cpu, _loss(row)])
    parts = [group.title, "", _aligned(lines)]
    context = [(row.name, row.value) for row in result.rows if row is result.rows[0] or row.limit is not None]
    values = [f"{name}: {_context(value.median, group.unit)}" for name, value in context if value is not None]
    parts += ["", f"(for context: {'; '.join(values)})"]
    if result.against:
        targets = dict(group.against)
        rows = [["fabric, how many times as good as", "ratio", "min", "max", "target"]]
        for name, ratio in result.against.items():
            target = targets.get(name)
            rows.append(
                [name, *_spread(ratio), "" if target is None else _verdict(ratio.median >= target, "≥", target)]
            )
        parts += ["", _aligned(rows)]
    return "\n".join(parts)


def _target(row: Row, sign: str, more_is_better: bool) -> str:
    met = row.met(more_is_better)
    if row.limit is not None:
        return _verdict(met, "≤", row.limit * 1e6, " µs")
    return "" if row.target is None else _verdict(met, sign, row.target)


def _verdict(met: bool | None, sign: str, target: float, unit: str = "") -> str:
    return f"{sign} {target:g}{unit} {'' if met is None else 'met' if met else 'MISSED'}".rstrip()


def _loss(row: Row) -> str:
    parts = [
        *([f"{row.lost:,} of {row.published:,}"] if row.lost else []),
        *([f"{row.accounted:,} counted"] if row.accounted else []),
        *([f"{row.extra:,} twice"] if row.extra else []),
        *([f"failed {len(row.failures)} times"] if row.failures else []),
    ]
    return ", ".join(parts) or "none"


def _spread(values: Spread | None) -> list[str]:
    return ["", "", ""] if values is None else [f"{value:.2f}" if value >= 0.05 else f"{value:.4f}" for value in values]


def _context(value: float, unit: str) -> str:
    return f"{value * 1e6:,.1f} µs" if unit == "s" else f"{value:,.0f} {unit}"


def local_table(found: Mapping[str, Sequence[float]], rows: Sequence[LocalRow]) -> str:
    """The rows about one process: microseconds, and the comparison with the base of each."""
    lines = [["One process", "µs", "min", "max", "compared with", "more µs", "times", "target"]]
    for row in rows:
        if row.name not in found:
            continue
        line = [row.name, *(f"{value:.3f}" for value in spread(found[row.name]))]
        if row.base is not None and row.base in found and row.base != row.name:
            pairs = list(zip(found[row.name], found[row.base], strict=True))
            more = spread([ours - base for ours, base in pairs]).median
            times = spread([ours / base for ours, base in pairs]).median
            line += [row.base, f"{more:+.3f}", f"{times:.2f}"]
            if row.more is not None:
                line.append(_verdict(more <= row.more, "≤", row.more, " µs more"))
            elif row.times is not None:
                line.append(_verdict(times <= row.times, "≤", row.times, " times"))
        lines.append(line + [""] * (8 - len(line)))
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def machine() -> dict[str, Any]:
    """The machine and the versions of this run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": versions,
    }


def save(path: Path, settings: Mapping[str, Any], local: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Save all runs and their summaries as JSON."""
    document = {
        "machine": machine(),
        "settings": settings,
        "local": local,
        "groups": {
            result.group.name: {
                "unit": result.group.unit,
                "rows": [row._asdict() for row in result.rows],
                "against": result.against,
                "runs": {
                    name: [{**run._asdict(), "lost": run.lost} if isinstance(run, Run) else run for run in runs]
                    for name, runs in result.runs.items()
                },
            }
            for result in results
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | Mapping):
        return value._asdict() if hasattr(value, "_asdict") else dict(value)
    raise TypeError(type(value))
