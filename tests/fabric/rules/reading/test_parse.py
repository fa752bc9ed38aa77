"""Documents of rules, right and wrong in every way: a mistake is one sentence with its line and key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.rules.conditions import NAMES
from fabric.rules.model import KINDS, InboxAction, PrintAction, RouteAction, RulesError, RuleSet, SendAction
from fabric.rules.reading.parse import read
from fabric.rules.template import template
from tests.fabric.rules.reading.toml_rules import error_of, rules

EVERYTHING = """
endpoint = "lead-agent"

[[rule]]
name = "done"
type = ["task_*", "done"]
from = "worker-*"
where = { "body.ok" = true, body.job = [7, "x*"] }
continue = true
print = "{from}: {text}"
inbox = { format = "{text:lines}", limit = 10, when_busy = "now" }
route = { channel = "c:{from}", otherwise = "print" }
publish = { topic = "seen.{topic.1}", payload = { n = "{body.n}", list = ["{text}", 1, true], o = { x = 1.5 } } }
send = { to = "{from}", body = { text = "thanks" }, timeout = 2 }
[[rule.exec]]
command = ["notify", "--", "{text}"]
timeout = 1
concurrency = 2
queue = 3
max_failures = 4
cooldown = 0
environment = { TEXT = "{text}" }
answer = true
[[rule.exec]]
command = ["true"]

[[rule]]
on = "event"
topic = "job.**"
ignore = true

[default]
print = true

[names]
worker-1 = { name = "Ann", color = "green" }
worker-2 = "Bob"
"""


def test_a_file_with_every_key_is_read():
    found = rules(EVERYTHING)
    assert (found.endpoint, found.topics) == ("lead-agent", ("job.**",))
    first, second = found.rules
    assert (first.name, first.on, first.goes_on, first.line) == ("done", "message", True, 4)
    assert (second.name, second.actions, second.line) == ("rule-2", (), 27)
    assert [each.kind for each in first.actions] == ["print", "inbox", "exec", "exec", "route", "publish", "send"]
    shown, inbox, program, plain, route, publish, send = first.actions
    assert shown == PrintAction(template("{from}: {text}"))
    assert inbox == InboxAction(template("{text:lines}"), 10, True)
    assert (program.command.timeout, program.concurrency, program.queue, program.answer) == (1.0, 2, 3, True)
    assert (program.command.max_failures, program.command.cooldown) == (4, 0.0)
    assert program.command.environment == (("TEXT", template("{text}")),)
    assert (plain.command.timeout, plain.concurrency, plain.answer) == (30.0, 1, False)
    assert route == RouteAction(template("c:{from}"), otherwise="print")
    assert publish.payload == {
        "n": template("{body.n}"), "list": [template("{text}"), 1, True], "o": {"x": 1.5},
    }  # fmt: skip
    assert send == SendAction(template("{from}"), {"text": template("thanks")}, 2.0)
    assert found.default.actions == (PrintAction(),)
    assert {key: tuple(entry) for key, entry in found.names.items()} == {
        "worker-1": ("Ann", "green"), "worker-2": ("Bob", ""),
    }  # fmt: skip
    assert [where.text for where in first.conditions.where] == ["body.ok", "body.job"]


RULE = '[[rule]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "r.toml: there is no rule in it"),
        ("rule = []", "r.toml: there is no rule in it"),
        ("endpoint = 'x'", "r.toml: there is no rule in it"),
        ("[rule]\nprint = true", "r.toml:1: rule: rules are written [[rule]], in two brackets"),
        ("[[rules]]\nprint = true", "r.toml:1: rules: there is no key 'rules' here; did you mean rule?"),
        ("rule = [1]", "r.toml:1: rule[1]: this is a table, not the number 1"),
        ("rule = 'x'", "r.toml:1: rule: this is a list, not the text 'x'"),
        ("endpoint = 5\n[default]\nprint=true", "r.toml:1: endpoint: this is a text"),
        ("endpoint = '*'\n[default]\nprint=true", "r.toml:1: endpoint: no endpoint can be called '*'"),
        (f"{RULE}pirnt = true", "r.toml:3: rule 'a': pirnt: there is no key 'pirnt' here; did you mean print?"),
        (f"{RULE}on = 'both'\nprint = true", 'r.toml:3: rule \'a\': on: this is "message" or "event"'),
        (f"{RULE}on = 'event'\nprint = true", "r.toml:1: rule 'a': a rule for events says of which"),
        (f"{RULE}type = 5\nprint = true", "r.toml:3: rule 'a': type: this is a text"),
        (f"{RULE}type = []\nprint = true", "type: this list is empty"),
        (f"{RULE}type = ['a', 5]\nprint = true", "type[2]: this is a text"),
        (f"{RULE}topic = 'b*'\nprint = true", "topic: pattern 'b*'"),
        (f"{RULE}where = 5\nprint = true", "where: this is a table"),
        (f"{RULE}where = {{ bdy.x = 1 }}\nprint = true", "where.bdy.x: a field is body.… or one of"),
        (f"{RULE}where = {{ body.x = 2020-01-01 }}\nprint = true", "a value is a text, a number, true or false"),
        (f"{RULE}where = {{ body.x = [] }}\nprint = true", "where.body.x: this list is empty"),
        (f"{RULE}continue = 'yes'\nprint = true", "continue: this is true or false, not the text 'yes'"),
        ("[[rule]]\nname = ' '\nprint = true", "rule[1].name: ' ' is no name"),
        ("[[rule]]\nname = 5\nprint = true", "rule[1].name: this is a text"),
        ("[[rule]]\nname = 'default'\nprint = true", "rule[1].name: 'default' is the name the rule for all others"),
        (f"{RULE}print = true\n{RULE}print = true", "r.toml:5: rule[2].name: 'a' is the name of line 1, too"),
        ("[default]\ntype = 'x'\nprint = true", "r.toml:2: default: type: there is no key 'type' here"),
        ("default = 5", "r.toml:1: default: this is a table"),
        ("[default]\nprint = true\n[names]\nx = 5", "r.toml:4: names.x: this is a table"),
        ("[default]\nprint = true\n[names]\nx = { color = 'rde' }", "names.x.color: there is no colour 'rde'; did you"),
    ],
)
def test_an_error_has_the_line_and_the_key_of_the_mistake(text, problem):
    assert problem in error_of(text)


@pytest.mark.parametrize(
    "document", [None, [], [{}], "x", 5, {5: 6}, {"rule": None}, {"rule": [None]}, {"names": None}]
)
def test_a_document_that_toml_cannot_express_is_an_error(document):
    with pytest.raises(RulesError):
        read(document, "r", lambda path: None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WORDS = ["name", "on", *NAMES, "where", "continue", "ignore", *KINDS]
TABLE = st.dictionaries(
    st.sampled_from(WORDS), JSON | st.sampled_from(["event", ["sh", "-c", "{text}"], True]), max_size=4
)
DOCUMENT = st.dictionaries(
    st.sampled_from(["rule", "default", "names", "endpoint"]), JSON | TABLE | st.lists(TABLE, max_size=3), max_size=4
)


@given(JSON | DOCUMENT)
def test_every_document_is_rules_or_a_rules_error(document):
    try:
        found = read(document, "r", lambda path: None)
    except RulesError:
        return
    assert isinstance(found, RuleSet)
