"""The lines of a TOML file; tomllib decides which paths it has."""

import tomllib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from fabric.config.toml_lines import line_of, lines

TRICKY = '''# a comment with [no] table = 1
top = "a # b" # c

"quoted key" = 'x = 1'
dotted . "a.b" . c = 1  # three keys

[ spaced . out ]
text = """
not = "here"
[nor.here]
quotes ""\\" and two more"""""
literal = \'\'\'
[no]
\'\'\'\'
date = 1979-05-27 07:32:00Z
empty = ""
list = [ # with a comment ]
  1, "]", [2,
  3],
  { a = 1, b.c = [ {} ] },
]
inline = { "x y" = 1, z = { "\\u00e9" = true } }
after = inf

[[rules]]
match = "a"
[rules.more]
deep = 1
[[rules]]
match = "b"
[[rules.steps]]
do = 1
[[rules.steps]]
do = 2
[bare-1_key]
123 = false'''

EXPECTED = {
    ("top",): 2,
    ("quoted key",): 4,
    ("dotted", "a.b", "c"): 5,
    ("spaced", "out"): 7,
    ("spaced", "out", "text"): 8,
    ("spaced", "out", "literal"): 12,
    ("spaced", "out", "date"): 15,
    ("spaced", "out", "list", 1): 18,
    ("spaced", "out", "list", 2, 1): 19,
    ("spaced", "out", "list", 3, "b", "c", 0): 20,
    ("spaced", "out", "inline", "z", "é"): 22,
    ("spaced", "out", "after"): 23,
    ("rules",): 25,
    ("rules", 0, "match"): 26,
    ("rules", 0, "more", "deep"): 28,
    ("rules", 1): 29,
    ("rules", 1, "match"): 30,
    ("rules", 1, "steps", 1, "do"): 34,
    ("bare-1_key", "123"): 36,
}


def paths(value, path=()):
    """Every table, key and item in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*path, key)
        yield from paths(each, (*path, key))


@pytest.mark.parametrize(("path", "line"), EXPECTED.items(), ids=str)
def test_a_path_is_found_on_its_line(path, line):
    assert line_of(TRICKY, path) == line


def test_all_paths_of_a_text_are_found_and_no_others():
    assert set(lines(TRICKY)) == set(paths(tomllib.loads(TRICKY)))


def test_a_path_that_does_not_exist_has_no_line():
    assert line_of(TRICKY, ("rules", 0, "nothing")) is None
    assert line_of("", ("a",)) is None


def test_line_ends_of_another_system_are_line_ends():
    assert line_of("a = 1\r\n[b]\r\nc = 2\r\n", ("b", "c")) == 3


@pytest.mark.parametrize("text", ["= 1", "[a", "a = ", "a = 'open", "a = [1", "a = {b", "[a]]]\nb = 1", "\x00"])
def test_text_that_is_no_toml_ends_the_search(text):
    lines(text)


def test_lists_that_are_nested_too_deeply_end_the_search():
    assert line_of("a = 1\nb = " + "[" * 10_000, ("a",)) == 1


TEXT = some.text(some.characters(exclude_categories=["Cs"]), max_size=5)
VALUE = some.recursive(
    some.one_of(some.integers(0, 9).map(str), some.sampled_from(["true", "1979-05-27", "''", '"""\n"""']), TEXT.map(
        lambda text: orjson.dumps(text).decode().replace("\x7f", "\\u007f")
    )),
    lambda inner: some.one_of(
        some.lists(inner, max_size=3).map(lambda items: "[ # ]\n" + ",\n".join(items) + "\n]"),
        some.lists(inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"k{number} = {item}" for number, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=8,
)  # fmt: skip


@given(some.lists(VALUE, max_size=4))
def test_the_keys_after_a_value_of_any_syntax_are_found(values):
    text = "".join(f"[t{number}]\nkey = {value}\n" for number, value in enumerate(values))
    assert set(lines(text)) == set(paths(tomllib.loads(text)))
