"""A value of a parsed file with its place: typed access to it, and errors that name file, line and key.

    Value          value.key("print")     value.key("print").key("format")
    raw            "{text}"               …
    path           ("rule", 0, "print")   ("rule", 0, "print", "format")     place in the document, for its line
    name           rule 'done': print     rule 'done': print.format          place in the error, for people

Knows no rules: `parse`, `actions` and `legacy` say which keys there are and what each may be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from fabric.config.schema import similar
from fabric.rules.model import RulesError

Path = tuple[str | int, ...]
#: Line of the file (from 1) at which a path of the document stands; None if unknown.
Locate = Callable[[Path], int | None]
#: Absolute path of the program that the file names; ValueError if there is none.
FindProgram = Callable[[str], str]

_Checked = TypeVar("_Checked")

MAX_SECONDS = 7 * 86_400.0


class RuleSource(NamedTuple):
    """The file that a document was parsed from."""

    file: str
    locate: Locate
    #: None: programs are not looked up.
    find_program: FindProgram | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """One value. All checks raise RulesError."""

    raw: Any
    source: RuleSource
    path: Path = ()
    name: str = ""

    # Children

    def key(self, key: Any, default: Any = None) -> Value:
        """The value of a key of this table; `default` if it is absent. YAML has keys that are no str."""
        separator = "" if not self.name or self.name.endswith(": ") else "."
        return replace(
            self, raw=self.raw.get(key, default), path=(*self.path, key), name=f"{self.name}{separator}{key}"
        )

    def item(self, index: int, raw: Any) -> Value:
        """`raw` as the item of this list at `index`."""
        return replace(self, raw=raw, path=(*self.path, index), name=f"{self.name}[{index + 1}]")

    def has(self, key: str) -> bool:
        """Whether this table has the key."""
        return key in self.raw

    def named(self, name: str) -> Value:
        """The same value, called `name` in errors; one that ends with `: ` is followed by its keys without a dot."""
        return replace(self, name=name)

    def with_raw(self, raw: Any) -> Value:
        """Another value at this place: the long form of a short one."""
        return replace(self, raw=raw)

    # Checks

    def table(self, *keys: str) -> Value:
        """Itself, if it is a table; with `keys`, one that has no others."""
        if not isinstance(self.raw, dict):
            raise self.error(f"this is a table, not {kind_of(self.raw)}")
        if keys:
            self.check_keys(keys)
        return self

    def check_keys(self, keys: Sequence[str]) -> None:
        """Raise the error of the first key of this table that is none of `keys`."""
        for key in self.raw:
            if key not in keys:
                hint = similar(str(key), keys) or f"; there are {', '.join(keys)}"
                raise self.key(key).error(f"there is no key {str(key)!r} here{hint}")

    def items(self) -> list[Value]:
        """The items of this list."""
        if not isinstance(self.raw, list):
            raise self.error(f"this is a list, not {kind_of(self.raw)}")
        return [self.item(index, raw) for index, raw in enumerate(self.raw)]

    def one_or_more(self) -> list[Value]:
        """The items of this list, or itself if it is no list. An empty list is an error: it would match nothing."""
        values = self.items() if isinstance(self.raw, list) else [self]
        if not values:
            raise self.error("this list is empty: nothing would match")
        return values

    def text(self) -> str:
        """A str without NUL."""
        if not isinstance(self.raw, str):
            raise self.error(f"this is a text in quotes, not {kind_of(self.raw)}")
        if "\0" in self.raw:
            raise self.error("there is a NUL in this text")
        return self.raw

    def checked(self, check: Callable[[str], _Checked], text: str | None = None) -> _Checked:
        """What `check` makes of this text, or of `text` in its place; its ValueError or TypeError becomes a RulesError."""
        text = self.text() if text is None else text
        try:
            return check(text)
        except (ValueError, TypeError) as error:
            raise self.error(str(error)) from None

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.raw, bool):
            raise self.error(f"this is true or false, not {kind_of(self.raw)}")
        return self.raw

    def number(self, least: int, most: int) -> int:
        """An int from `least` to `most`."""
        if type(self.raw) is not int or not least <= self.raw <= most:
            raise self.error(f"this is a whole number from {least} to {most:,}, not {kind_of(self.raw)}")
        return self.raw

    def seconds(self, most: float = MAX_SECONDS, *, zero: bool = False) -> float:
        """A duration up to `most` seconds; 0 only with `zero`."""
        raw = self.raw
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= most or not (raw or zero):
            raise self.error(f"these are seconds, more than 0 and up to {most:,.0f}, not {kind_of(raw)}")
        return float(raw)

    def one_of(self, *words: str) -> str:
        """One of these words; an empty one among them is only a default."""
        if not isinstance(self.raw, str) or self.raw not in words:
            known = " or ".join(f'"{word}"' for word in words if word)
            raise self.error(f"this is {known}, not {kind_of(self.raw)}")
        return self.raw

    # Errors

    @property
    def line(self) -> int | None:
        """Line of this value, or of the nearest value around it whose line is known."""
        for end in range(len(self.path), 0, -1):
            if (line := self.source.locate(self.path[:end])) is not None:
                return line
        return None

    def error(self, problem: str) -> RulesError:
        """The error that `problem` is at this place."""
        return RulesError(self.source.file, self.line, self.name.removesuffix(": "), problem)


def kind_of(value: Any) -> str:
    """A value in words, for errors: `the number 5`, `a list`."""
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
