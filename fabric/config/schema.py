"""The schema of a setting: its names, its permitted values, its default, its help.

The fields of a settings class are the table of settings: `setting` makes a field, `settings_of` reads all of them. Every
other text about settings is generated from the table:

    Settings, ProxySettings ──settings_of──▸ FABRIC_<NAME>, keys of the file    fabric.config.settings
                                             flags                              proxy.__main__, cli.commands.operating.proxy
                                             fabric config                      cli.commands.operating.config
                                             docs/settings.md                   cli.reference

`Setting.convert` takes a value as text (environment, flags), as a TOML value, or as a Python object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

_Value = TypeVar("_Value")

_UNITS = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


class Setting(NamedTuple):
    """One row of the table."""

    name: str
    kind: type
    default: Any
    #: Its purpose, as a phrase; `code` is in backticks.
    help: str = ""
    #: The unit of a number (`seconds`, `bytes`, `events`), or the kind of a text (`URL`, `file`).
    unit: str = ""
    #: The option of commands; empty: none.
    flag: str = ""
    #: All permitted values; empty: any value of its kind.
    choices: tuple[str, ...] = ()
    #: The meaning of an empty value.
    unset: str = ""
    #: A converter in place of the one of its kind. Its ValueError or TypeError states the problem.
    read: Callable[[Any], Any] | None = None

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"FABRIC_{self.name.upper()}"

    @property
    def no_flag(self) -> str:
        """The flag that switches a boolean setting off."""
        return f"--no-{self.flag.removeprefix('--')}"

    @property
    def what(self) -> str:
        """The kind of its values, in a word: the choices, the unit of a text, or the type."""
        return " or ".join(self.choices) or (self.unit if self.kind in (str, tuple) else "") or _WORDS[self.kind]

    @property
    def metavar(self) -> str:
        """The placeholder for its value in the help of a command."""
        if self.kind is int and self.unit != "bytes":
            return "N"
        return "|".join(self.choices) or (self.unit or _WORDS[self.kind]).upper()

    @property
    def plain_help(self) -> str:
        """`help` without backticks, for terminals."""
        return self.help.replace("`", "")

    def convert(self, value: Any, *, typed: bool = False) -> Any:
        """`value` converted to the kind of this setting. ValueError states the problem.

        `typed`: the source has types of its own (TOML), where a number in quotes is an error.
        """
        if self.read is not None:
            try:
                return self.read(value)
            except TypeError as error:
                raise ValueError(str(error)) from None
        if typed and not _is_a(self.kind, value):
            quoted = " (no quotes)" if isinstance(value, str) else ""
            raise ValueError(f"{value!r} is not {_EXPECTED[self.kind]}{quoted}")
        try:
            found = _CONVERTERS[self.kind](value)
        except (ValueError, TypeError):
            raise ValueError(f"{value!r} is not {_EXPECTED[self.kind]}") from None
        if self.choices and (found := found.lower()) not in self.choices:
            raise ValueError(f"{value!r} is none of {', '.join(self.choices)}{similar(found, self.choices)}")
        return found

    def show(self, value: Any) -> str:
        """`value` for display: `10 MiB`, `0.3 seconds`, `yes`."""
        if self.kind is bool:
            return "yes" if value else "no"
        if self.kind in (int, float):
            return self._show_number(value)
        if self.kind is tuple:
            return (
                ", ".join(each if isinstance(each, str) else " ".join(each) for each in value) or self.unset or "none"
            )
        return str(value) or self.unset

    def _show_number(self, value: float) -> str:
        if self.unit == "bytes" and value:
            for unit, size in _UNITS:
                if value % size == 0:
                    return f"{value // size:,} {unit}"
        return f"{value:,}".removesuffix(".0") + (f" {self.unit}" if self.unit else "")


def setting(
    default: _Value,
    help: str,
    *,
    unit: str = "",
    flag: str | None = None,
    choices: Sequence[str] = (),
    unset: str = "",
    read: Callable[[Any], _Value] | None = None,
) -> _Value:
    """A dataclass field that is a setting. The default of `flag` is `--its-name`; see `Setting` for the other arguments."""
    facts = {"help": help, "unit": unit, "flag": flag, "choices": tuple(choices), "unset": unset, "read": read}
    return dataclasses.field(default=default, metadata=facts)


def settings_of(kind: type[Any]) -> list[Setting]:
    """The settings of a dataclass, in the order of its fields."""
    found = []
    for field in dataclasses.fields(kind):
        facts = dict(field.metadata)
        if facts.get("flag") is None:
            facts["flag"] = "--" + field.name.replace("_", "-")
        found.append(Setting(field.name, type(field.default), field.default, **facts))
    return found


def similar(name: str, known: Sequence[str], *, prefix: str = "") -> str:
    """`; did you mean …?` with the most similar of the `known` names, or the empty string if none is similar.

    `prefix` is common to all known names, and is ignored in the comparison.
    """
    import difflib  # imported here, because only error messages need it

    found = difflib.get_close_matches(name.removeprefix(prefix), [each.removeprefix(prefix) for each in known], n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


# Reading values


def to_text(value: Any) -> str:
    """`value` without surrounding white space. TypeError if it is no text."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value.strip()


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(value)


def _to_number(kind: type[int] | type[float]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = kind(value)
        if not 0 <= number < float("inf"):
            raise ValueError(value)
        return number

    return convert


def _to_list(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        raise TypeError(value)
    return tuple(value)


def _is_a(kind: type, value: Any) -> bool:
    """Whether the TOML value `value` is of this kind."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, {float: (int, float), tuple: (list,)}.get(kind, (kind,)))


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    bool: _to_bool,
    int: _to_number(int),
    float: _to_number(float),
    str: to_text,
    tuple: _to_list,
}
_EXPECTED = {
    bool: "a yes or no (1, 0, true, false)",
    int: "a whole number of at least 0",
    float: "a number of at least 0",
    str: "text",
    tuple: "a list",
}
_WORDS = {bool: "yes or no", int: "whole number", float: "number", str: "text", tuple: "list"}
