"""`fabric config`: the settings in effect here, and the source of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from cli.exits import DONE, USAGE, complain
from cli.terminal.table import table
from fabric.config.address import default_url
from fabric.config.schema import settings_of, similar
from fabric.config.settings import FoundSetting, Settings, config_path, resolve, unknown_variables
from fabric.errors import SettingsError
from fabric.system.terminal import safe, to_json
from proxy.settings import ProxySettings

#: The tables of the settings file: class and purpose.
TABLES: dict[str, tuple[type[Any], str]] = {
    "fabric": (Settings, "nodes: fabric.connect() and the commands"),
    "proxy": (ProxySettings, "a proxy that is started from here"),
}


@click.command(short_help="Show the settings, and where each comes from.")
@click.option("--url", metavar="URL", help="As if a command were told this address.")
@click.option("--json", "json_", is_flag=True, help="All of it, as one line of JSON.")
def config(url: str | None, json_: bool) -> int:
    """Show every setting as it is in effect here, and where it was said: as an argument, in an environment variable, on a
    line of the settings file, or nowhere, which makes it the default.

    A setting that is wrong is shown with its default, and named on stderr; then this ends with 2. FABRIC_ variables that
    are no settings are listed, and are no error. What a proxy that already runs was told is its own: see fabric proxy
    status.

    \b
    Examples:
      fabric config
      fabric config --url tcp://127.0.0.1:7400
      fabric config --json | jq .proxy.settle
    """
    found: dict[str, list[FoundSetting]] = {}
    problems: list[SettingsError] = []
    for name, (kind, _) in TABLES.items():
        found[name], wrong = resolve(kind, name, {"url": url})
        # A problem of the whole file is found with each of its tables.
        problems += [each for each in wrong if str(each) not in map(str, problems)]
    unknown = unknown_variables(*(kind for kind, _ in TABLES.values()))
    if json_:
        click.echo(to_json(_facts(found, problems, unknown)))
    else:
        for line in _lines(found, unknown):
            click.echo(line)
    for each in problems:
        complain(safe(str(each)))
    return USAGE if problems else DONE


def _facts(
    found: dict[str, list[FoundSetting]], problems: Sequence[SettingsError], unknown: Sequence[str]
) -> dict[str, Any]:
    path = config_path()
    return {
        "file": {"path": str(path), "exists": path.is_file()},
        "default_url": default_url(),
        **{
            name: {
                each.setting.name: {
                    "value": each.value,
                    "from": each.source,
                    **({"problem": each.problem.problem} if each.problem else {}),
                }
                for each in rows
            }
            for name, rows in found.items()
        },
        "unknown": unknown,
        "problems": [str(each) for each in problems],
    }


def _lines(found: dict[str, list[FoundSetting]], unknown: Sequence[str]) -> list[str]:
    path = config_path()
    lines = [
        f"settings file         {safe(str(path))}{'' if path.is_file() else ' (there is none)'}",
        f"the embedded default  {safe(default_url())}",
    ]
    # Columns are equally wide in both tables; the value can be long, comes last, and is never cut.
    rows = [_row(each, str(path)) for each in (row for rows in found.values() for row in rows)]
    head, *shown = table(("NAME", "FROM", "VALUE"), rows, texts=3)
    for name, of_table in found.items():
        lines += ["", f"[{name}] {TABLES[name][1]}", head, *shown[: len(of_table)]]
        shown = shown[len(of_table) :]
    if unknown:
        lines += ["", "not known as settings:", *(f"  {safe(name)}{_hint(name)}" for name in unknown)]
    return lines


def _row(each: FoundSetting, path: str) -> tuple[str, str, str]:
    value = each.setting.show(each.value)
    value = f"(wrong; the default is {value})" if each.problem else value
    # The path of the file is printed once, above.
    source = each.source.replace(path, "file", 1) if each.source.startswith(path) else each.source
    return (each.setting.name, safe(source), safe(value))


def _hint(name: str) -> str:
    known = [row.variable for kind, _ in TABLES.values() for row in settings_of(kind)]
    return similar(name, known, prefix="FABRIC_")
