"""Actions of a rule: tables of the file → `fabric.rules.model` values.

    print = true                                 all defaults
    print = "{from}: {text}"                     the main key alone: format (print, inbox, route), topic, to
    exec = ["notify-send", "--", "{text}"]       command
    print = { format = "…", limit = 10 }         a table with any of the action's keys
    print = [{ … }, { … }]                       several actions of one kind
    print = false                                none

What can be checked when the file is read is checked then: templates, fixed topics and names, that programs exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fabric.protocol.fields import MAX_TTL
from fabric.protocol.names import EVERYBODY, check_name
from fabric.protocol.topics import check_topic, is_reserved
from fabric.rules.model import (
    KINDS,
    PRINT_LIMIT,
    TEXT_LIMIT,
    Action,
    Command,
    ExecAction,
    Format,
    InboxAction,
    PrintAction,
    ProgramFormat,
    PublishAction,
    RouteAction,
    SendAction,
)
from fabric.rules.reading.shell import script_of
from fabric.rules.reading.value import Value, kind_of
from fabric.rules.template import Template, template

#: Seconds.
EXEC_TIMEOUT = 30.0
FORMAT_TIMEOUT = 5.0

MAX_CONCURRENCY = 64
MAX_QUEUE = 100_000
MAX_CHARACTERS = 10_000_000

_LIMITS = ("timeout", "environment", "max_failures", "cooldown")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What may be a placeholder of ours in a script: braces, unless they are the shell's ${…}.
_BRACES = re.compile(r"(?<!\$)\{[^{}]+\}")


def read_actions(rule: Value) -> tuple[Action, ...]:
    """The actions of a rule's table, by kind in the order of `KINDS`. RulesError if there is none and no `ignore`."""
    found = [_READERS[kind](value) for kind in KINDS if rule.has(kind) for value in _actions_of_a_kind(rule.key(kind))]
    ignore = rule.key("ignore", default=False)
    is_ignored = ignore.flag()
    if is_ignored and found:
        raise ignore.error(f"it is not ignored if there is {found[0].kind}: leave one of them out")
    if not found and not is_ignored:
        raise rule.error(f"there is nothing to do: give {', '.join(KINDS[:-1])} or {KINDS[-1]} (or ignore = true)")
    return tuple(found)


def _actions_of_a_kind(value: Value) -> list[Value]:
    if value.raw is False:
        return []
    if isinstance(value.raw, list) and any(isinstance(each, dict) for each in value.raw):
        return value.items()
    return [value]


def _table(value: Value, main: str, *keys: str) -> Value:
    """An action's table, whichever way it is written; `main` is the key that a text alone stands for."""
    if value.raw is True and main == "format":
        return value.with_raw({})
    if isinstance(value.raw, str):
        return value.with_raw({main: value.raw})
    if not isinstance(value.raw, dict):
        ways = "true, a format," if main == "format" else f"a text ({main}) or"
        raise value.error(f"this is {ways} a table, or a list of tables, not {kind_of(value.raw)}")
    return value.table(main, *keys)


# One action of each kind


def _print(value: Value) -> PrintAction:
    table = _table(value, "format", "limit")
    return PrintAction(_format(table), _limit(table, PRINT_LIMIT))


def _inbox(value: Value) -> InboxAction:
    table = _table(value, "format", "limit", "when_busy")
    when_busy = table.key("when_busy", "later").one_of("later", "now")
    return InboxAction(_format(table), _limit(table, TEXT_LIMIT), when_busy == "now")


def _route(value: Value) -> RouteAction:
    table = _table(value, "format", "limit", "channel", "otherwise", "queue")
    return RouteAction(
        table.key("channel", "{channel}").checked(template),
        _format(table),
        _limit(table, TEXT_LIMIT),
        table.key("queue", 1_000).number(1, MAX_QUEUE),
        table.key("otherwise", "").one_of("", "print", "inbox"),
    )


def _exec(value: Value) -> ExecAction:
    if isinstance(value.raw, str):
        raise value.error(
            f'a program is a list of its name and its arguments, such as ["notify-send", "--", "{{text}}"], and '
            f"never a line for a shell: {value.raw!r}"
        )
    is_list = isinstance(value.raw, list)
    table = value.with_raw({"command": value.raw}) if is_list else value.table()
    table.check_keys(("command", *_LIMITS, "concurrency", "queue", "answer"))
    if not table.has("command"):
        raise table.error("which program? Give command = [name, arguments …]")
    return ExecAction(
        _command(value if is_list else table.key("command"), table, EXEC_TIMEOUT),
        table.key("concurrency", 1).number(1, MAX_CONCURRENCY),
        table.key("queue", 1_000).number(1, MAX_QUEUE),
        table.key("answer", default=False).flag(),
    )


