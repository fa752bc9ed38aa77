from cli.terminal.table import RED, Cell, red, table, wrapped
from cli.terminal.text import cells

HEADER = ("NAME", "COUNT", "/S")


def test_the_first_column_is_aligned_left_and_the_others_right():
    assert table(HEADER, [("a", "1", "0.5"), ("longer", "12,345", "9")], 80) == [
        "NAME     COUNT   /S",
        "a            1  0.5",
        "longer  12,345    9",
    ]


def test_the_first_column_is_cut_where_the_others_need_the_room():
    lines = table(HEADER, [("x" * 100, "1", "2"), ("日" * 50, "1", "2")], 40)
    assert [cells(line) for line in lines] == [40, 40, 40]
    assert lines[1].startswith("xxxx")
    assert "…" in lines[1]


def test_it_keeps_something_of_the_first_column_however_narrow_it_is():
    assert table(HEADER, [("x" * 100, "1", "2")], 1)[1].startswith("x" * 11 + "…")


def test_no_rows_are_no_table():
    assert table(HEADER, [], 80) == []


def test_a_number_of_columns_are_texts_and_nothing_is_cut_without_a_width():
    assert table(HEADER, [("a" * 90, "b", "")], texts=3) == [f"NAME{' ' * 86}  COUNT  /S", f"{'a' * 90}  b"]


def test_rows_need_no_header():
    assert table((), [("a", "b"), ("aaa", "bbb")], texts=2) == ["a    b", "aaa  bbb"]


def test_columns_are_one_space_apart_where_there_is_no_room_for_two():
    assert table(HEADER, [("a", "1", "2")], 15) == ["NAME  COUNT  /S", "a         1   2"]
    assert table(HEADER, [("a", "1", "2")], 14) == ["NAME COUNT /S", "a        1  2"]
    assert table(HEADER, [("a", "1", "2")], 80, gap=1) == ["NAME COUNT /S", "a        1  2"]


def test_columns_have_their_least_widths_and_grow_with_what_they_hold():
    assert table(HEADER, [("a", "1", "2")], 80, widths=(6, 5, 4), gap=1) == ["NAME   COUNT   /S", "a          1    2"]
    assert table(HEADER, [("a", "1,234,567", "2")], 80, widths=(6, 5, 4), gap=1)[1] == "a      1,234,567    2"


def test_a_table_that_does_not_fit_is_cut_where_that_is_wanted():
    rows = [("x" * 100, "日本語日本語", "2")]
    for columns in range(1, 30):
        lines = table(HEADER, rows, columns, first=4, clip=True)
        assert max(map(cells, lines)) <= columns
    assert table(HEADER, rows, 12, first=4, clip=True)[1] == "xxx… 日本語…"


def test_a_cell_has_a_colour_where_there_is_colour_and_does_not_move_its_column():
    rows = [("a", Cell("7", RED), "1"), ("b", "8", "1")]
    plain, coloured = table(HEADER, rows, 80), table(HEADER, rows, 80, colour=True)
    assert coloured[1] == plain[1].replace("      7", "\x1b[31m      7\x1b[0m")
    assert coloured[2] == plain[2]


def test_red_is_for_terminals_with_colour():
    assert (red("x", False), red("x", True)) == ("x", "\x1b[31mx\x1b[0m")


def test_facts_are_broken_between_one_another_only():
    assert wrapped("what", ["one fact", "a second", "third"], 25) == [
        "what      one fact,",
        "          a second, third",
    ]
    assert wrapped("url", ["ipc:///" + "x" * 100], 20) == ["url       ipc:///" + "x" * 100]
