import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.topics import MAX_BYTES, PatternTable, check_pattern, check_topic, is_reserved, matches

SEGMENTS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(SEGMENTS, min_size=1, max_size=7).map(".".join)
PATTERNS = st.lists(st.one_of(SEGMENTS, st.sampled_from(["*", "**"])), min_size=1, max_size=7).map(".".join)


def oracle(pattern, topic):
    """The definition, word for word; exponential."""
    if not pattern:
        return not topic
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return any(oracle(rest, topic[taken:]) for taken in range(len(topic) + 1))
    return bool(topic) and first in ("*", topic[0]) and oracle(rest, topic[1:])


# Grammar

GOOD = ["a", "a.b", "tui.tool.start", "A-b_c:1/2", "größe.日本", "a" * MAX_BYTES, "fabric.gap"]


@pytest.mark.parametrize("name", GOOD)
def test_a_topic_is_returned_as_it_is(name):
    assert check_topic(name) == name


@pytest.mark.parametrize("name", [*GOOD, "*", "**", "a.*", "a.**", "**.a.*.**", "*.*"])
def test_a_pattern_is_returned_as_it_is(name):
    assert check_pattern(name) == name


BAD = {
    "": "empty",
    ".": "empty segment",
    "a.": "empty segment",
    ".a": "empty segment",
    "a..b": "empty segment",
    " ": "white space",
    "a b": "white space",
    "a\n": "control",
    "a\t.b": "control",
    "a\0b": "control",
    "a\x7f": "control",
    "a\x1b[31m": "control",
    "a\u200b": "control",  # zero width
    "a\u202eb": "control",  # right to left override
    "a\u00a0b": "white space",  # no-break space
    "a\u2028b": "white space",  # line separator
    "a\ud800": "Unicode",  # lone surrogate
    "a" * (MAX_BYTES + 1): "256 bytes",
    "ä" * 128: "256 bytes",
}


@pytest.mark.parametrize(("name", "problem"), BAD.items())
@pytest.mark.parametrize("check", [check_topic, check_pattern])
def test_a_bad_name_is_refused_with_what_is_wrong(check, name, problem):
    with pytest.raises(ValueError, match=problem):
        check(name)


@pytest.mark.parametrize("name", ["*", "**", "a.*", "**.b", "a*", "a.b*c"])
def test_a_topic_has_no_wildcards(name):
    with pytest.raises(ValueError, match="wildcard"):
        check_topic(name)


@pytest.mark.parametrize("name", ["a*", "*a", "a.b*", "***", "a.***.b", "*b.c"])
def test_a_wildcard_is_a_whole_segment(name):
    with pytest.raises(ValueError, match="whole segment"):
        check_pattern(name)


@pytest.mark.parametrize("name", [None, 1, b"a", ["a"], ("a", "b")])
@pytest.mark.parametrize("check", [check_topic, check_pattern])
def test_a_name_is_a_str(check, name):
    with pytest.raises(TypeError, match=type(name).__name__):
        check(name)


@given(st.text(max_size=30))
def test_whatever_text_is_either_a_topic_or_a_value_error(name):
    try:
        check_topic(name)
    except ValueError:
        return
    assert name
    assert all(segment and "*" not in segment for segment in name.split("."))
    assert not set(name) & set(string.whitespace + "\0")


@pytest.mark.parametrize(
    ("topic", "reserved"),
    [("fabric", True), ("fabric.gap", True), ("fabrics", False), ("fabrics.a", False), ("a.fabric", False)],
)
def test_the_first_segment_fabric_is_the_systems_own(topic, reserved):
    assert is_reserved(topic) is reserved


# Matching


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a", ["a"], ["b", "a.a", "A", "ab"]),
        ("a.b", ["a.b"], ["a", "a.b.c", "a.c", "a.bc"]),
        ("*", ["a", "b"], ["a.b"]),
        ("a.*", ["a.b", "a.c"], ["a", "a.b.c", "b.b"]),
        ("*.b", ["a.b", "b.b"], ["b", "a.b.c", "a.c"]),
        ("a.*.c", ["a.b.c", "a.c.c"], ["a.c", "a.b.b.c", "a.b"]),
        ("*.*", ["a.b"], ["a", "a.b.c"]),
        ("**", ["a", "a.b", "a.b.c"], []),
        ("a.**", ["a", "a.b", "a.b.c"], ["b", "ab", "b.a"]),
        ("**.c", ["c", "b.c", "a.b.c", "c.c"], ["c.a", "a", "bc"]),
        ("a.**.c", ["a.c", "a.b.c", "a.b.b.c", "a.c.c"], ["a", "c", "a.b", "b.a.c"]),
        ("**.b.**", ["b", "a.b", "b.c", "a.b.c", "a.a.b.c.c"], ["a", "a.c"]),
        ("*.**", ["a", "a.b", "a.b.c"], []),
        ("**.*", ["a", "a.b", "a.b.c"], []),
        ("a.**.*", ["a.b", "a.b.c"], ["a", "b.a"]),
        ("**.**", ["a", "a.b"], []),
        ("a.**.**.b", ["a.b", "a.c.b"], ["a", "b"]),
        ("**.a.**.a.**", ["a.a", "b.a.b.a.b"], ["a", "b.a.b"]),
    ],
)
def test_matching_table(pattern, yes, no):
    assert [topic for topic in (*yes, *no) if matches(pattern, topic)] == yes


