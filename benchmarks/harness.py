"""Repeats with rotated cases, and the ratios between them.

The speed of a machine varies: clocks change, other processes run. So every repeat runs all cases one after the other, and a
ratio is only taken between two runs of the same repeat. Each repeat begins one case later, so that no case always follows
the same one. The report has the median of the ratios over the repeats, with minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.groups import Group
from benchmarks.measures import Case, Run
from benchmarks.processes import ProcessFailed
from benchmarks.servers import SYSTEMS
from benchmarks.spreads import Spread, spread

Say = Callable[[str], None]


class Row(NamedTuple):
    """A case, summarised over the repeats."""

    name: str
    ratio: Spread | None
    value: Spread | None
    #: The same for the 99th percentile, if it is measured.
    ratio_p99: Spread | None
    target: float | None
    limit: float | None
    #: Microseconds an event, medians: publisher, broker, subscriber.
    cpu: Mapping[str, float]
    published: int
    lost: int
    accounted: int
    extra: int
    failures: tuple[str, ...]

    def met(self, more_is_better: bool) -> bool | None:
        """Whether the median reaches the target or stays under the limit; None if there is neither, or no value."""
        if self.limit is not None and self.value is not None:
            return self.value.median <= self.limit
        if self.target is None or self.ratio is None:
            return None
        return self.ratio.median >= self.target if more_is_better else self.ratio.median <= self.target


class Result(NamedTuple):
    """A group that has run. `runs`: by case and repeat; a str is the error of a run that failed."""

    group: Group
    runs: Mapping[str, Sequence[Run | str]]
    rows: Sequence[Row]
    #: By peer: the factor by which the fabric is better.
    against: Mapping[str, Spread]


def rotated(cases: Sequence[Case], repeat: int) -> list[Case]:
    """The order of the cases in a repeat: rotated by one each time."""
    first = repeat % len(cases)
    return [*cases[first:], *cases[:first]]


def chosen(group: Group, *, peers: bool, say: Say) -> tuple[Case, ...]:
    """The cases that can run here; reports once for each system why it cannot."""
    cases, reported = [], set()
    for case in group.cases:
        system = SYSTEMS[case.system]
        if not peers and (system.package or system.program):
            continue
        if (missing := system.missing()) is None:
            cases.append(case)
        elif missing not in reported:
            reported.add(missing)
            say(missing)
    return tuple(cases)


def run(group: Group, cases: Sequence[Case], *, events: int, repeats: int, say: Say) -> Result:
    """Run a group. A case that fails is reported and left out of its repeat; the others run."""
    runs: dict[str, list[Run | str]] = {case.name: [] for case in cases}
    for repeat in range(repeats):
        for case in rotated(cases, repeat):
            say(f"{group.name} {repeat + 1}/{repeats}: {case.name}")
            try:
                runs[case.name].append(group.measure(case, int(events * group.share)))
            except (ProcessFailed, TimeoutError) as error:
                say(f"failed: {error}")
                runs[case.name].append(str(error))
    return Result(group, runs, [_row(case, runs, cases[0].name) for case in cases], _against(group, runs))


def _pairs(runs: Mapping[str, Sequence[Run | str]], name: str, base: str) -> list[tuple[Run, Run]]:
    """The runs of both cases in each repeat that has both."""
    pairs = zip(runs[name], runs[base], strict=True)
    return [(ours, theirs) for ours, theirs in pairs if isinstance(ours, Run) and isinstance(theirs, Run)]


def _ratios(runs: Mapping[str, Sequence[Run | str]], name: str, base: str) -> list[float]:
    return [ours.value / theirs.value for ours, theirs in _pairs(runs, name, base)]


def _row(case: Case, runs: Mapping[str, Sequence[Run | str]], reference: str) -> Row:
    good = [run for run in runs[case.name] if isinstance(run, Run)]
    ratios = _ratios(runs, case.name, reference)
    p99 = [
        ours.details["p99"] / theirs.details["p99"]
        for ours, theirs in _pairs(runs, case.name, reference)
        if "p99" in ours.details
    ]
    parts = dict.fromkeys(part for run in good for part in run.cpu)
    return Row(
        case.name,
        spread(ratios) if ratios else None,
        spread([run.value for run in good]) if good else None,
        spread(p99) if p99 else None,
        case.target,
        case.limit,
        {part: median(run.cpu[part] for run in good) * 1e6 for part in parts},
        sum(run.published for run in good),
        sum(run.lost for run in good),
        sum(run.accounted for run in good),
        sum(run.extra for run in good),
        tuple(run for run in runs[case.name] if isinstance(run, str)),
    )


def _against(group: Group, runs: Mapping[str, Sequence[Run | str]]) -> dict[str, Spread]:
    found = {}
    for name in runs if group.ours in runs else ():
        ratios = _ratios(runs, group.ours, name)
        if not group.more_is_better:
            ratios = [1 / ratio for ratio in ratios]
        if ratios and not name.startswith(("fabric", "reference")):
            found[name] = spread(ratios)
    return found
