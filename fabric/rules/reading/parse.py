"""A document of rules → `RuleSet`. The first thing that is wrong is a `RulesError` that says where.

    endpoint = "lead-agent"              # the endpoint that they are for (optional)

    [[rule]]
    name = "done"                        # default: rule-1, rule-2 …
    type = "task_*"                      # conditions: type from to topic channel, where; each one or a list
    print = "{color:green}{from}{reset}: {text}"
    exec = ["notify-send", "--", "{from}", "{text}"]

    [default]                            # for messages that match no rule
    inbox = true

    [names]
    worker-1 = { name = "Ann", color = "green" }

An action is `true`, its main thing (a format, a topic, an endpoint, a list of arguments), a table with all there is to
say, or a list of tables; what there is to say is in `_ACTIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fabric.config.schema import similar
from fabric.protocol.topics import DEEP, check_topic, is_reserved
from fabric.protocol.verbs import EVERYBODY, MAX_TTL, check_name
from fabric.rules.conditions import NAMES, Conditions, FieldCondition, ValuePattern, pattern
from fabric.rules.model import (
    DEFAULT,
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
    Rule,
    RulesError,
    RuleSet,
    SendAction,
)
from fabric.rules.template import COLOURS, Template, TemplateName, template

Path = tuple[str | int, ...]
#: Where in the file a path of the document is; None if that is not known.
Locate = Callable[[Path], int | None]
#: A program's absolute path, for the name that the file gives; ValueError if there is none.
Find = Callable[[str], str]

_TOP = ("endpoint", "rule", DEFAULT, "names")
_RULE = ("name", "on", *NAMES, "where", "continue", "ignore", *KINDS)
#: Fields of a message that `where` may begin with.
_FIELDS = ("body", "text", "id", *NAMES)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What may be a placeholder of ours in a script, and is not ${…}.
_BRACES = re.compile(r"(?<!\$)\{[^{}]+\}")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "csh", "tcsh")

#: Seconds.
EXEC_TIMEOUT = 30.0
FORMAT_TIMEOUT = 5.0
_MAX_SECONDS = 7 * 86_400.0
_MAX_CONCURRENCY = 64
_MAX_QUEUE = 100_000
_MAX_CHARACTERS = 10_000_000


def read(document: Any, file: str, locate: Locate, find: Find | None = None) -> RuleSet:
    """The rules that `document` (what tomllib or a YAML reader made of a file) says; RulesError if it says none.

    With `find`, programs are looked up now: one that is missing should be known before the first message.
    """
    return _Reader(file, locate, find).document(document)


class _Place(NamedTuple):
    """Where a value is: its path in the document, and that as people say it."""

    path: Path
    text: str

    def key(self, name: str) -> _Place:
        return _Place((*self.path, name), f"{self.text}{name}" if self.text.endswith(": ") else f"{self.text}.{name}")

    def item(self, number: int) -> _Place:
        return _Place((*self.path, number), f"{self.text}[{number + 1}]")


class _Reader:
    def __init__(self, file: str, locate: Locate, find: Find | None) -> None:
        self._file = file
        self._locate = locate
        self._find = find

    # The whole

    def document(self, document: Any) -> RuleSet:
        nowhere = _Place((), "")
        if not isinstance(document, dict):
            raise self._wrong(nowhere, f"a file of rules is a table with [[rule]] in it, not {_kind(document)}")
        self._known(document, nowhere, _TOP)
        if not document.get("rule") and DEFAULT not in document:
            raise self._wrong(nowhere, "there is no rule in it: rules begin with [[rule]]")
        rules = self._rules(document.get("rule", []))
        default = None
        if DEFAULT in document:
            place = _Place((DEFAULT,), "default: ")
            table = self._table(document[DEFAULT], place)
            self._known(table, place, ("ignore", *KINDS))
            default = Rule(DEFAULT, actions=self._actions(table, place), line=self._line(place))
        endpoint = ""
        if "endpoint" in document:
            place = _Place(("endpoint",), "endpoint")
            endpoint = self._checked(check_name, self._text(document["endpoint"], place), place)
        return RuleSet(rules, default, self._names(document.get("names", {})), endpoint)

    def _rules(self, value: Any) -> tuple[Rule, ...]:
        place = _Place(("rule",), "rule")
        if isinstance(value, dict):
            raise self._wrong(place, "rules are written [[rule]], in two brackets")
        rules = [self._rule(each, place.item(number), number) for number, each in enumerate(self._list(value, place))]
        seen: dict[str, Rule] = {}
        for number, rule in enumerate(rules):
            if rule.name in seen or rule.name == DEFAULT:
                where = "the rule for all others" if rule.name == DEFAULT else f"of line {seen[rule.name].line}, too"
                raise self._wrong(place.item(number).key("name"), f"{rule.name!r} is the name {where}")
            seen[rule.name] = rule
        return tuple(rules)

    def _rule(self, value: Any, place: _Place, number: int) -> Rule:
        table = self._table(value, place)
        name = f"rule-{number + 1}"
        if "name" in table:
            name = self._text(table["name"], place.key("name"))
            if not name.strip() or not name.isprintable() or len(name) > 100:
                raise self._wrong(place.key("name"), f"{name[:100]!r} is no name: up to 100 visible characters")
        place = _Place(place.path, f"rule {name!r}: ")
        self._known(table, place, _RULE)
        on = self._one_of(table.get("on", "message"), place.key("on"), ("message", "event"))
        conditions = Conditions(
            tuple((key, self._patterns(table[key], place.key(key), key)) for key in NAMES if key in table),
            self._where(table.get("where", {}), place.key("where")),
        )
        if on == "event" and not conditions.patterns("topic"):
            raise self._wrong(place, f'a rule for events says of which: topic = "…" (topic = "{DEEP}" is all)')
        goes_on = self._yes(table.get("continue", False), place.key("continue"))
        return Rule(name, on, conditions, self._actions(table, place), goes_on, self._line(place))

    # Conditions

    def _patterns(self, value: Any, place: _Place, field: str) -> tuple[ValuePattern, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise self._wrong(place, "this list is empty: nothing would match")
        found = []
        for number, each in enumerate(values):
            here = place.item(number) if isinstance(value, list) else place
            found.append(self._checked(lambda text: pattern(text, field), self._text(each, here), here))
        return tuple(found)

    def _where(self, value: Any, place: _Place) -> tuple[FieldCondition, ...]:
        found = []
        for text, wanted in self._flat(self._table(value, place), place):
            keys = tuple(text.split("."))
            here = place.key(text)
            if keys[0] not in _FIELDS or "" in keys or (keys[0] != "body" and len(keys) > 1):
                raise self._wrong(
                    here, f"a field is body.… or one of {', '.join(_FIELDS[1:])}{similar(keys[0], _FIELDS)}"
                )
            values = wanted if isinstance(wanted, list) else [wanted]
            if not values:
                raise self._wrong(here, "this list is empty: nothing would match")
            found.append(FieldCondition(text, keys, tuple(self._wanted(each, here) for each in values)))
        return tuple(found)

    def _flat(self, table: dict[str, Any], place: _Place) -> list[tuple[str, Any]]:
        """`body.job = 7` without quotes is a table in a table to TOML, and is meant all the same."""
        found = []
        for key, value in table.items():
            if isinstance(value, dict):
                found += [(f"{key}.{deeper}", wanted) for deeper, wanted in self._flat(value, place.key(key))]
            else:
                found.append((key, value))
        return found

    def _wanted(self, value: Any, place: _Place) -> Any:
        if isinstance(value, str):
            return self._checked(lambda text: pattern(text, "where"), value, place)
        if isinstance(value, bool | int | float):
            return value
        raise self._wrong(place, f"a value is a text, a number, true or false (or a list of them), not {_kind(value)}")

    # Actions

    def _actions(self, table: dict[str, Any], place: _Place) -> tuple[Action, ...]:
        found: list[Action] = []
        for kind in KINDS:
            if kind in table:
                for value, here in self._each(table[kind], place.key(kind)):
                    found.append(_ACTIONS[kind](self, value, here))
        ignore = self._yes(table.get("ignore", False), place.key("ignore"))
        if ignore and found:
            raise self._wrong(
                place.key("ignore"), f"it is not ignored if there is {found[0].kind}: leave one of them out"
            )
        if not found and not ignore:
            raise self._wrong(
                place, f"there is nothing to do: give {', '.join(KINDS[:-1])} or {KINDS[-1]} (or ignore = true)"
            )
        return tuple(found)

    def _each(self, value: Any, place: _Place) -> list[tuple[Any, _Place]]:
        """One action, several of a kind, or with `false` none."""
        if value is False:
            return []
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            return [(each, place.item(number)) for number, each in enumerate(value)]
        return [(value, place)]

    def _print(self, value: Any, place: _Place) -> PrintAction:
        table = self._action(value, place, "format", ("format", "limit"))
        return PrintAction(self._format(table, place), self._limit(table, place, PRINT_LIMIT))

    def _inbox(self, value: Any, place: _Place) -> InboxAction:
        table = self._action(value, place, "format", ("format", "limit", "when_busy"))
        when_busy = self._one_of(table.get("when_busy", "later"), place.key("when_busy"), ("later", "now"))
        return InboxAction(self._format(table, place), self._limit(table, place, TEXT_LIMIT), when_busy == "now")

    def _route(self, value: Any, place: _Place) -> RouteAction:
        table = self._action(value, place, "format", ("format", "limit", "channel", "otherwise", "queue"))
        return RouteAction(
            self._template(table.get("channel", "{channel}"), place.key("channel")),
            self._format(table, place),
            self._limit(table, place, TEXT_LIMIT),
            self._number(table.get("queue", 1_000), place.key("queue"), 1, _MAX_QUEUE),
            self._one_of(table.get("otherwise", ""), place.key("otherwise"), ("", "print", "inbox")),
        )

    def _exec(self, value: Any, place: _Place) -> ExecAction:
        if isinstance(value, str):
            raise self._wrong(
                place,
                f'a program is a list of its name and its arguments, such as ["notify-send", "--", "{{text}}"], and '
                f"never a line for a shell: {value!r}",
            )
        table = {"command": value} if isinstance(value, list) else self._table(value, place)
        limits = ("timeout", "environment", "max_failures", "cooldown")
        self._known(table, place, ("command", *limits, "concurrency", "queue", "answer"))
        if "command" not in table:
            raise self._wrong(place, "which program? Give command = [name, arguments …]")
        where = place if isinstance(value, list) else place.key("command")
        return ExecAction(
            self._command(table["command"], table, where, place, EXEC_TIMEOUT),
            self._number(table.get("concurrency", 1), place.key("concurrency"), 1, _MAX_CONCURRENCY),
            self._number(table.get("queue", 1_000), place.key("queue"), 1, _MAX_QUEUE),
            self._yes(table.get("answer", False), place.key("answer")),
        )

    def _publish(self, value: Any, place: _Place) -> PublishAction:
        table = self._action(value, place, "topic", ("topic", "payload"))
        if "topic" not in table:
            raise self._wrong(place, 'on which topic? Give topic = "…"')
        topic = self._template(table["topic"], place.key("topic"))
        # As a value would be one segment, so is any other: what is wrong with it now is wrong always.
        trial = "".join(part if isinstance(part, str) else "x" for part in topic.parts)
        self._checked(check_topic, trial, place.key("topic"))
        if is_reserved(trial):
            raise self._wrong(place.key("topic"), "topics below 'fabric' are the system's own: choose another")
        return PublishAction(topic, self._payload(table, "payload", place))

    def _send(self, value: Any, place: _Place) -> SendAction:
        table = self._action(value, place, "to", ("to", "body", "timeout"))
        if "to" not in table:
            raise self._wrong(place, 'to which endpoint? Give to = "…"')
        to = self._template(table["to"], place.key("to"))
        if to.is_fixed and to.parts != (EVERYBODY,):
            self._checked(check_name, "".join(map(str, to.parts)), place.key("to"))
        timeout = self._seconds(table.get("timeout", 5.0), place.key("timeout"), MAX_TTL)
        return SendAction(to, self._payload(table, "body", place), timeout)

    def _action(self, value: Any, place: _Place, main: str, known: tuple[str, ...]) -> dict[str, Any]:
        """An action's table, whichever way it was written."""
        if value is True and main == "format":
            return {}
        if isinstance(value, str):
            return {main: value}
        if not isinstance(value, dict):
            ways = "true, a format," if main == "format" else f"a text ({main}) or"
            raise self._wrong(place, f"this is {ways} a table, or a list of tables, not {_kind(value)}")
        self._known(value, place, known)
        return value

    # Their parts

    def _format(self, table: Mapping[str, Any], place: _Place) -> Format | None:
        if "format" not in table:
            return None
        place = place.key("format")
        value = table["format"]
        if isinstance(value, str):
            return self._template(value, place)
        if not isinstance(value, dict):
            raise self._wrong(place, f"a format is a text, or {{ exec = [program, …] }}, not {_kind(value)}")
        self._known(value, place, ("exec", "timeout", "environment", "max_failures", "cooldown", "color"))
        if "exec" not in value:
            raise self._wrong(place, "which program? Give exec = [name, arguments …]")
        command = self._command(value["exec"], value, place.key("exec"), place, FORMAT_TIMEOUT)
        return ProgramFormat(command, self._yes(value.get("color", False), place.key("color")))

    def _command(self, value: Any, limits: Mapping[str, Any], place: _Place, around: _Place, timeout: float) -> Command:
        words = [self._text(each, place.item(number)) for number, each in enumerate(self._list(value, place))]
        script = script_of(words)
        argv = tuple(
            self._script(word, place.item(number)) if number == script else self._template(word, place.item(number))
            for number, word in enumerate(words)
        )
        if not argv or not argv[0].is_fixed or not argv[0].parts:
            raise self._wrong(place, "the first of a command is the name of a program, and the file's own")
        if self._find is not None:
            argv = (Template((self._checked(self._find, str(argv[0].parts[0]), place.item(0)),)), *argv[1:])
        environment = []
        for variable, text in self._table(limits.get("environment", {}), around.key("environment")).items():
            here = around.key("environment").key(variable)
            if not _VARIABLE.fullmatch(variable):
                raise self._wrong(here, f"{variable!r} is no name of an environment variable")
            environment.append((variable, self._template(text, here)))
        return Command(
            argv,
            self._seconds(limits.get("timeout", timeout), around.key("timeout")),
            tuple(environment),
            self._number(limits.get("max_failures", 3), around.key("max_failures"), 1, 1_000_000),
            self._seconds(limits.get("cooldown", 300.0), around.key("cooldown"), zero=True),
        )

    def _script(self, text: str, place: _Place) -> Template:
        """What a shell runs is the file's own, as it stands: braces are the shell's."""
        for found in _BRACES.finditer(text):
            try:
                template(found[0])
            except ValueError:
                continue
            raise self._wrong(
                place,
                f"{found[0]}: what somebody sends would be run by the shell. In a script, use "
                '"$FABRIC_TEXT" (in quotes) and its like',
            )
        return Template((text,))

    def _payload(self, table: Mapping[str, Any], key: str, place: _Place) -> Any:
        if key not in table:
            return None
        return self._templates(self._table(table[key], place.key(key)), place.key(key))

    def _templates(self, value: Any, place: _Place) -> Any:
        if isinstance(value, str):
            return self._template(value, place)
        if isinstance(value, dict):
            return {key: self._templates(each, place.key(key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self._templates(each, place.item(number)) for number, each in enumerate(value)]
        if value is None or isinstance(value, bool | int | float):
            return value
        raise self._wrong(place, f"{_kind(value)} is no JSON: give it as a text")

    # Values

    def _template(self, value: Any, place: _Place) -> Template:
        found: Template = self._checked(template, self._text(value, place), place)
        return found

    def _limit(self, table: Mapping[str, Any], place: _Place, default: int) -> int:
        return self._number(table.get("limit", default), place.key("limit"), 1, _MAX_CHARACTERS)

    def _names(self, value: Any) -> dict[str, TemplateName]:
        place = _Place(("names",), "names")
        found = {}
        for key, entry in self._table(value, place).items():
            here = place.key(key)
            if isinstance(entry, str):
                found[key] = TemplateName(entry)
                continue
            table = self._table(entry, here)
            self._known(table, here, ("name", "color"))
            color = self._text(table.get("color", ""), here.key("color"))
            if color and color not in COLOURS:
                raise self._wrong(here.key("color"), f"there is no colour {color!r}{similar(color, list(COLOURS))}")
            found[key] = TemplateName(self._text(table.get("name", key), here.key("name")), color)
        return found

    def _table(self, value: Any, place: _Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(place, f"this is a table, not {_kind(value)}")
        return value

    def _list(self, value: Any, place: _Place) -> list[Any]:
        if not isinstance(value, list):
            raise self._wrong(place, f"this is a list, not {_kind(value)}")
        return value

    def _text(self, value: Any, place: _Place) -> str:
        if not isinstance(value, str):
            raise self._wrong(place, f"this is a text in quotes, not {_kind(value)}")
        if "\0" in value:
            raise self._wrong(place, "there is a NUL in this text")
        return value

    def _yes(self, value: Any, place: _Place) -> bool:
        if not isinstance(value, bool):
            raise self._wrong(place, f"this is true or false, not {_kind(value)}")
        return value

    def _number(self, value: Any, place: _Place, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(place, f"this is a whole number from {least} to {most:,}, not {_kind(value)}")
        return value

    def _seconds(self, value: Any, place: _Place, most: float = _MAX_SECONDS, *, zero: bool = False) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= most
            or not (value or zero)
        ):
            raise self._wrong(place, f"these are seconds, more than 0 and up to {most:,.0f}, not {_kind(value)}")
        return float(value)

    def _one_of(self, value: Any, place: _Place, known: Sequence[str]) -> str:
        if value not in known or not isinstance(value, str):
            words = " or ".join(f'"{each}"' for each in known if each)
            raise self._wrong(place, f"this is {words}, not {_kind(value)}")
        return value

    def _checked(self, check: Callable[[str], Any], value: str, place: _Place) -> Any:
        try:
            return check(value)
        except (ValueError, TypeError) as error:
            raise self._wrong(place, str(error)) from None

    def _known(self, table: Mapping[Any, Any], place: _Place, known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                hint = similar(str(key), known) or f"; there are {', '.join(known)}"
                where = place.key(str(key)) if place.text else _Place((key,), str(key))
                raise self._wrong(where, f"there is no key {str(key)!r} here{hint}")

    def _line(self, place: _Place) -> int | None:
        """The line of a place, or of the nearest thing around it."""
        for end in range(len(place.path), 0, -1):
            if (line := self._locate(place.path[:end])) is not None:
                return line
        return None

    def _wrong(self, place: _Place, problem: str) -> RulesError:
        return RulesError(self._file, self._line(place), place.text.removesuffix(": "), problem)


_ACTIONS: dict[str, Callable[[_Reader, Any, _Place], Action]] = {
    "print": _Reader._print,
    "inbox": _Reader._inbox,
    "exec": _Reader._exec,
    "route": _Reader._route,
    "publish": _Reader._publish,
    "send": _Reader._send,
}


def script_of(words: Sequence[str]) -> int | None:
    """Which argument of a command a shell would run as a script; None if it is no shell, or has none."""
    if not words or words[0].rpartition("/")[2] not in _SHELLS:
        return None
    for number, word in enumerate(words[1:-1], 1):
        # -c may stand among others: -euc
        if re.fullmatch(r"-[a-zA-Z]*c", word):
            return number + 1
    return None


def _kind(value: Any) -> str:
    """A value, for people: `the number 5`, `a list`."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    return (
        "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else f"a {type(value).__name__}"
    )
