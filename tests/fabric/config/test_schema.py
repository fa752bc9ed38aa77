"""One setting: its names, its values, its display."""

from dataclasses import dataclass

import pytest

from fabric.config.schema import setting, settings_of, similar
from fabric.config.settings import Settings
from proxy.settings import ProxySettings


@dataclass(frozen=True)
class Made:
    """Settings of every kind."""

    plain: str = "as it is"
    name: str = setting("", "a `name`", unit="URL", unset="nobody")
    some_bytes: int = setting(1024, "a size", unit="bytes")
    several: int = setting(5, "a count", unit="events")
    wait: float = setting(0.5, "a while", unit="seconds")
    on: bool = setting(True, "a switch")
    mode: str = setting("fast", "a choice", choices=("fast", "slow"))
    programs: tuple[tuple[str, ...], ...] = setting((), "a list", flag="--program")


ROWS = {row.name: row for row in settings_of(Made)}


def test_a_setting_made_by_the_helper_is_an_ordinary_field_with_that_default():
    assert (Made().wait, Made(wait=2.0).wait) == (0.5, 2.0)


def test_the_table_has_the_fields_in_their_order():
    assert list(ROWS) == ["plain", "name", "some_bytes", "several", "wait", "on", "mode", "programs"]


def test_a_setting_has_one_name_in_every_place():
    row = ROWS["some_bytes"]
    assert (row.variable, row.flag, row.kind, row.default) == ("FABRIC_SOME_BYTES", "--some-bytes", int, 1024)
    assert (ROWS["on"].no_flag, ROWS["programs"].flag) == ("--no-on", "--program")


def test_help_for_a_terminal_has_no_backticks():
    assert ROWS["name"].plain_help == "a name"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("name", "", "nobody"),
        ("name", "x", "x"),
        ("some_bytes", 0, "0 bytes"),
        ("some_bytes", 1023, "1,023 bytes"),
        ("some_bytes", 2048, "2 KiB"),
        ("some_bytes", 10 * 1024**2, "10 MiB"),
        ("some_bytes", 2 * 1024**4, "2,048 GiB"),
        ("several", 100_000, "100,000 events"),
        ("wait", 0.25, "0.25 seconds"),
        ("wait", 60.0, "60 seconds"),
        ("on", True, "yes"),
        ("on", False, "no"),
        ("programs", (), "none"),
        ("programs", (("/bin/a", "b"), ("/bin/c",)), "/bin/a b, /bin/c"),
    ],
)
def test_values_are_displayed_with_their_units(name, value, shown):
    assert ROWS[name].show(value) == shown


@pytest.mark.parametrize(
    ("name", "what", "metavar"),
    [
        ("name", "URL", "URL"),
        ("some_bytes", "whole number", "BYTES"),
        ("several", "whole number", "N"),
        ("wait", "number", "SECONDS"),
        ("on", "yes or no", "YES OR NO"),
        ("mode", "fast or slow", "fast|slow"),
        ("plain", "text", "TEXT"),
    ],
)
def test_the_kind_of_a_settings_values_is_a_word(name, what, metavar):
    assert (ROWS[name].what, ROWS[name].metavar) == (what, metavar)


def test_a_choice_is_accepted_in_upper_and_lower_case():
    assert ROWS["mode"].convert(" SLOW ") == "slow"


def test_the_error_of_a_wrong_choice_lists_the_choices():
    with pytest.raises(ValueError, match="'slwo' is none of fast, slow; did you mean slow"):
        ROWS["mode"].convert("slwo")


@pytest.mark.parametrize(("name", "value"), [("several", 5.5), ("several", float("inf")), ("wait", float("nan"))])
def test_numbers_are_not_rounded_and_must_be_finite(name, value):
    with pytest.raises(ValueError, match="is not a"):
        ROWS[name].convert(value)


def test_a_whole_number_may_be_written_with_a_point():
    assert ROWS["several"].convert(5.0) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("several", "5"),
        ("several", 5.0),
        ("several", True),
        ("wait", "0.5"),
        ("wait", True),
        ("on", "yes"),
        ("on", 1),
        ("plain", 5),
        ("mode", False),
        ("programs", "a"),
        ("several", [5]),
    ],
)
def test_in_a_source_with_types_a_value_of_another_type_is_an_error(name, value):
    with pytest.raises(ValueError, match="is not"):
        ROWS[name].convert(value, typed=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("several", 5), ("wait", 1), ("wait", 0.5), ("on", False), ("plain", "x"), ("programs", [["a"]])],
)
def test_in_a_source_with_types_a_value_of_the_right_type_is_accepted(name, value):
    ROWS[name].convert(value, typed=True)


def test_a_misspelt_name_is_answered_with_the_similar_one():
    assert similar("settel", ["settle", "timeout"]) == "; did you mean settle?"
    assert similar("xyz", ["settle", "timeout"]) == ""


@pytest.mark.parametrize("row", [*settings_of(Settings), *settings_of(ProxySettings)], ids=lambda row: row.name)
def test_every_setting_has_a_help_text_and_a_valid_default(row):
    assert len(row.help.split()) > 2
    assert row.convert(row.default) == row.default
    assert row.show(row.default)


def test_settings_of_both_tables_are_of_one_kind():
    nodes = {row.name: row for row in settings_of(Settings)}
    both = [(nodes[row.name], row) for row in settings_of(ProxySettings) if row.name in nodes]
    assert {one.name for one, _ in both} == {"url", "max_bytes"}
    assert all((one.kind, one.default) == (other.kind, other.default) for one, other in both)
