import json

import pytest

from cli.tap.counts import MAX_TOPICS, OTHERS, CountsTable
from cli.tap.reader import Event
from cli.terminal.text import cells


def fill(table, now=100.0, /, **counts):
    for topic, count in counts.items():
        for _ in range(count):
            table.add(Event(topic, {}, 0.0, 100), now)


def columns(line):
    return line.split()


def test_the_table_has_the_count_the_rate_the_bytes_and_the_age_of_each_topic():
    table = CountsTable(started=100.0)
    fill(table, 101.0, a=3, b=17)
    head, first, second, total = table.final(110.0, 80)
    assert columns(head) == ["TOPIC", "COUNT", "/S", "BYTES", "AGE"]
    assert columns(first) == ["b", "17", "1.7", "1.7", "kB", "9.0s"]
    assert columns(second) == ["a", "3", "0.3", "300", "B", "9.0s"]
    assert columns(total) == ["2", "topics", "20", "2.0", "2.0", "kB", "10.0s"]


def test_rows_are_sorted_by_count_then_by_name():
    table = CountsTable(started=0.0)
    fill(table, c=1, b=5, a=1)
    assert [columns(line)[0] for line in table.final(101.0, 80)[1:-1]] == ["b", "a", "c"]


def test_an_empty_table_says_so():
    assert columns(CountsTable(started=0.0).final(1.0, 80)[-1])[:3] == ["0", "topics", "0"]


def test_live_rates_are_those_of_the_last_seconds():
    table = CountsTable(started=0.0)
    fill(table, 1.0, a=100)
    for now in range(1, 20):
        rate = columns(table.live(float(now), 80, 24)[1])[2]
    assert rate == "0.0"
    for now in range(20, 30):
        fill(table, float(now), a=10)
        rate = columns(table.live(float(now), 80, 24)[1])[2]
    assert rate == "10.0"


@pytest.mark.parametrize("lines", [1, 5, 10, 24])
def test_a_live_table_fits_the_terminal_and_counts_the_other_topics(lines):
    table = CountsTable(started=0.0)
    fill(table, **{f"topic.{n}": 1 for n in range(50)})
    shown = table.live(101.0, 60, lines)
    assert len(shown) < max(lines, 5)
    assert any("more" in line for line in shown)
    assert all(cells(line) <= 60 for line in shown)


def test_long_and_wide_topics_are_cut_to_the_width():
    table = CountsTable(started=0.0)
    fill(table, **{"日" * 80: 1, "a" * 200: 1, "evil\x1b[2J": 1})
    for line in table.final(101.0, 70):
        assert cells(line) <= 70
        assert line.isprintable()


def test_as_json_it_is_an_object_a_topic():
    table = CountsTable(started=100.0)
    fill(table, 101.0, a=3)
    assert [json.loads(line) for line in table.as_json(110.0)] == [
        {"topic": "a", "count": 3, "rate": 0.3, "bytes": 300, "age": 9.0}
    ]


def test_ever_new_topics_are_counted_together():
    table = CountsTable(started=0.0)
    fill(table, **{f"t{n}": 1 for n in range(MAX_TOPICS + 50)})
    rows = [json.loads(line) for line in table.as_json(101.0)]
    assert len(rows) == MAX_TOPICS + 1
    assert rows[0]["topic"] == OTHERS
    assert rows[0]["count"] == 50


@pytest.mark.parametrize(("age", "shown"), [(0.04, "0.0s"), (59, "59.0s"), (300, "5m"), (9_000, "2h")])
def test_an_age_is_short(age, shown):
    table = CountsTable(started=100.0)
    fill(table, 100.0, a=1)
    assert columns(table.final(100.0 + age, 80)[1])[-1] == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(1, "1 B"), (999, "999 B"), (1_500, "1.5 kB"), (250_000, "250 kB"), (3e6, "3.0 MB"), (5e12, "5,000 GB")],
)
def test_bytes_are_short(size, shown):
    table = CountsTable(started=0.0)
    table.add(Event("a", {}, 0.0, int(size)), 1.0)
    assert shown in table.final(1.0, 80)[1]
