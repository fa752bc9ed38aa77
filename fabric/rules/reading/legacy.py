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

Where it behaves otherwise than it did, on purpose:

- `print`, `context` and `command` are independent; `context` used to switch `print` off.
- A rule prints if it says `print: true` or has a `print_format`; it used to print unless it said `print: false`. A
  message that no rule matches is counted, and not printed.
- What a message says is shown, and never interpreted: no placeholders, no colours, no control characters of its own.
- `command` is split into arguments, and `$TEXT` and its like are each one of them; no shell runs it. One that needs a
  shell is refused with what to write instead. It is ended after 30 s, four run at a time, and one that fails three times
  in a row rests for five minutes.
- A format program that fails gives way to the default format; its own path used to be shown.
- Placeholders and colours that there are not: the former stay text as they did, the latter are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fabric.config.schema import similar
from fabric.rules.model import RulesError
from fabric.rules.reading.parse import script_of
from fabric.rules.template import COLOURS, template

Path = tuple[str | int, ...]
Locate = Callable[[Path], int | None]

_TOP = ("callbacks", "bus", "role_map", "default_sender", "session_aliases")
_RULE = ("match_type", "print", "print_format", "context", "context_format", "command")
#: What programs found in their environment, as templates. `MESSAGE` is the whole message.
_VARIABLES = {
    "MESSAGE": "{message}",
    "TYPE": "{type}",
    "FROM": "{from}",
    "CHANNEL": "{channel}",
    "TEXT": "{text}",
    "TS": "{ts}",
}
_PLACEHOLDER = re.compile(r"\{(from|text|type|ts|bold|reset)\}|\{ts:([^{}]+)\}|\{color:([^{}]*)\}|[{}]")
#: Commands ran side by side, as many as there were messages.
CONCURRENCY = 4
FORMAT_TIMEOUT = 5


class Converted(NamedTuple):
    """The document, where its parts come from, and what to tell whoever has it converted."""

    document: dict[str, Any]
    origins: dict[Path, Path]
    notes: tuple[str, ...]

    def origin(self, path: Path) -> Path:
        """Where in the old document the nearest part around `path` was."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return ()


def convert(document: Any, file: str, locate: Locate) -> Converted:
    """RulesError says what is wrong where; the keys are the old file's."""
    return _Converter(file, locate).convert(document)


