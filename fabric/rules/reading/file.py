"""A file of rules, read, and read again when it has changed.

    rules = Rules.load("rules.toml")          # .toml, or the .yaml of the packages that this replaces
    rules.decide(message)                     # what would be done, and nothing is
    rules.stats()                             # what was

A change is noticed at the next look (`look`): by the file's time, size and inode, so that an editor may replace it as well
as write into it. A file that is broken or gone leaves the rules as they were, and `problem` says what is wrong; one that
was changed within the last two seconds is read once more, for what was written since need not show in its time.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from fabric.rules.counters import Counters
from fabric.rules.item import event_item, message_item
from fabric.rules.match import Planned, decide
from fabric.rules.model import DEFAULT, RulesError, RuleSet
from fabric.rules.reading import legacy
from fabric.rules.reading.legacy_text import to_toml
from fabric.rules.reading.parse import Path as KeyPath
from fabric.rules.reading.parse import read

logger = logging.getLogger("fabric.rules")

MAX_FILE = 10 * 1024 * 1024
#: Seconds in which a file may change again without its time showing it.
_UNSETTLED = 2.0
_YAML = (".yaml", ".yml")

_Locate = Callable[[KeyPath], int | None]


class Rules:
    """Rules as they are now. Every method may be called on any thread."""

    def __init__(self, rules: RuleSet, *, path: Path | None = None) -> None:
        self.path = path
        #: What is wrong with the file since it was last read well; empty: nothing.
        self.problem = ""
        self.tally = Counters()
        self._current = rules
        self._reloads = 0
        self._lock = threading.Lock()
        #: The file when it was last looked at, and its text when that was good.
        self._seen: _Seen | None = None
        self._text = ""
        self._is_missing = False
        self._keep_counts()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Rules:
        """The rules of a file. RulesError says what is wrong with it, on which line."""
        path = Path(path).expanduser().absolute()
        seen = _see(path)
        rules = cls(_parsed(seen.text, path), path=path)
        rules._seen, rules._text = seen, seen.text
        return rules

    @classmethod
    def parse(cls, text: str, name: str = "rules.toml") -> Rules:
        """The rules of a text; as YAML if `name` ends like that. Programs are not looked for."""
        return cls(_parsed(text, Path(name), look_for_programs=False))

    @property
    def current(self) -> RuleSet:
        """What the file said when it was last read well."""
        return self._current

    @property
    def directory(self) -> str | None:
        """Where programs run: the file's folder."""
        return None if self.path is None else str(self.path.parent)

    def decide(self, message: Mapping[str, Any], topic: str | None = None) -> list[Planned]:
        """What would be done for a message, or with `topic` for an event with that envelope. Nothing is, or is counted."""
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
        """Read the file again if it has changed; whether there are other rules now. Costs a `stat`, mostly."""
        if self.path is None or not self._lock.acquire(blocking=False):
            return False  # somebody else is looking
        try:
            return self._look(self.path)
        finally:
            self._lock.release()

    def _look(self, path: Path) -> bool:
        before = self._seen
        try:
            if (
                before is not None
                and before.is_settled
                and not self._is_missing
                and before.sign == _sign(os.stat(path))
            ):
                return False
            seen = _see(path)
        except (OSError, RulesError) as error:
            # Some editors move a file away before they write it: it is told at the second look.
            if self._is_missing or not _is_absence(error):
                self._complain(str(error))
            self._is_missing = True
            return False
        self._is_missing = False
        self._seen = seen
        if seen.text == self._text:
            self.problem = ""
            return False
        try:
            rules = _parsed(seen.text, path)
        except RulesError as error:
            self._complain(str(error))
            return False
        self._text = seen.text
        self.problem = ""
        self._current = rules
        self._reloads += 1
        self._keep_counts()
        logger.info("read %s again: %d rules", path, len(rules.rules))
        return True

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            logger.warning("%s; the rules stay what they were", problem)

    def _keep_counts(self) -> None:
        names = [rule.name for rule in self._current.rules]
        self.tally.keep([*names, DEFAULT] if self._current.default else names)


