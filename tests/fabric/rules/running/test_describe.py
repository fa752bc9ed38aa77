"""Rules in words."""

from fabric.rules.reading.file import Rules
from fabric.rules.running.describe import actions, conditions, plan

RULES = Rules.parse(
    """
[[rule]]
name = "a"
type = ["x", "y*"]
from = ""
where = { body.n = [1, "z"] }
exec = ["/bin/echo", "{text}"]
publish = "seen.{topic.2}"
send = "{from}"
route = { channel = "c", format = { exec = ["fmt", "{from}"] } }
print = "{ts:%H}{text}"
inbox = true
[[rule]]
ignore = true
"""
)
FIRST, SECOND = RULES.current.rules


EMPTY_SEGMENT = "topic 'seen.' has an empty segment: dots separate segments, none may stand at the ends"


def test_conditions_and_actions_in_a_few_words():
    assert conditions(FIRST) == 'type x or y*, from (none), body.n 1 or "z"'
    assert actions(FIRST) == "print, inbox, exec echo, route, publish seen.{topic.2}, send {from}"
    assert (conditions(SECOND), actions(SECOND)) == ("any", "nothing")


def test_a_plan_is_the_action_or_the_problem_of_it():
    plans = [plan(each) for each in RULES.decide({"from": "", "body": {"type": "x", "n": 1, "text": "-t"}})]
    assert [each.pop("rule") for each in plans] == ["a"] * 6
    assert plans == [
        {"action": "print", "text": "-t"},
        {"action": "inbox", "text": '{"type":"x","n":1,"text":"-t"}'},
        {"action": "exec", "problem": "argument 2 would be taken for an option: '-t' (put \"--\" before it)"},
        {"action": "route", "channel": "c", "program": ["fmt", ""]},
        {"action": "publish", "problem": EMPTY_SEGMENT},
        {"action": "send", "to": "", "body": {"type": "x", "n": 1, "text": "-t", "rule_hops": 1}},
    ]  # fmt: skip
