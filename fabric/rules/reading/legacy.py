"""The `bus-rules.yaml` of the packages that this replaces → a document of rules, as `fabric.rules.reading.parse` reads it.

    callbacks:                              [[rule]]
      - match_type: task_done               type = "task_done"
        print: true                         print.format = "{ts:%H:%M} {from}: {text:lines}"
        print_format: "{ts:%H:%M} {from}: {text}"
        context: true                       inbox = { format = …, when_busy = "now" }
        context_format: ~/bin/format        … = { exec = ["~/bin/format"], environment = { FROM = "{from}", … } }
        command: notify.sh "$FROM" "$TEXT"  exec = { command = ["notify.sh", "{from}", "{text}"], environment = … }
    bus: {endpoint: lead-agent}             endpoint = "lead-agent"
    role_map: {tmux-1: {name: Lead}}        names.tmux-1 = { name = "Lead" }

Intended differences from the old behaviour:

- `print`, `context` and `command` are independent; `context` used to switch `print` off.
- A rule prints if it says `print: true` or has a `print_format`; it used to print unless it said `print: false`. A
  message that no rule matches is counted, and not printed.
- Values of a message are shown and never interpreted: no placeholders, no colours, no control characters of its own.
- `command` is split into arguments, and `$TEXT` and the like are each one of them; no shell runs it. A command that needs
  a shell is an error that names the replacement. It is ended after 30 s, four run at a time, and after three failures in
  a row it is skipped for five minutes.
- If a format program fails, the default format is used; the program's own path used to be shown.
- Unknown placeholders stay text, as they did; unknown colours are left out.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fabric.rules.reading.shell import NEEDS_A_SHELL, script_of, split
from fabric.rules.reading.value import Locate, Path, RuleSource, Value
from fabric.rules.template import COLOURS, template

_DOCUMENT_KEYS = ("callbacks", "bus", "role_map", "default_sender", "session_aliases")
_RULE_KEYS = ("match_type", "print", "print_format", "context", "context_format", "command")
#: Keys of a rule, and those of the old one that they come from.
_ORIGINS = {"type": "match_type", "print": "print_format", "inbox": "context_format", "exec": "command"}
#: Environment variables of programs, as templates. `MESSAGE` is the whole message.
_VARIABLES = {
    "MESSAGE": "{message}",
    "TYPE": "{type}",
    "FROM": "{from}",
    "CHANNEL": "{channel}",
    "TEXT": "{text}",
    "TS": "{ts}",
}
_PLACEHOLDER = re.compile(r"\{(from|text|type|ts|bold|reset)\}|\{ts:([^{}]+)\}|\{color:([^{}]*)\}|[{}]")
#: Commands used to run side by side without a bound.
CONCURRENCY = 4
#: Seconds.
FORMAT_TIMEOUT = 5


class Converted(NamedTuple):
    """The document, the paths that its parts had in the old one, and notes for the person who converts the file."""

    document: dict[str, Any]
    origins: dict[Path, Path]
    notes: tuple[str, ...]

    def origin(self, path: Path) -> Path:
        """Path in the old document of the nearest part around `path` that has one."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return ()


def convert(document: Any, file: str, locate: Locate) -> Converted:
    """Convert a YAML document. RulesError for a mistake, with the keys of the old file."""
    return _Converter().convert(Value(document, RuleSource(file, locate)))