def test_patterns_and_topics_up_to_four_segments_match_as_the_definition_says():
    topics = [".".join(parts) for size in range(1, 5) for parts in itertools.product("ab", repeat=size)]
    patterns = [
        ".".join(parts) for size in range(1, 5) for parts in itertools.product(("a", "b", "*", "**"), repeat=size)
    ]
    for pattern in patterns:
        table = PatternTable().adding(pattern, pattern)
        for topic in topics:
            assert bool(table.match(topic)) == oracle(pattern.split("."), topic.split(".")), (pattern, topic)


@given(st.lists(PATTERNS, max_size=12), TOPICS)
def test_a_table_gives_each_value_that_matches_exactly_once(patterns, topic):
    table = PatternTable()
    for index, pattern in enumerate(patterns):
        table = table.adding(pattern, index)
    expected = [index for index, pattern in enumerate(patterns) if oracle(pattern.split("."), topic.split("."))]
    assert sorted(table.match(topic)) == expected


def test_ten_deep_wildcards_on_a_long_topic_match_in_linear_work():
    # The recursive definition takes about a second for 14 segments, and some 10^17 steps for these.
    pattern = ".".join(["**", "a"] * 10 + ["b"])
    topic = ".".join(["a"] * 100)
    assert not matches(pattern, topic)
    assert matches(pattern, topic + ".b")


def test_a_hundred_deep_wildcards_match_in_the_same_work():
    pattern = ".".join(["**", "*"] * 60)
    assert matches(pattern, ".".join(["a"] * 60))
    assert not matches(pattern, ".".join(["a"] * 59))


# The table


def test_a_table_is_not_changed_by_adding():
    table = PatternTable().adding("a.*", 1)
    table.adding("a.b", 2).adding("**", 3)
    assert (table.match("a.b"), table.size, list(table)) == ([1], 1, [1])


def test_a_table_is_not_changed_by_removing():
    value = object()
    table = PatternTable().adding("a.*", value)
    assert table.removing("a.*", value).match("a.b") == []
    assert table.match("a.b") == [value]


def test_an_emptied_table_is_as_small_as_a_new_one():
    values = [object() for _ in range(3)]
    table = PatternTable()
    for value, pattern in zip(values, ("a.b.c", "a.**", "a.b.*"), strict=True):
        table = table.adding(pattern, value)
    for value, pattern in zip(values, ("a.b.c", "a.**", "a.b.*"), strict=True):
        table = table.removing(pattern, value)
    assert (table.size, table._children) == (0, {})


def test_removing_takes_one_of_several_equal_values_by_identity():
    first, second = [1], [1]
    table = PatternTable().adding("a", first).adding("a", second).removing("a", second)
    assert table.match("a")[0] is first


@pytest.mark.parametrize("pattern", ["a", "a.b", "**"])
def test_removing_what_is_not_there_is_a_key_error(pattern):
    table = PatternTable().adding("a", "present")
    with pytest.raises(KeyError):
        table.removing(pattern, object())


def test_removing_what_is_not_there_leaves_the_table_as_it_was():
    table = PatternTable().adding("a", "present")
    with pytest.raises(KeyError):
        table.removing("b", object())
    assert list(table) == ["present"]


@given(st.lists(st.tuples(PATTERNS, st.integers()), max_size=10), st.data())
def test_removing_undoes_adding(filed, data):
    table = PatternTable()
    for pattern, value in filed:
        table = table.adding(pattern, value)
    kept = list(filed)
    while kept:
        pattern, value = kept.pop(data.draw(st.integers(0, len(kept) - 1)))
        table = table.removing(pattern, value)
        assert sorted(table) == sorted(value for _, value in kept)