def convert(path: str | os.PathLike[str]) -> str:
    """A YAML file of the packages that this replaces, as TOML. RulesError says what is wrong with it."""
    path = Path(path).expanduser().absolute()
    try:
        document, locate = _yaml(_see(path).text, path)
        converted = legacy.convert(document, str(path), locate)
        read(converted.document, str(path), lambda keys: locate(converted.origin(keys)))
    except RecursionError:
        raise RulesError(str(path), None, "", "is nested too deeply") from None
    return to_toml(
        converted.document,
        [f"Converted from {path.name}. What differs from it: docs/rules.md#the-old-bus-rulesyaml", *converted.notes],
    )


# Reading


class _Seen(NamedTuple):
    text: str
    sign: tuple[int, ...]
    #: Whether the file was old enough for a later change to show.
    is_settled: bool


def _sign(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino, facts.st_dev)


def _is_absence(error: Exception) -> bool:
    return isinstance(error.__cause__ or error, FileNotFoundError)


def _see(path: Path) -> _Seen:
    def wrong(problem: str) -> RulesError:
        return RulesError(str(path), None, "", problem)

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would make us wait for who writes into it
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise wrong("this is no file" if not stat.S_ISDIR(facts.st_mode) else "this is a folder, and no file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_FILE + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise wrong(f"is larger than {MAX_FILE:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RulesError(str(path), line, "", f"is no text in UTF-8: {error.reason}") from None
    changed = max(facts.st_mtime, facts.st_ctime)
    return _Seen(text, _sign(facts), not 0 <= time() - changed < _UNSETTLED)


def _parsed(text: str, path: Path, *, look_for_programs: bool = True) -> RuleSet:
    find = (lambda name: _find(name, path.parent)) if look_for_programs else None
    file = str(path)
    try:
        if path.suffix.lower() in _YAML:
            document, locate = _yaml(text, path)
            converted = legacy.convert(document, file, locate)
            return read(converted.document, file, lambda keys: locate(converted.origin(keys)), find)
        document, locate = _toml(text, path)
        return read(document, file, locate, find)
    except RecursionError:
        raise RulesError(file, None, "", "is nested too deeply") from None


def _find(name: str, directory: Path) -> str:
    """Where a program is: `~` is the user's home, a relative path is below the file's folder, a bare name is in PATH."""
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


def _toml(text: str, path: Path) -> tuple[Any, _Locate]:
    import tomllib

    from fabric.config.toml_lines import line_of

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        problem = str(error)[: found.start()] if found else str(error).removesuffix(" (at end of document)")
        line = int(found[1]) if found else text.count("\n") + 1
        raise RulesError(str(path), line, "", f"is no TOML: {problem}") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise RulesError(str(path), None, "", f"is no TOML: {error}") from None
    return document, lambda keys: line_of(text, keys)


def _yaml(text: str, path: Path) -> tuple[Any, _Locate]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise RulesError(
            str(path), None, "", "YAML needs PyYAML: pip install 'event-fabric[rules]' (TOML needs nothing)"
        ) from None

    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            document = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RulesError(str(path), mark.line + 1 if mark else None, "", f"is no YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        # Dates that there are not and the like: PyYAML lets them through as whatever Python raised.
        raise RulesError(str(path), None, "", f"is no YAML: {' '.join(str(error).split())}") from None
    lines: dict[KeyPath, int] = {}
    if node is not None:
        _note_lines(node, (), lines)
    return document, lines.get


#: No key that we know is deeper.
_MAX_DEPTH = 4


def _note_lines(node: Any, path: KeyPath, lines: dict[KeyPath, int]) -> None:
    if len(path) >= _MAX_DEPTH or len(lines) > 100_000:  # aliases of aliases are more than there is text
        return
    if node.id == "mapping":
        for key, value in node.value:
            lines[(*path, str(key.value))] = key.start_mark.line + 1
            _note_lines(value, (*path, str(key.value)), lines)
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            lines[(*path, number)] = value.start_mark.line + 1
            _note_lines(value, (*path, number), lines)
