"""Counts by rule."""

from fabric.rules.counters import Counters


def test_counts_of_a_rule_survive_a_reload_that_keeps_it():
    tally = Counters()
    tally.keep(["a", "b"])
    tally.count("a", "matched")
    tally.failed("a", "x" * 10_000)
    tally.keep(["a", "c"])
    tally.count("b", "matched")
    tally.failed("b", "gone")
    found = tally.stats()
    assert list(found) == ["a", "c"]
    assert (found["a"]["matched"], found["a"]["failures"], len(found["a"]["last_error"])) == (1, 1, 500)
    assert found["a"]["last_error_ts"] > 0
    assert found["c"] == {
        "matched": 0, "runs": 0, "failures": 0, "dropped": 0, "suppressed": 0, "last_error": None, "last_error_ts": None,
    }  # fmt: skip
