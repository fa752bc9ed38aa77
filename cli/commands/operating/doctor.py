"""`fabric doctor`: finds problems, and names their remedies.

Nothing of the fabric is imported before the package of that name is known to be ours.
"""

from __future__ import annotations

import json
from typing import Any

import click

from cli.doctor import findings, installation
from cli.doctor.findings import WARNING, WRONG, Finding
from cli.options import timeout_option, url_option
from cli.terminal.output import Output


@click.command(short_help="Find what is wrong, and say what to do.")
@url_option
@timeout_option(3.0, "Wait S seconds for each answer.")
@click.option("--json", "json_", is_flag=True, help="All of it, as one line of JSON.")
def doctor(url: str | None, timeout: float, json_: bool) -> int:
    """Look at everything that is known to go wrong, and say what to do about it: packages of the same names, versions,
    settings, the address and its directory, whether the proxy answers and how fast, clocks, limits, a second proxy, and
    what was lost. It starts nothing and changes nothing.

    Ends with 0 if nothing is wrong (there may be warnings), with 1 if something is. That no proxy runs is no fault at the
    embedded default, where one is started when it is needed; at an address that somebody named it is.

    \b
    Examples:
      fabric doctor
      fabric doctor --url tcp://127.0.0.1:7400
      fabric doctor --json | jq -r '.findings[] | select(.level != "ok") | .text'
    """
    found = installation.examine()
    if any(each.level == WRONG and each.what == "packages" for each in found):
        text = "the rest cannot be looked at before that is mended"
        found.append(findings.warning("packages", text))
    else:
        found += _everything_else(url, timeout)
    _show(found, json_)
    return 1 if findings.count(found, WRONG) else 0


def _everything_else(url: str | None, timeout: float) -> list[Finding]:
    from cli.doctor import environment
    from cli.doctor.proxy import examine

    place, found = environment.settings(url)
    found += environment.limits()
    if place is not None:
        found += environment.directory(place)
        found += examine(place, timeout)
    return found


def _show(found: list[Finding], json_: bool) -> None:
    out = Output()
    if json_:
        counts = {"wrong": findings.count(found, WRONG), "warnings": findings.count(found, WARNING)}
        facts: dict[str, Any] = {**counts, "findings": [each.as_json() for each in found]}
        out.write(f"{json.dumps(facts)}\n")  # ASCII, so nothing in it acts on a terminal
    else:
        out.write("".join(f"{line}\n" for line in findings.described(found, colour=out.has_colour)))
