from cli.terminal.table import RedCell, grid, red, wrapped
from cli.terminal.text import cells

HEADER = ("NAME", "COUNT", "/S")


def test_texts_stand_at_the_left_and_numbers_at_the_right():
    assert grid(HEADER, [("a", "1", "0.5"), ("longer", "12,345", "9")], 80) == [
        "NAME     COUNT   /S",
        "a            1  0.5",
        "longer  12,345    9",
    ]


def test_the_first_column_is_cut_where_the_others_need_the_room():
    lines = grid(HEADER, [("x" * 100, "1", "2"), ("日" * 50, "1", "2")], 40)
    assert [cells(line) for line in lines] == [40, 40, 40]
    assert lines[1].startswith("xxxx")
    assert "…" in lines[1]


def test_it_keeps_something_of_the_first_column_however_narrow_it_is():
    assert grid(HEADER, [("x" * 100, "1", "2")], 1)[1].startswith("x" * 11 + "…")


def test_no_rows_are_no_table():
    assert grid(HEADER, [], 80) == []


def test_an_alarm_is_red_where_there_is_colour_and_does_not_move_its_column():
    rows = [("a", RedCell("7"), "1"), ("b", "8", "1")]
    plain, coloured = grid(HEADER, rows, 80), grid(HEADER, rows, 80, colour=True)
    assert coloured[1] == plain[1].replace("    7", "\x1b[31m    7\x1b[0m")
    assert coloured[2] == plain[2]


def test_red_is_for_terminals_with_colour():
    assert (red("x", False), red("x", True)) == ("x", "\x1b[31mx\x1b[0m")


def test_facts_are_broken_between_one_another_only():
    assert wrapped("what", ["one fact", "a second", "third"], 25) == [
        "what      one fact,",
        "          a second, third",
    ]
    assert wrapped("url", ["ipc:///" + "x" * 100], 20) == ["url       ipc:///" + "x" * 100]
