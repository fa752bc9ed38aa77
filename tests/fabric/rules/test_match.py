"""Actions that are planned for a message or an event."""

from fabric.rules.reading.file import Rules

RULES = Rules.parse(
    """
[[rule]]
name = "log"
from = "worker-*"
print = true
continue = true

[[rule]]
name = "done"
type = "task_done"
inbox = true
publish = "done"

[[rule]]
name = "any-task"
type = "task_*"
print = true

[[rule]]
name = "jobs"
on = "event"
topic = "job.*"
print = true

[default]
print = "?"
"""
)


def planned(message, topic=None):
    return [(each.rule.name, each.kind) for each in RULES.decide(message, topic)]


def test_the_first_rule_that_matches_is_the_last_unless_it_continues():
    assert planned({"from": "worker-1", "body": {"type": "task_done"}}) == [
        ("log", "print"), ("done", "inbox"), ("done", "publish"),
    ]  # fmt: skip
    assert planned({"from": "lead", "body": {"type": "task_done"}}) == [("done", "inbox"), ("done", "publish")]
    assert planned({"from": "lead", "body": {"type": "task_x"}}) == [("any-task", "print")]


def test_the_default_is_for_messages_that_no_rule_matches():
    assert planned({"from": "lead", "body": {"type": "x"}}) == [("default", "print")]
    assert planned({}) == [("default", "print")]
    assert planned({"from": "worker-1"}) == [("log", "print")]


def test_events_have_rules_of_their_own_and_no_default():
    assert planned({"type": "job.7"}, "job.7") == [("jobs", "print")]
    assert planned({"type": "job.7"}, "other") == []
    assert planned({"body": {"topic": "job.7"}}) == [("default", "print")]


def test_deciding_takes_no_action_and_counts_nothing(capfd):
    planned({"from": "worker-1"})
    assert {name: counts["matched"] for name, counts in RULES.stats()["rules"].items()} == dict.fromkeys(
        ("log", "done", "any-task", "jobs", "default"), 0
    )
    assert RULES.stats()["unmatched"] == 0
    assert capfd.readouterr() == ("", "")
