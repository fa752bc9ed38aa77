import pytest

from cli.terminal import numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (99_949, "99.9k"), (99_951, "100k"), (999_499, "999k"),
     (999_500, "1.0M"), (12_345_678, "12.3M"), (5e9, "5.0G"), (7e15, "7000T")],
)  # fmt: skip
def test_a_short_number_has_at_most_five_characters_as_long_as_units_last(number, text):
    assert numbers.short(number) == text


@pytest.mark.parametrize("number", [10**power * digit for power in range(12) for digit in (1, 9.4, 9.94, 9.996)])
def test_no_rounding_makes_a_short_number_longer(number):
    assert len(numbers.short(number)) <= 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (200_000, "2d")],
)
def test_durations_are_short(seconds, text):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00042, "0.4 ms"), (0.0567, "57 ms"), (2.34, "2.3 s"), (-0.5, "-500 ms"), (-5.5, "-5.5 s")]
)
def test_what_takes_no_time_is_in_milliseconds(seconds, text):
    assert numbers.took(seconds) == text


def test_estimates_are_marked():
    assert [numbers.count(1_234, True), numbers.rate(5, True), numbers.size(1_500, True)] == [
        "~1,234",
        "~5.0",
        "~1.5 kB",
    ]
    assert [numbers.count(1_234), numbers.rate(1_234), numbers.size(150)] == ["1,234", "1,234", "150 B"]


def test_one_is_singular():
    assert [numbers.plural(n, "event") for n in (0, 1, 1_000)] == ["0 events", "1 event", "1,000 events"]
    assert numbers.plural(2, "entry", "entries") == "2 entries"