class _Converter:
    """Conversion of one document; collects origins and notes on the way."""

    def __init__(self) -> None:
        self._origins: dict[Path, Path] = {}
        self._notes: list[str] = []

    def convert(self, document: Value) -> Converted:
        if not isinstance(document.raw, dict):
            raise document.error(f"a rules file is a mapping with the key `callbacks`, not {_kind(document.raw)}")
        document.check_keys(_DOCUMENT_KEYS)
        found: dict[str, Any] = {}
        if (bus := document.key("bus")).raw is not None:
            _mapping(bus).check_keys(("endpoint",))
            if (endpoint := bus.key("endpoint")).raw is not None:
                found["endpoint"] = _text(endpoint)
                self._origins["endpoint",] = endpoint.path
        found["rule"] = self._rules(document.key("callbacks"))
        if names := self._names(document.key("role_map"), document.key("session_aliases")):
            found["names"] = names
        if document.key("default_sender").raw is not None:
            self._notes.append("`default_sender` is left out: nothing ever read it. Senders say who they are.")
        return Converted(found, self._origins, tuple(self._notes))

    def _rules(self, callbacks: Value) -> list[dict[str, Any]]:
        if not isinstance(callbacks.raw, list) or not callbacks.raw:
            raise callbacks.error(f"`callbacks` is a list of rules, not {_kind(callbacks.raw)}")
        rules = []
        taken = {"default"}
        for number, old in enumerate(callbacks.items()):
            _mapping(old).check_keys(_RULE_KEYS)
            if not old.has("match_type"):
                raise old.error('there is no `match_type`: which messages? ("" is for those without a type)')
            kind = _text(old.key("match_type"))
            name = _unused(kind if kind.strip() and kind.isprintable() and len(kind) <= 90 else "untyped", taken)
            taken.add(name)
            self._note_origins(old, ("rule", number))
            rules.append({"name": name, "type": re.sub(r"[*?\[]", lambda found: f"[{found[0]}]", kind)} | _actions(old))
        return rules

    def _note_origins(self, old: Value, path: Path) -> None:
        self._origins[path] = old.path
        for key, old_key in _ORIGINS.items():
            if old.has(old_key):
                self._origins[(*path, key)] = old.key(old_key).path

    def _names(self, role_map: Value, aliases: Value) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in () if aliases.raw is None else _mapping(aliases).raw:
            found[str(key)] = {"name": _text(aliases.key(key))}
        for key in () if role_map.raw is None else _mapping(role_map).raw:
            entry = role_map.key(key)
            if entry.raw is None:
                continue
            self._origins["names", str(key)] = entry.path
            if isinstance(entry.raw, str):
                entry = entry.with_raw({"name": entry.raw})
            _mapping(entry).check_keys(("name", "color"))
            name = {"name": _text(entry.key("name")) if entry.raw.get("name") else str(key)}
            if color := entry.raw.get("color"):
                if isinstance(color, str) and color in COLOURS:
                    name["color"] = color
                else:
                    self._notes.append(f"the colour of {key!r} in `role_map` is left out: there is no {color!r}")
            found[str(key)] = name
        return found


def _actions(old: Value) -> dict[str, Any]:
    """The actions of a rule; `ignore` if it has none."""
    actions: dict[str, Any] = {}
    prints = _flag(old.key("print"))
    if prints or (prints is None and old.key("print_format").raw is not None):
        actions["print"] = {"format": _format(old, "print")}
    if _flag(old.key("context")):
        actions["inbox"] = {"format": _format(old, "context"), "when_busy": "now"}
    if (command := old.key("command")).raw not in (None, ""):
        actions["exec"] = {"command": _argv(command), "concurrency": CONCURRENCY, "environment": dict(_VARIABLES)}
    return actions or {"ignore": True}


def _format(old: Value, action: str) -> Any:
    value = old.key(f"{action}_format")
    text = "{text}" if value.raw in (None, "") else _text(value)
    if text[0] in "~/" and "{" not in text:
        return {
            "exec": [text],
            "timeout": FORMAT_TIMEOUT,
            # The terminal showed the colours that a program printed for it.
            "color": action == "print",
            "environment": {**_VARIABLES, "FORMAT_MODE": action},
        }
    return _template(value, text)


def _template(value: Value, text: str) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found[0] in "{}":
            return found[0] * 2
        if found[3] is not None:
            return found[0] if found[3] in COLOURS else ""
        # Texts of several lines were shown as such.
        return "{text:lines}" if found[1] == "text" else found[0]

    new = _PLACEHOLDER.sub(replaced, text)
    value.checked(template, new)  # fails for a time format that strftime does not know
    return new


def _argv(value: Value) -> list[str]:
    command = _text(value)
    try:
        words = split(command, _VARIABLES)
    except ValueError as error:
        if not str(error).startswith(NEEDS_A_SHELL):
            raise value.error(str(error)) from None
        quoted = "'" + command.replace("'", "'\\''") + "'"
        raise value.error(f"{error}. If a shell is meant to run it, say so: sh -c {quoted}") from None
    if (script := script_of(words)) is not None:
        words[script] = words[script].replace("{{", "{").replace("}}", "}")  # braces in it are the shell's
    return words


def _unused(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


# Checks, in the words of YAML


def _mapping(value: Value) -> Value:
    if not isinstance(value.raw, dict):
        raise value.error(f"this is a mapping, not {_kind(value.raw)}")
    return value


def _text(value: Value) -> str:
    if not isinstance(value.raw, str):
        raise value.error(f"this is a text, not {_kind(value.raw)} (put it in quotes)")
    return value.raw


def _flag(value: Value) -> bool | None:
    if value.raw is not None and not isinstance(value.raw, bool):
        raise value.error(f"this is true or false, not {_kind(value.raw)}")
    return value.raw


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(str(value)[:60])
