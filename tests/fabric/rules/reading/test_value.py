"""Values of a document: their types are checked, and errors name file, line and key."""

import pytest

from fabric.rules.model import RulesError
from fabric.rules.reading.value import RuleSource, Value

LINES = {("rule",): 1, ("rule", 0): 2, ("rule", 0, "print"): 3}


def value(raw, **more):
    return Value(raw, RuleSource("r.toml", LINES.get), **more)


def problem(call):
    with pytest.raises(RulesError) as error:
        call()
    return str(error.value)


def test_a_child_knows_its_path_and_its_name():
    child = value({"rule": [{"print": {"limit": 5}}]}).key("rule").items()[0].key("print").key("limit")
    assert (child.raw, child.path, child.name) == (5, ("rule", 0, "print", "limit"), "rule[1].print.limit")


def test_a_name_of_its_own_is_followed_by_keys_without_a_dot():
    rule = value({"print": 1}, path=("rule", 0)).named("rule 'a': ")
    assert rule.key("print").name == "rule 'a': print"
    assert str(rule.error("x")) == "r.toml:2: rule 'a': x"


def test_the_line_is_that_of_the_nearest_value_whose_line_is_known():
    assert value(1, path=("rule", 0, "print", "limit")).line == 3
    assert value(1, path=("rule", 7)).line == 1
    assert value(1, path=("names",)).line is None


def test_an_absent_key_has_its_default_and_the_place_that_it_would_have():
    absent = value({}, name="exec").key("queue", 7)
    assert (absent.raw, absent.name, absent.path) == (7, "exec.queue", ("queue",))
    assert not value({}).has("queue")


@pytest.mark.parametrize(
    ("raw", "check", "error"),
    [
        (5, lambda each: each.table(), "this is a table, not the number 5"),
        ({"x": 1}, lambda each: each.table("y", "z"), "x: there is no key 'x' here; there are y, z"),
        ({"prnt": 1}, lambda each: each.table("print"), "there is no key 'prnt' here; did you mean print?"),
        ({}, lambda each: each.items(), "this is a list, not a table"),
        ([], lambda each: each.one_or_more(), "this list is empty"),
        (None, lambda each: each.text(), "this is a text in quotes, not nothing (null)"),
        ("a\0", lambda each: each.text(), "there is a NUL in this text"),
        ("a", lambda each: each.checked(int), "invalid literal for int() with base 10: 'a'"),
        (1, lambda each: each.flag(), "this is true or false, not the number 1"),
        (True, lambda each: each.number(0, 9), "this is a whole number from 0 to 9, not true"),
        (10, lambda each: each.number(0, 9), "this is a whole number from 0 to 9, not the number 10"),
        (1.0, lambda each: each.number(0, 9), "this is a whole number from 0 to 9, not the number 1.0"),
        (0, lambda each: each.seconds(), "these are seconds, more than 0 and up to 604,800, not the number 0"),
        (float("nan"), lambda each: each.seconds(9), "these are seconds, more than 0 and up to 9, not the number nan"),
        (True, lambda each: each.seconds(), "not true"),
        ("c", lambda each: each.one_of("", "a", "b"), 'this is "a" or "b", not the text \'c\''),
        ([], lambda each: each.one_of("a"), 'this is "a", not a list'),
    ],
)
def test_a_value_of_another_kind_is_an_error(raw, check, error):
    assert error in problem(lambda: check(value(raw)))


def test_a_value_of_the_right_kind_is_returned():
    assert value("a").text() == "a"
    assert value("7").checked(int) == 7
    assert value("7").checked(int, "8") == 8
    assert value(0).seconds(zero=True) == 0.0
    assert value(9).number(0, 9) == 9
    assert value("").one_of("", "a") == ""
    assert [each.name for each in value([1, 2], name="type").one_or_more()] == ["type[1]", "type[2]"]
    assert [each.name for each in value(1, name="type").one_or_more()] == ["type"]
