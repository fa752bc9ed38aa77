import pytest

from cli.terminal.text import MISSING, bare, cells, cut, find, fit


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_cells_are_columns_of_a_terminal(text, width):
    assert cells(text) == width


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [("abc", 5, "abc  "), ("abc", 3, "abc"), ("abcdef", 3, "ab…"), ("日本語", 4, "日… "), ("日本語", 5, "日本…")],
)
def test_fit_pads_and_cuts_to_columns(text, width, fitted):
    assert fit(text, width) == fitted
    assert cells(fitted) == width


def test_a_text_that_is_cut_says_how_much_is_missing():
    assert cut("abcdef", 4) == "abcd… (+2 characters)"
    assert cut("abcdef", 6) == cut("abcdef", 0) == "abcdef"


@pytest.mark.parametrize(
    ("value", "shown"), [("a b", "a b"), ("\x1b[2J", "\\u001b[2J"), (7, "7"), (None, "null"), (["a"], '["a"]')]
)
def test_a_string_is_shown_bare_and_anything_else_as_json(value, shown):
    assert bare(value) == shown


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.b", 1), ("list.1.c", 2), ("none", None), ("a.c", MISSING), ("list.2", MISSING), ("list.x", MISSING),
     ("a.b.c", MISSING)],
)  # fmt: skip
def test_a_path_leads_through_objects_and_lists(path, found):
    assert find({"a": {"b": 1}, "list": [0, {"c": 2}], "none": None}, path.split(".")) is found
