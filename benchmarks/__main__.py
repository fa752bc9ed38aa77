"""`python -m benchmarks [GROUP…]`: run, print the table, keep the numbers.

Exit status: 0 done (also if targets were missed), 1 a case failed or lost events, 2 usage, 130 Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

import click

from benchmarks import harness, local, report
from benchmarks.groups import GROUPS, Group
from benchmarks.local_rows import run_local
from benchmarks.measures import Case
from benchmarks.processes import ProcessFailed, end_all

LOCAL = "local"
NAMES = (LOCAL, *(group.name for group in GROUPS))
_RESULTS = Path(__file__).parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("groups", nargs=-1, type=click.Choice(NAMES), metavar="[GROUP]...")
@click.option(
    "--row", "rows", multiple=True, metavar="TEXT", help="Only rows whose name contains TEXT (and references)."
)
@click.option("--repeats", type=click.IntRange(1), help="How often each row runs.  [default: 5]")
@click.option("--events", type=click.IntRange(100), help="Events of a full throughput row.  [default: 200000]")
@click.option("--quick", is_flag=True, help="2 repeats of 20,000 events: enough to see that everything runs.")
@click.option("--no-peers", is_flag=True, help="Leave nats, redis, zenoh and mosquitto out.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where the numbers go.")
@click.option("--list", "only_list", is_flag=True, help="Show groups and rows, and run nothing.")
def main(
    groups: tuple[str, ...],
    rows: tuple[str, ...],
    repeats: int | None,
    events: int | None,
    quick: bool,
    no_peers: bool,
    json_path: Path | None,
    only_list: bool,
) -> None:
    """Compare the fabric with bare pyzmq and, where they are installed, with its peers.

    Without GROUP all groups run. Every number in the table is a ratio between rows of one interleaved repeat.
    """
    if only_list:
        _list()
        return
    signal.signal(signal.SIGTERM, _terminate)
    repeats = repeats or (2 if quick else 5)
    events = events or (20_000 if quick else 200_000)
    wanted = groups or NAMES
    tables: list[str] = []
    found: dict[str, list[float]] = {}
    results: list[harness.Result] = []
    failed = False
    try:
        if LOCAL in wanted and (names := _matching([row.name for row in local.ROWS], rows)):
            found = run_local(names, scale=min(events / 200_000, 1), repeats=repeats, say=_say)
            tables.append(report.local_table(found, local.ROWS))
        for group in GROUPS:
            cases = _cases(group, rows, peers=not no_peers) if group.name in wanted else ()
            if len(cases) > 1:
                result = harness.run(group, cases, events=events, repeats=repeats, say=_say)
                results.append(result)
                tables.append(report.table(result))
                failed = failed or any(row.failures or row.lost or row.extra for row in result.rows)
    except ProcessFailed as error:
        _say(f"failed: {error}")
        failed = True
    finally:
        end_all()
        # Also after Ctrl-C or a failure: the groups that were measured before.
        for text in tables:
            print(f"\n{text}")
        if tables:
            path = json_path or _RESULTS / f"{datetime.now():%Y-%m-%d-%H%M%S}.json"
            settings = {"repeats": repeats, "events": events, "groups": wanted, "rows": rows}
            report.save(path, settings, found, results)
            print(f"\nAll numbers: {path}")
    if failed or not tables:
        sys.exit(1)


def _matching(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    return [name for name in names if not parts or any(part in name for part in parts)]


def _cases(group: Group, rows: Sequence[str], *, peers: bool) -> tuple[Case, ...]:
    """The reference case, and those that `rows` select."""
    names = {group.cases[0].name, *_matching([case.name for case in group.cases], rows)}
    cases = tuple(case for case in group.cases if case.name in names)
    return harness.chosen(group._replace(cases=cases), peers=peers, say=_say) if len(cases) > 1 else ()


def _list() -> None:
    print(LOCAL, *(f"    {row.name}" for row in local.ROWS), sep="\n")
    for group in GROUPS:
        print(group.name, *(f"    {case.name}" for case in group.cases), sep="\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _terminate(number: int, _frame: FrameType | None) -> None:
    # An exception, so that every `with` ends its process.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