def _publish(value: Value) -> PublishAction:
    table = _table(value, "topic", "payload")
    if not table.has("topic"):
        raise table.error('on which topic? Give topic = "…"')
    topic = table.key("topic")
    made = topic.checked(template)
    # Each value becomes one segment, so a topic with "x" for each is wrong exactly if all are.
    trial = "".join(part if isinstance(part, str) else "x" for part in made.parts)
    topic.checked(check_topic, trial)
    if is_reserved(trial):
        raise topic.error("topics below 'fabric' are the system's own: choose another")
    return PublishAction(made, _templates_in(table, "payload"))


def _send(value: Value) -> SendAction:
    table = _table(value, "to", "body", "timeout")
    if not table.has("to"):
        raise table.error('to which endpoint? Give to = "…"')
    to = table.key("to")
    made = to.checked(template)
    if made.is_fixed and made.parts != (EVERYBODY,):
        to.checked(check_name, "".join(map(str, made.parts)))
    timeout = table.key("timeout", 5.0).seconds(MAX_TTL)
    return SendAction(made, _templates_in(table, "body"), timeout)


_READERS: dict[str, Callable[[Value], Action]] = {
    "print": _print,
    "inbox": _inbox,
    "exec": _exec,
    "route": _route,
    "publish": _publish,
    "send": _send,
}

# Parts of actions


def _format(table: Value) -> Format | None:
    if not table.has("format"):
        return None
    value = table.key("format")
    if isinstance(value.raw, str):
        return value.checked(template)
    if not isinstance(value.raw, dict):
        raise value.error(f"a format is a text, or {{ exec = [program, …] }}, not {kind_of(value.raw)}")
    value.check_keys(("exec", *_LIMITS, "color"))
    if not value.has("exec"):
        raise value.error("which program? Give exec = [name, arguments …]")
    command = _command(value.key("exec"), value, FORMAT_TIMEOUT)
    return ProgramFormat(command, value.key("color", default=False).flag())


def _limit(table: Value, default: int) -> int:
    return table.key("limit", default).number(1, MAX_CHARACTERS)


def _command(command: Value, limits: Value, timeout: float) -> Command:
    """A program of the list `command`; `limits` is the table that may have its limits and environment."""
    arguments = command.items()
    script = script_of([argument.text() for argument in arguments])
    argv = tuple(
        _script(argument) if number == script else argument.checked(template)
        for number, argument in enumerate(arguments)
    )
    if not argv or not argv[0].is_fixed or not argv[0].parts:
        raise command.error("the first of a command is the name of a program, and the file's own")
    find_program = command.source.find_program
    if find_program is not None:
        path = arguments[0].checked(find_program, str(argv[0].parts[0]))
        argv = (Template((path,)), *argv[1:])
    variables = limits.key("environment", {}).table()
    environment = tuple((name, _variable(variables.key(name), name)) for name in variables.raw)
    return Command(
        argv,
        limits.key("timeout", timeout).seconds(),
        environment,
        limits.key("max_failures", 3).number(1, 1_000_000),
        limits.key("cooldown", 300.0).seconds(zero=True),
    )


def _variable(value: Value, name: str) -> Template:
    if not _VARIABLE.fullmatch(name):
        raise value.error(f"{name!r} is no name of an environment variable")
    return value.checked(template)


def _script(argument: Value) -> Template:
    """A script for a shell, as it stands: its braces are the shell's, and a placeholder in it would run foreign text."""
    text = argument.text()
    for found in _BRACES.finditer(text):
        try:
            template(found[0])
        except ValueError:
            continue
        raise argument.error(
            f"{found[0]}: what somebody sends would be run by the shell. In a script, use "
            '"$FABRIC_TEXT" (in quotes) and its like'
        )
    return Template((text,))


def _templates_in(table: Value, key: str) -> Any:
    """The table at `key` with a template for each text in it; None if there is none."""
    return _templates(table.key(key).table()) if table.has(key) else None


def _templates(value: Value) -> Any:
    raw = value.raw
    if isinstance(raw, str):
        return value.checked(template)
    if isinstance(raw, dict):
        return {key: _templates(value.key(key)) for key in raw}
    if isinstance(raw, list):
        return [_templates(item) for item in value.items()]
    if raw is None or isinstance(raw, bool | int | float):
        return raw
    raise value.error(f"{kind_of(raw)} is no JSON: give it as a text")
