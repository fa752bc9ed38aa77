import json
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.system.terminal import safe, safe_lines, to_json

HARMFUL = [
    "\x1b[31m",
    "\x07",
    "\x9b2J",
    "\x7f",
    "\r",
    "\n",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\U000e0041",
]


@pytest.mark.parametrize("text", ["plain", "größer ≥ 3", "日本語", "😀", "全角\u3000空白", r"C:\path"])
def test_visible_characters_stay_as_they_are(text):
    assert safe(text) == text


@pytest.mark.parametrize("text", HARMFUL)
def test_characters_that_a_terminal_obeys_or_hides_are_shown_as_their_codes(text):
    assert safe(f"a{text}z").isprintable()
    assert "\\u" in safe(text)


@given(st.text())
def test_escaped_text_has_no_control_or_format_character(text):
    assert not {character for character in safe(text) if unicodedata.category(character)[0] == "C"}


@given(st.recursive(st.none() | st.integers(-(2**63), 2**63) | st.text(), st.lists))
def test_escaped_json_parses_to_the_original_value(value):
    shown = to_json(value)
    assert json.loads(shown) == value
    assert "\n" not in shown


def test_json_that_is_nested_too_deeply_to_be_written_is_named_as_that():
    deep = orjson.loads("[" * 500 + "]" * 500)
    assert json.loads(to_json(deep)) == "(nested too deeply to be shown)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one line ", "one line "),
        ("a\nb\r\nc\rd\n", "a\n  b\n  c\n  d\n  "),
        ("a\tb", "a\tb"),
        ("a\n\x1b[2Jb", "a\n  \\u001b[2Jb"),
        ("a\u2028b\x85c\x0bd", "a\\u2028b\\u0085c\\u000bd"),
    ],
)
def test_lines_of_a_text_stay_lines_and_are_indented(text, shown):
    assert safe_lines(text) == shown


@given(st.text())
def test_every_line_after_the_first_is_indented_and_the_rest_is_escaped(text):
    first, *others = safe_lines(text).split("\n")
    assert all(line.startswith("  ") for line in others)
    assert not {each for line in (first, *others) for each in line.replace("\t", "") if safe(each) != each}
