"""Line numbers of the tables, keys and list items of a TOML text, for error messages: tomllib gives the values only.

    text                        path                          line

    [proxy]                     ("proxy",)                    1
    settle = 0.5                ("proxy", "settle")           2
    [[rules]]                   ("rules", 0)                  3
    match = "a.**"              ("rules", 0, "match")         4
    more = { "x y" = 1 }        ("rules", 0, "more", "x y")   5

The text has been accepted by tomllib: the scan finds the beginning and end of keys, values and tables, and validates
nothing. At a construct that it does not know it stops, so that a line may be missing, and is never wrong. Pure.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: Three quotes are tried before one, because an empty string begins like them. Two more quotes may precede the last three.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
#: Numbers, dates, true and false.
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def line_of(text: str, path: Path) -> int | None:
    """The line, from 1, of the first mention of `path` in `text`; None if the scan did not find it."""
    return lines(text).get(path)


@lru_cache(maxsize=1)
def lines(text: str) -> dict[Path, int]:
    """The line of every table, key and list item of `text`."""
    scan = _Scan(text)
    try:
        scan.document()
    except (_UnknownSyntax, RecursionError):
        pass
    return scan.found


class _UnknownSyntax(Exception):
    """The scan met a construct that it does not know."""


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
            if self._accept("["):
                prefix = self._header()
            else:
                self._pair(prefix)

    def _header(self) -> Path:
        start = self._at - 1
        is_array = self._accept("[")
        keys = self._key()
        self._expect("]")
        if is_array:
            self._expect("]")
        path: Path = ()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            if is_array and number == len(keys):
                self._arrays[path] = self._arrays.get(path, -1) + 1
            self._record(path, start)
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._record(path, start)
        return path

    def _pair(self, prefix: Path) -> None:
        start = self._at
        path = prefix
        for key in self._key():
            path = (*path, key)
            self._record(path, start)
        self._expect("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        if self._accept("["):
            index = 0
            while not self._accept("]"):
                self._record((*path, index), self._at)
                self._value((*path, index))
                self._accept(",")
                index += 1
        elif self._accept("{"):
            while not self._accept("}"):
                self._pair(path)
                self._accept(",")
        elif self._match(_STRING) is None and self._match(_BARE_VALUE) is None:
            raise _UnknownSyntax

    def _key(self) -> list[str]:
        keys = []
        while True:
            self._skip()
            if quoted := self._match(_STRING):
                keys.append(tomllib.loads(f"key = {quoted}")["key"])
            elif bare := self._match(_BARE_KEY):
                keys.append(bare)
            else:
                raise _UnknownSyntax
            if not self._accept("."):
                return keys

    def _record(self, path: Path, at: int) -> None:
        self.found.setdefault(path, self._text.count("\n", 0, at) + 1)

    def _skip(self) -> bool:
        """Skip white space and comments. Whether text is left."""
        self._match(_BLANK)
        return self._at < len(self._text)

    def _accept(self, mark: str) -> bool:
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise _UnknownSyntax

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]
