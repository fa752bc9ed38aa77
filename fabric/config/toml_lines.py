"""On which line of a TOML file something is: tomllib reads the values, and forgets where they were.

    [proxy]                     ("proxy",)                    1
    settle = 0.5                ("proxy", "settle")           2
    [[rules]]                   ("rules", 0)                  3
    match = "a.**"              ("rules", 0, "match")         4
    more = { "x y" = 1 }        ("rules", 0, "more", "x y")   5

For a text that tomllib has accepted: this looks for where keys, values and tables begin and end, and checks nothing.
What it does not understand ends the search, so that a line may be unknown, and never wrong.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: Three quotes before one: an empty string may be what they begin with. Two more may stand before the last three.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
#: Numbers, dates, true and false.
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def line_of(text: str, path: Path) -> int | None:
    """The line (from 1) where `path` is first mentioned in `text`; None if it is not found."""
    return lines(text).get(path)


@lru_cache(maxsize=1)
def lines(text: str) -> dict[Path, int]:
    """The line of every table, key and item of a list."""
    scan = _Scan(text)
    try:
        scan.document()
    except (_NotUnderstood, RecursionError):
        pass
    return scan.found


class _NotUnderstood(Exception):
    """Here something else was expected."""


class _Scan:
    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        #: The last index of each array of tables.
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        prefix: Path = ()
        while self._skip():
            if self._takes("["):
                prefix = self._header()
            else:
                self._pair(prefix)

    def _header(self) -> Path:
        start = self._at - 1
        is_array = self._takes("[")
        keys = self._key()
        self._must_take("]")
        if is_array:
            self._must_take("]")
        path: Path = ()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            if is_array and number == len(keys):
                self._arrays[path] = self._arrays.get(path, -1) + 1
            self._note(path, start)
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._note(path, start)
        return path

    def _pair(self, prefix: Path) -> None:
        start = self._at
        path = prefix
        for key in self._key():
            path = (*path, key)
            self._note(path, start)
        self._must_take("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        if self._takes("["):
            index = 0
            while not self._takes("]"):
                self._note((*path, index), self._at)
                self._value((*path, index))
                self._takes(",")
                index += 1
        elif self._takes("{"):
            while not self._takes("}"):
                self._pair(path)
                self._takes(",")
        elif self._match(_STRING) is None and self._match(_BARE_VALUE) is None:
            raise _NotUnderstood

    def _key(self) -> list[str]:
        keys = []
        while True:
            self._skip()
            if quoted := self._match(_STRING):
                keys.append(tomllib.loads(f"key = {quoted}")["key"])
            elif bare := self._match(_BARE_KEY):
                keys.append(bare)
            else:
                raise _NotUnderstood
            if not self._takes("."):
                return keys

    def _note(self, path: Path, at: int) -> None:
        self.found.setdefault(path, self._text.count("\n", 0, at) + 1)

    def _skip(self) -> bool:
        """Go past what says nothing; whether something is left."""
        self._match(_BLANK)
        return self._at < len(self._text)

    def _takes(self, mark: str) -> bool:
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _must_take(self, mark: str) -> None:
        if not self._takes(mark):
            raise _NotUnderstood

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]
