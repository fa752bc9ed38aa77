import pytest

from cli.terminal.text import cells, fit


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
