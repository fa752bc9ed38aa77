"""`fabric rules`: checks, tries, lists and converts files of rules, without acting on them."""

from __future__ import annotations

import os
from pathlib import Path
from time import time
from typing import Any

import click
import orjson

from cli.exits import DONE, FAILED, NOBODY, Failure
from cli.options import TopicParam
from cli.terminal.output import note
from cli.terminal.table import table
from fabric.rules.item import event_item, message_item
from fabric.rules.match import decide
from fabric.rules.model import Rule, RuleSet
from fabric.rules.reading.file import Rules, convert
from fabric.rules.running.describe import actions, conditions, plan
from fabric.system.terminal import safe, to_json

#: The keys of a message that `--message` leaves out.
_MESSAGE = {"to": "lead-agent", "from": "anonymous:test", "id": "test"}

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group("rules", short_help="Check, try, list and convert files of rules.")
def rules() -> None:
    """Look at a file of rules without acting on it. fabric listen NAME --rules FILE acts on it; docs/rules.md has the
    format.

    \b
    Examples:
      fabric rules check rules.toml
      fabric rules test rules.toml --message '{"type": "task_done", "text": "built"}'
      fabric rules ls rules.toml
      fabric rules convert bus-rules.yaml -o rules.toml
    """


@rules.command("check", short_help="Say whether a file of rules is right.")
@_file
def check(file: Path) -> int:
    """Read FILE as `fabric listen --rules` would, and say what is wrong with it: file, line and key. Programs are looked
    for, and not run.

    \b
    Ends with
      0   it is right
      2   it is wrong
    """
    click.echo(f"{safe(str(file))} is right: {_count(Rules.load(file).current)}")
    return DONE


def _count(found: RuleSet) -> str:
    number = len(found.rules)
    said = f"{number} rule{'' if number == 1 else 's'}"
    events = sum(rule.on == "event" for rule in found.rules)
    said += f", {events} of them for events" if events else ""
    return said + (", and a default" if found.default else "")


@rules.command("test", short_help="Show what a message would do.")
@_file
@click.option("--message", "message", metavar="JSON", required=True, help="The message, or its body. -: from stdin.")
@click.option(
    "--event", "topic", type=TopicParam(reserved=True), metavar="TOPIC", help="It is the payload of an event on TOPIC."
)
@click.option("--from", "sender", metavar="NAME", help="Who it is from.")
@click.option("--json", "json_", is_flag=True, help="One line of JSON an action.")
def test(file: Path, message: str, topic: str | None, sender: str | None, json_: bool) -> int:
    """Show what the rules of FILE would do for a message, and do none of it.

    A JSON object with a "body" is a whole message, any other is a body. Programs are not run: of those that make a text,
    the command line is shown.

    \b
    Ends with
      0   there is something to do
      4   no rule matches, and there is no default

    \b
    Examples:
      fabric rules test rules.toml --message '{"type": "task_done", "text": "built"}' --from worker-1
      fabric rules test rules.toml --event job.7.done --message '{"ok": true}'
    """
    found = Rules.load(file).current
    given = _object(message)
    if topic is not None:
        item = event_item(topic, {"type": topic, "ts": time(), "src": sender or topic.partition(".")[0], **given})
    else:
        whole = given if "body" in given else {"body": given}
        item = message_item(
            {"type": "message", "ts": time(), **_MESSAGE, **whole, **({"from": sender} if sender else {})}
        )
    decision = decide(found, item)
    for planned in decision.planned:
        told = plan(planned)
        click.echo(to_json(told) if json_ else _told(told))
    if decision.planned:
        return DONE
    if decision.matched:
        note(f"rule {safe(decision.matched[0].name)} matches, and there is nothing to do")
        return DONE
    note("no rule matches")
    return NOBODY


def _object(text: str) -> dict[str, Any]:
    if text == "-":
        with click.open_file("-", "rb") as stdin:
            data: bytes | str = stdin.read()
    else:
        data = text
    try:
        found = orjson.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"this is no JSON: {error}", param_hint="'--message'") from None
    if not isinstance(found, dict):
        raise click.BadParameter('a message is an object such as {"text": "hi"}', param_hint="'--message'")
    return found


def _told(told: dict[str, Any]) -> str:
    """A planned action in one line, or in several if its text has several."""
    said = f"{safe(told.pop('rule'))}: {told.pop('action')}"
    text = told.pop("text", None)
    for name, value in told.items():
        said += f"  {name} {safe(value) if isinstance(value, str) else to_json(value)}"
    if text is not None:
        # Already escaped; line breaks are those of the template, or wanted by it.
        said += "  " + "\n".join(map(safe, text.split("\n")))
    return said


@rules.command("ls", short_help="List the rules of a file.")
@_file
@click.option("--json", "json_", is_flag=True, help="One line of JSON a rule.")
def ls(file: Path, json_: bool) -> int:
    """List the rules of FILE in their order: the first that matches counts, unless it says continue (->)."""
    found = Rules.load(file).current
    listed = [*found.rules, *([found.default] if found.default else [])]
    if json_:
        for rule in listed:
            click.echo(to_json(_facts(rule)))
        return DONE
    rows = [
        (safe(rule.name), rule.on, "all others" if rule is found.default else safe(conditions(rule)), _does(rule))
        for rule in listed
    ]
    for line in table(("NAME", "ON", "WHEN", "DOES"), rows, texts=4):
        click.echo(line)
    return DONE


def _does(rule: Rule) -> str:
    return safe(actions(rule)) + (" ->" if rule.goes_on else "")


def _facts(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "on": rule.on,
        "when": conditions(rule),
        "does": actions(rule),
        "continue": rule.goes_on,
        "line": rule.line,
    }


@rules.command("convert", short_help="Write an old bus-rules.yaml as TOML.")
@_file
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, if there is none yet."
)
def convert_(file: Path, output: Path | None) -> int:
    """Write FILE, the YAML of rules as bus plugins had it, as TOML: to stdout, or with -o to a file that must not exist.

    What behaves otherwise than it did is in docs/rules.md. It needs PyYAML: pip install 'event-fabric[rules]'

    \b
    Example:
      fabric rules convert bus-rules.yaml -o rules.toml && fabric rules check rules.toml
    """
    text = convert(file)
    if output is None:
        click.echo(text, nl=False)
        return DONE
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise Failure(FAILED, f"{output} is there already, and stays as it is") from None
    with open(descriptor, "w", encoding="utf-8") as target:
        target.write(text)
    note(f"wrote {safe(str(output))}")
    return DONE
