"""A file of rules: read, checked, and read again when it has changed.

    rules = Rules.load("rules.toml")          # .toml, or the .yaml of the packages that this replaces
    rules.decide(message)                     # the actions that would be taken; takes none
    rules.stats()                             # counts of what was done

A change is noticed at the next `look`. A file that is broken or missing leaves the rules as they were, and `problem` says
what is wrong with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabric.rules.counters import Counters
from fabric.rules.item import event_item, message_item
from fabric.rules.match import Planned, decide
from fabric.rules.model import DEFAULT, RulesError, RuleSet
from fabric.rules.reading import legacy
from fabric.rules.reading.formats import parse_toml, parse_yaml
from fabric.rules.reading.parse import read
from fabric.rules.reading.toml_writer import to_toml
from fabric.rules.reading.value import FindProgram
from fabric.rules.reading.watched_file import WatchedFile

logger = logging.getLogger("fabric.rules")

_YAML = (".yaml", ".yml")


class Rules:
    """The rules of a file as they are now. Every method may be called on any thread."""

    def __init__(self, rules: RuleSet, *, path: Path | None = None) -> None:
        self.path = path
        #: What is wrong with the file since it was last read well; empty: nothing.
        self.problem = ""
        self.tally = Counters()
        self._current = rules
        self._reloads = 0
        self._lock = threading.Lock()
        self._file = None if path is None else WatchedFile(path)
        #: Text of the file when it was last read well.
        self._text = ""
        self._is_missing = False
        self._keep_counts()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Rules:
        """The rules of a file. RulesError says what is wrong with it, on which line."""
        path = Path(path).expanduser().absolute()
        file = WatchedFile(path)
        text = file.read()
        rules = cls(_parsed(text, path), path=path)
        rules._file, rules._text = file, text
        return rules

    @classmethod
    def parse(cls, text: str, name: str = "rules.toml") -> Rules:
        """The rules of a text; as YAML if `name` ends like that. Programs are not looked up."""
        return cls(_parsed(text, Path(name), find_programs=False))

    @property
    def current(self) -> RuleSet:
        """The rules of the file when it was last read well."""
        return self._current

    @property
    def directory(self) -> str | None:
        """Working directory of programs: the file's folder."""
        return None if self.path is None else str(self.path.parent)

    def decide(self, message: Mapping[str, Any], topic: str | None = None) -> list[Planned]:
        """The actions for a message, or with `topic` for an event with that envelope. Takes none, and counts nothing."""
        item = message_item(message) if topic is None else event_item(topic, message)
        return list(decide(self._current, item).planned)

    def stats(self) -> dict[str, Any]:
        """`rules`: name → `matched`, `runs` (actions begun), `failures`, `dropped`, `suppressed`, `last_error` and when.

        And `unmatched` messages, `reloads`, the `file`, and its `problem` if it has one.
        """
        return {
            "file": None if self.path is None else str(self.path),
            "rules": self.tally.stats(),
            "unmatched": self.tally.unmatched,
            "reloads": self._reloads,
            "problem": self.problem or None,
        }

    # Changes

    def look(self) -> bool:
        """Read the file again if it has changed; whether the rules are others now. Mostly costs one `stat`."""
        if self._file is None or not self._lock.acquire(blocking=False):
            return False  # another thread is at it
        try:
            return self._file.may_have_changed() and self._read_again(self._file)
        finally:
            self._lock.release()

    def _read_again(self, file: WatchedFile) -> bool:
        assert self.path is not None
        try:
            text = file.read()
        except RulesError as error:
            # Some editors move a file away before they write it, so a missing file is reported at the second look.
            if self._is_missing or not isinstance(error.__cause__, FileNotFoundError):
                self._report(str(error))
            self._is_missing = True
            return False
        self._is_missing = False
        if text == self._text:
            self.problem = ""
            return False
        try:
            rules = _parsed(text, self.path)
        except RulesError as error:
            self._report(str(error))
            return False
        self._text = text
        self.problem = ""
        self._current = rules
        self._reloads += 1
        self._keep_counts()
        logger.info("read %s again: %d rules", self.path, len(rules.rules))
        return True

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            logger.warning("%s; the rules stay what they were", problem)

    def _keep_counts(self) -> None:
        names = [rule.name for rule in self._current.rules]
        self.tally.keep([*names, DEFAULT] if self._current.default else names)


def convert(path: str | os.PathLike[str]) -> str:
    """A YAML file of the packages that this replaces, as TOML. RulesError says what is wrong with it."""
    path = Path(path).expanduser().absolute()
    text = WatchedFile(path).read()
    try:
        converted, _ = _converted(text, str(path), find_program=None)
    except RecursionError:
        raise _too_deep(path) from None
    return to_toml(
        converted.document,
        [f"Converted from {path.name}. What differs from it: docs/rules.md#the-old-bus-rulesyaml", *converted.notes],
    )


def _parsed(text: str, path: Path, *, find_programs: bool = True) -> RuleSet:
    find_program = (lambda name: _find_program(name, path.parent)) if find_programs else None
    try:
        if path.suffix.lower() in _YAML:
            return _converted(text, str(path), find_program)[1]
        document, locate = parse_toml(text, str(path))
        return read(document, str(path), locate, find_program)
    except RecursionError:
        raise _too_deep(path) from None


def _converted(text: str, file: str, find_program: FindProgram | None) -> tuple[legacy.Converted, RuleSet]:
    """A YAML text, converted, and its rules: errors of either have the lines of the YAML."""
    document, locate = parse_yaml(text, file)
    converted = legacy.convert(document, file, locate)
    rules = read(converted.document, file, lambda path: locate(converted.origin(path)), find_program)
    return converted, rules


def _too_deep(path: Path) -> RulesError:
    return RulesError(str(path), None, "", "is nested too deeply")


def _find_program(name: str, directory: Path) -> str:
    """Absolute path of a program: `~` is the user's home, a relative path is below `directory`, a bare name is in PATH."""
    path = os.path.expanduser(name)
    if "/" in path:
        path = os.path.normpath(os.path.join(directory, path))
        if not os.path.isfile(path):
            raise ValueError(f"there is no file {path}")
        if not os.access(path, os.X_OK):
            raise ValueError(f"{path} is not executable; mend it with: chmod +x {path}")
        return path
    if (found := shutil.which(path)) is None:
        raise ValueError(f"there is no program {name!r} in PATH")
    return os.path.abspath(found)
