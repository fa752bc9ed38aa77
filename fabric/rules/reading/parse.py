"""A parsed document of rules → `RuleSet`. The first mistake is a RulesError with file, line and key.

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

Rules, conditions and names are read here, actions in `fabric.rules.reading.actions`. Reads no file.
"""

from __future__ import annotations

from typing import Any

from fabric.config.schema import similar
from fabric.protocol.names import check_name
from fabric.protocol.topics import DEEP
from fabric.rules.conditions import NAMES, Conditions, FieldCondition, ValuePattern, pattern
from fabric.rules.model import DEFAULT, KINDS, Rule, RuleSet
from fabric.rules.reading.actions import read_actions
from fabric.rules.reading.value import FindProgram, Locate, RuleSource, Value, kind_of
from fabric.rules.template import COLOURS, TemplateName

#: Keys of the document, of a rule, of the default.
DOCUMENT_KEYS = ("endpoint", "rule", DEFAULT, "names")
RULE_KEYS = ("name", "on", *NAMES, "where", "continue", "ignore", *KINDS)
DEFAULT_KEYS = ("ignore", *KINDS)
#: Fields of a message that a key of `where` may begin with.
_FIELDS = ("body", "text", "id", *NAMES)
_MAX_NAME = 100


def read(document: Any, file: str, locate: Locate, find_program: FindProgram | None = None) -> RuleSet:
    """The rules of `document`, which tomllib or a YAML reader parsed from `file`. RulesError for what is none.

    With `find_program`, programs are looked up now, so that a missing one is an error before the first message.
    """
    top = Value(document, RuleSource(file, locate, find_program))
    if not isinstance(document, dict):
        raise top.error(f"a file of rules is a table with [[rule]] in it, not {kind_of(document)}")
    top.check_keys(DOCUMENT_KEYS)
    if not document.get("rule") and DEFAULT not in document:
        raise top.error("there is no rule in it: rules begin with [[rule]]")
    rules = _rules(top.key("rule", []))
    default = _default(top.key(DEFAULT)) if top.has(DEFAULT) else None
    endpoint = top.key("endpoint").checked(check_name) if top.has("endpoint") else ""
    return RuleSet(rules, default, _names(top.key("names", {})), endpoint)


def _default(value: Value) -> Rule:
    value = value.named("default: ").table(*DEFAULT_KEYS)
    return Rule(DEFAULT, actions=read_actions(value), line=value.line)


def _rules(value: Value) -> tuple[Rule, ...]:
    if isinstance(value.raw, dict):
        raise value.error("rules are written [[rule]], in two brackets")
    items = value.items()
    rules = [_rule(item, number) for number, item in enumerate(items, 1)]
    seen: dict[str, Rule] = {}
    for item, rule in zip(items, rules, strict=True):
        if rule.name in seen or rule.name == DEFAULT:
            where = "the rule for all others" if rule.name == DEFAULT else f"of line {seen[rule.name].line}, too"
            raise item.key("name").error(f"{rule.name!r} is the name {where}")
        seen[rule.name] = rule
    return tuple(rules)


def _rule(value: Value, number: int) -> Rule:
    value.table()
    name = f"rule-{number}"
    if value.has("name"):
        name = value.key("name").text()
        if not name.strip() or not name.isprintable() or len(name) > _MAX_NAME:
            raise value.key("name").error(f"{name[:_MAX_NAME]!r} is no name: up to {_MAX_NAME} visible characters")
    value = value.named(f"rule {name!r}: ").table(*RULE_KEYS)
    on = value.key("on", "message").one_of("message", "event")
    conditions = _conditions(value)
    if on == "event" and not conditions.patterns("topic"):
        raise value.error(f'a rule for events says of which: topic = "…" (topic = "{DEEP}" is all)')
    goes_on = value.key("continue", default=False).flag()
    return Rule(name, on, conditions, read_actions(value), goes_on, value.line)


# Conditions


def _conditions(rule: Value) -> Conditions:
    return Conditions(
        tuple((key, _patterns(rule.key(key), key)) for key in NAMES if rule.has(key)),
        _where(rule.key("where", {}).table()),
    )


def _patterns(value: Value, field: str) -> tuple[ValuePattern, ...]:
    return tuple(each.checked(lambda text: pattern(text, field)) for each in value.one_or_more())


def _where(value: Value) -> tuple[FieldCondition, ...]:
    found = []
    for field, raw in _flattened(value.raw):
        wanted = value.key(field).with_raw(raw)
        keys = tuple(field.split("."))
        if keys[0] not in _FIELDS or "" in keys or (keys[0] != "body" and len(keys) > 1):
            known = ", ".join(_FIELDS[1:])
            raise wanted.error(f"a field is body.… or one of {known}{similar(keys[0], _FIELDS)}")
        values = tuple(_wanted(wanted.with_raw(each.raw)) for each in wanted.one_or_more())
        found.append(FieldCondition(field, keys, values))
    return tuple(found)


def _flattened(table: dict[str, Any]) -> list[tuple[str, Any]]:
    """Fields and their values. `body.job = 7` without quotes is a table in a table to TOML, and means the same."""
    found = []
    for key, raw in table.items():
        if isinstance(raw, dict):
            found += [(f"{key}.{deeper}", wanted) for deeper, wanted in _flattened(raw)]
        else:
            found.append((key, raw))
    return found


def _wanted(value: Value) -> Any:
    if isinstance(value.raw, str):
        return value.checked(lambda text: pattern(text, "where"), value.raw)
    if isinstance(value.raw, bool | int | float):
        return value.raw
    raise value.error(f"a value is a text, a number, true or false (or a list of them), not {kind_of(value.raw)}")


# Names


def _names(value: Value) -> dict[str, TemplateName]:
    return {key: _name(value.key(key), key) for key in value.table().raw}


def _name(value: Value, key: str) -> TemplateName:
    if isinstance(value.raw, str):
        return TemplateName(value.raw)
    table = value.table("name", "color")
    color = table.key("color", "").text()
    if color and color not in COLOURS:
        raise table.key("color").error(f"there is no colour {color!r}{similar(color, list(COLOURS))}")
    return TemplateName(table.key("name", key).text(), color)
