"""The effect of keys on the view of `fabric top`."""

import pytest

from cli.views.top import COLUMNS
from cli.views.top_keys import DEFAULT_SORT, HELP, INTERVALS, NODES, SORTS, TOPICS, TopView, keys_of, pressed


def after(*keys, view=None):
    view = view or TopView()
    for key in keys:
        view = pressed(view, key)
    return view


def test_what_can_be_sorted_by_is_the_columns_in_their_order():
    assert {table: tuple(columns) for table, columns in COLUMNS.items()} == SORTS
    assert all(DEFAULT_SORT[table] in SORTS[table] for table in SORTS)


def test_t_and_n_switch_the_table_and_each_keeps_its_order():
    assert after("n").table == NODES
    assert after("n").by == DEFAULT_SORT[NODES]
    assert after("s", "n", "t") == after("s")


def test_the_order_goes_round_in_both_directions_and_starts_the_right_way_up():
    assert after("s").by == after(">").by == after(".").by == "byte_rate"
    assert after("<").by == after(",").by == "topic"
    assert after(*"s" * len(SORTS[TOPICS])).by == DEFAULT_SORT[TOPICS]
    assert not after("r", "s").reverse
    assert after("r").reverse


def test_the_interval_goes_up_and_down_and_stays_within_bounds():
    assert after("+").interval == 2.0
    assert after("-").interval == 0.5
    assert after(*"+" * 50).interval == INTERVALS[-1]
    assert after(*"-" * 50).interval == INTERVALS[0]
    assert after("-", view=TopView(interval=3.0)).interval == 2.0
    assert after("+", view=TopView(interval=3_000.0)).interval == 3_000.0


def test_p_pauses_and_goes_on():
    assert after("p").paused
    assert not after("p", "p").paused


@pytest.mark.parametrize("key", ["t", "x", "?", " "])
def test_any_key_ends_the_help_and_does_nothing_else(key):
    assert after("?").help
    assert after("?", key) == TopView()


def test_q_is_the_end_also_in_the_help():
    assert pressed(TopView(), "q") is None
    assert pressed(after("?"), "q") is None


@pytest.mark.parametrize("key", ["x", "\x00", "ü", "\r"])
def test_other_keys_change_nothing(key):
    assert after(key) == TopView()


def test_arrows_are_keys_and_other_sequences_are_none():
    assert keys_of("\x1b[C\x1b[Dq") == [">", "<", "q"]
    assert keys_of("\x1bOC") == [">"]
    assert keys_of("\x1b[15~t\x1b[1;5Aün") == ["t", "ü", "n"]
    assert keys_of("\x1b") == keys_of("\x1b[") == keys_of("\x1b[1") == []


def test_the_help_fits_into_80_columns():
    assert max(map(len, HELP)) <= 80