class _Converter:
    def __init__(self, file: str, locate: Locate) -> None:
        self._file = file
        self._locate = locate
        self._origins: dict[Path, Path] = {}
        self._notes: list[str] = []

    def convert(self, document: Any) -> Converted:
        if not isinstance(document, dict):
            raise self._wrong((), f"a rules file is a mapping with the key `callbacks`, not {_kind(document)}")
        self._known(document, (), _TOP)
        found: dict[str, Any] = {}
        if (bus := document.get("bus")) is not None:
            self._known(self._mapping(bus, ("bus",)), ("bus",), ("endpoint",))
            if (endpoint := bus.get("endpoint")) is not None:
                found["endpoint"] = self._text(endpoint, ("bus", "endpoint"))
                self._origins["endpoint",] = ("bus", "endpoint")
        found["rule"] = self._rules(document.get("callbacks"))
        if names := self._names(document.get("role_map"), document.get("session_aliases")):
            found["names"] = names
        if document.get("default_sender") is not None:
            self._notes.append("`default_sender` is left out: nothing ever read it. Senders say who they are.")
        return Converted(found, self._origins, tuple(self._notes))

    def _rules(self, callbacks: Any) -> list[dict[str, Any]]:
        if not isinstance(callbacks, list) or not callbacks:
            raise self._wrong(("callbacks",), f"`callbacks` is a list of rules, not {_kind(callbacks)}")
        rules = []
        taken = {"default"}
        for number, callback in enumerate(callbacks):
            path: Path = ("callbacks", number)
            table = self._mapping(callback, path)
            self._known(table, path, _RULE)
            if "match_type" not in table:
                raise self._wrong(path, 'there is no `match_type`: which messages? ("" is for those without a type)')
            kind = self._text(table["match_type"], (*path, "match_type"))
            name = _unused(kind if kind.strip() and kind.isprintable() and len(kind) <= 90 else "untyped", taken)
            taken.add(name)
            rules.append(self._rule(table, path, ("rule", number), name, kind))
        return rules

    def _rule(self, table: dict[str, Any], path: Path, new: Path, name: str, kind: str) -> dict[str, Any]:
        self._origins[new] = path
        for key, old in (
            ("type", "match_type"),
            ("print", "print_format"),
            ("inbox", "context_format"),
            ("exec", "command"),
        ):
            if old in table:
                self._origins[(*new, key)] = (*path, old)
        rule: dict[str, Any] = {"name": name, "type": re.sub(r"[*?\[]", lambda found: f"[{found[0]}]", kind)}
        shows = self._yes(table, "print", path)
        if shows or (shows is None and table.get("print_format") is not None):
            rule["print"] = {"format": self._format(table, "print", path)}
        if self._yes(table, "context", path):
            rule["inbox"] = {"format": self._format(table, "context", path), "when_busy": "now"}
        if (command := table.get("command")) not in (None, ""):
            argv = self._argv(self._text(command, (*path, "command")), (*path, "command"))
            rule["exec"] = {"command": argv, "concurrency": CONCURRENCY, "environment": dict(_VARIABLES)}
        if len(rule) == 2:
            rule["ignore"] = True
        return rule

    def _format(self, table: dict[str, Any], what: str, path: Path) -> Any:
        key = f"{what}_format"
        value = table.get(key)
        text = "{text}" if value is None or value == "" else self._text(value, (*path, key))
        if text[0] in "~/" and "{" not in text:
            return {
                "exec": [text],
                "timeout": FORMAT_TIMEOUT,
                # What it printed for the terminal could have colours.
                "color": what == "print",
                "environment": {**_VARIABLES, "FORMAT_MODE": what},
            }
        return self._template(text, (*path, key))

    def _template(self, text: str, path: Path) -> str:
        def replaced(found: re.Match[str]) -> str:
            if found[0] in "{}":
                return found[0] * 2
            if found[3] is not None:
                return found[0] if found[3] in COLOURS else ""
            # Texts of several lines were shown as such.
            return "{text:lines}" if found[1] == "text" else found[0]

        new = _PLACEHOLDER.sub(replaced, text)
        try:
            template(new)
        except ValueError as error:  # a time that strftime does not know
            raise self._wrong(path, str(error)) from None
        return new

    def _argv(self, command: str, path: Path) -> list[str]:
        try:
            words = split(command)
        except ValueError as error:
            if not str(error).startswith(_NEEDS_A_SHELL):
                raise self._wrong(path, str(error)) from None
            quoted = "'" + command.replace("'", "'\\''") + "'"
            raise self._wrong(path, f"{error}. If a shell is meant to run it, say so: sh -c {quoted}") from None
        if (script := script_of(words)) is not None:
            words[script] = words[script].replace("{{", "{").replace("}}", "}")  # braces in it are the shell's
        return words

    def _names(self, role_map: Any, aliases: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in ({} if aliases is None else self._mapping(aliases, ("session_aliases",))).items():
            found[str(key)] = {"name": self._text(value, ("session_aliases", key))}
        for key, entry in ({} if role_map is None else self._mapping(role_map, ("role_map",))).items():
            path: Path = ("role_map", key)
            if entry is None:
                continue
            self._origins["names", str(key)] = path
            table = {"name": entry} if isinstance(entry, str) else self._mapping(entry, path)
            self._known(table, path, ("name", "color"))
            name = {"name": self._text(table.get("name") or str(key), (*path, "name"))}
            if color := table.get("color"):
                if isinstance(color, str) and color in COLOURS:
                    name["color"] = color
                else:
                    self._notes.append(f"the colour of {key!r} in `role_map` is left out: there is no {color!r}")
            found[str(key)] = name
        return found

    # Values

    def _mapping(self, value: Any, path: Path) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise self._wrong(path, f"this is a mapping, not {_kind(value)}")
        return value

    def _text(self, value: Any, path: Path) -> str:
        if not isinstance(value, str):
            raise self._wrong(path, f"this is a text, not {_kind(value)} (put it in quotes)")
        return value

    def _yes(self, table: dict[str, Any], key: str, path: Path) -> bool | None:
        value = table.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong((*path, key), f"this is true or false, not {_kind(value)}")
        return value

    def _known(self, table: dict[Any, Any], path: Path, known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                hint = similar(str(key), known) or f"; there are {', '.join(known)}"
                raise self._wrong((*path, key), f"there is no key {str(key)!r} here{hint}")

    def _wrong(self, path: Path, problem: str) -> RulesError:
        line = None
        for end in range(len(path), 0, -1):
            if (line := self._locate(path[:end])) is not None:
                break
        key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        return RulesError(self._file, line, key, problem)


def _unused(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(str(value)[:60])


_NEEDS_A_SHELL = "this needs a shell"
_SHELL = "|&;<>()*?[]#!\n"


def split(command: str) -> list[str]:
    """A shell's command line as arguments, where one can tell them without a shell; the variables become placeholders.

    As `shlex.split`, which forgets what was in which quotes. ValueError says what only a shell would understand.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(command):
        character = command[at]
        at += 1
        if quote == "'":
            if character == quote:
                quote = ""
            else:
                word = (word or "") + _literal(character)
        elif character == "\\" and (not quote or command[at : at + 1] in ('"', "\\", "$", "`")):
            word = (word or "") + _literal(command[at : at + 1])
            at += 1
        elif character == "$":
            found = re.compile(r"\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*)").match(command, at)
            name = (found[1] or found[2]) if found else ""
            if found is None or name not in _VARIABLES:
                raise ValueError(f"{_NEEDS_A_SHELL}: ${name or command[at : at + 1]}")
            word = (word or "") + _VARIABLES[name]
            at = found.end()
        elif character == "`":
            raise ValueError(f"{_NEEDS_A_SHELL}: `")
        elif character == quote:
            quote = ""
        elif quote:
            word = (word or "") + _literal(character)
        elif character in "'\"":
            quote = character
            word = word or ""
        elif character in " \t":
            if word is not None:
                words.append(word)
            word = None
        elif character in _SHELL or (character == "~" and word is None and words):
            raise ValueError(f"{_NEEDS_A_SHELL}: {character!r}")
        else:
            word = (word or "") + _literal(character)
    if quote:
        raise ValueError(f"a quotation mark {quote} is not closed")
    if word is not None:
        words.append(word)
    if not words or not words[0] or "=" in words[0] or "{" in words[0]:
        raise ValueError(f"{_NEEDS_A_SHELL}: it does not begin with the name of a program")
    return words


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
