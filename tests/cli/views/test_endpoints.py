"""Tables of endpoints and nodes, whatever facts a proxy sends."""

import pytest

from cli.views.endpoints import age, endpoint_table, node_table

FACTS = {"endpoint": "b", "node": "n", "pid": 7, "host": "h", "session": "s-1", "since": 90.0, "shared": False}


def test_endpoints_are_sorted_and_in_columns():
    assert endpoint_table([FACTS, {**FACTS, "endpoint": "aaa", "shared": True, "pid": 12345}], 100.0) == [
        "ENDPOINT      NODE  PID    HOST  AGE  SESSION",
        "aaa (shared)  n     12345  h     10s  s-1",
        "b             n     7      h     10s  s-1",
    ]


def test_nodes_have_their_program_and_how_many_endpoints():
    facts = {"node": "n", "pid": 7, "host": "h", "program": "app.py", "endpoints": 2, "since": 40.0}
    assert node_table([facts], 100.0) == [
        "NODE  PID  HOST  PROGRAM  ENDPOINTS  AGE",
        "n     7    h     app.py   2          1m",
    ]


def test_without_rows_there_is_no_table():
    assert endpoint_table([], 0.0) == node_table([], 0.0) == []


@pytest.mark.parametrize("facts", [{}, {"endpoint": {"a": 1}, "since": "x", "pid": None}, {"endpoint": "\x1b[2J\n"}])
def test_facts_of_any_kind_are_one_harmless_line(facts):
    _header, row = endpoint_table([facts], 0.0)
    assert row.isprintable()


@pytest.mark.parametrize("since", [None, "x", True, []])
def test_an_unknown_age_is_a_question_mark(since):
    assert age(since, 1.0) == "?"
