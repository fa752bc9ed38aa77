"""Files of rules, right and wrong in every way: a wrong one is one sentence with its line and key."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.config.toml_lines import line_of
from fabric.rules.conditions import NAMES
from fabric.rules.model import (
    KINDS,
    ExecAction,
    InboxAction,
    PrintAction,
    ProgramFormat,
    PublishAction,
    RouteAction,
    RulesError,
    RuleSet,
    SendAction,
)
from fabric.rules.reading.parse import read
from fabric.rules.template import Template, template


def rules(text, find=None):
    return read(tomllib.loads(text), "r.toml", lambda path: line_of(text, path), find)


def only(text):
    """The actions of a rule that says `text`."""
    return rules(f"[[rule]]\n{text}").rules[0].actions


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


def test_a_file_that_says_everything_is_read():
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


def test_short_ways_to_say_an_action():
    assert only("print = true") == (PrintAction(),)
    assert only("print = false\ninbox = true") == (InboxAction(),)
    assert only('print = [{ format = "a" }, { format = "b" }]') == (
        PrintAction(template("a")), PrintAction(template("b")),
    )  # fmt: skip
    assert only('exec = ["true", "x"]')[0].command.argv == (template("true"), template("x"))
    assert only("route = true") == (RouteAction(template("{channel}")),)
    assert only('publish = "a.b"') == (PublishAction(template("a.b")),)
    assert only('send = "*"') == (SendAction(template("*")),)


def test_a_format_may_be_a_program():
    (shown,) = only('print = { format = { exec = ["fmt"], timeout = 2, color = true } }')
    assert isinstance(shown.format, ProgramFormat)
    assert (shown.format.command.timeout, shown.format.colour) == (2.0, True)


def test_programs_are_looked_for_where_that_is_asked():
    found = rules('[[rule]]\nexec = ["x", "y"]', lambda name: f"/bin/{name}")
    assert found.rules[0].actions[0].command.argv[0] == Template(("/bin/x",))

    def nowhere(name):
        raise ValueError(f"there is no program {name!r} in PATH")

    with pytest.raises(RulesError, match=r"^r.toml:2: rule 'rule-1': exec\[1\]: there is no program 'x' in PATH$"):
        rules('[[rule]]\nexec = ["x", "y"]', nowhere)


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
        (RULE, "r.toml:1: rule 'a': there is nothing to do: give print, inbox"),
        (f"{RULE}print = false", "nothing to do"),
        (f"{RULE}print = true\nignore = true", "r.toml:4: rule 'a': ignore: it is not ignored if there is print"),
        (f"{RULE}pirnt = true", "r.toml:3: rule 'a': pirnt: there is no key 'pirnt' here; did you mean print?"),
        (f"{RULE}print = 5", "r.toml:3: rule 'a': print: this is true, a format, a table"),
        (f"{RULE}print = '{{x}}'", "r.toml:3: rule 'a': print.format: there is no placeholder {x}"),
        (f"{RULE}print = {{ format = 5 }}", "r.toml:3: rule 'a': print.format: a format is a text, or"),
        (f"{RULE}print = {{ format = {{}} }}", "print.format: which program?"),
        (f"{RULE}print = {{ limit = 0 }}", "print.limit: this is a whole number from 1"),
        (f"{RULE}print = {{ limit = true }}", "print.limit: this is a whole number from 1"),
        (f"{RULE}inbox = {{ when_busy = 'never' }}", 'inbox.when_busy: this is "later" or "now", not the text'),
        (f"{RULE}exec = 'rm -rf x'", "r.toml:3: rule 'a': exec: a program is a list"),
        (f"{RULE}exec = []", "exec: the first of a command is the name of a program"),
        (f"{RULE}exec = ['{{text}}']", "exec: the first of a command is the name of a program"),
        (f"{RULE}exec = ['a', 5]", "exec[2]: this is a text in quotes, not the number 5"),
        (f"{RULE}exec = ['a\\u0000']", None),
        (f"{RULE}exec = {{}}", "exec: which program?"),
        (f"{RULE}exec = true", "exec: this is a table, not true"),
        (f"{RULE}exec = {{ command = 'x' }}", "exec.command: this is a list, not the text 'x'"),
        (f"{RULE}exec = {{ command = ['x'], timeout = 0 }}", "exec.timeout: these are seconds"),
        (f"{RULE}exec = {{ command = ['x'], timeout = inf }}", "exec.timeout: these are seconds"),
        (f"{RULE}exec = {{ command = ['x'], timeout = nan }}", "exec.timeout: these are seconds"),
        (f"{RULE}exec = {{ command = ['x'], concurrency = 1000 }}", "exec.concurrency: this is a whole number"),
        (f"{RULE}exec = {{ command = ['x'], environment = {{ 'A=B' = '' }} }}", "no name of an environment variable"),
        (
            f"{RULE}exec = ['sh', '-c', 'echo {{text}}']",
            "exec[3]: {text}: what somebody sends would be run by the shell",
        ),
        (
            f"{RULE}exec = ['/bin/bash', '-euc', '{{text}}']",
            "exec[3]: {text}: what somebody sends would be run by the shell",
        ),
        (f"{RULE}exec = [{{ command = ['x'] }}, 5]", "exec[2]: this is a table, not the number 5"),
        (f"{RULE}route = {{ otherwise = 'exec' }}", 'route.otherwise: this is "print" or "inbox"'),
        (f"{RULE}publish = true", "publish: this is a text (topic) or a table"),
        (f"{RULE}publish = {{}}", "publish: on which topic?"),
        (f"{RULE}publish = 'a.*'", "publish.topic: topic 'a.*' has a wildcard"),
        (f"{RULE}publish = 'a..{{from}}'", "publish.topic: topic 'a..x' has an empty segment"),
        (f"{RULE}publish = 'fabric.x'", "publish.topic: topics below 'fabric' are the system's own"),
        (f"{RULE}publish = {{ topic = 'a', payload = 'x' }}", "publish.payload: this is a table"),
        (f"{RULE}publish = {{ topic = 'a', payload = {{ d = 2020-01-01 }} }}", "publish.payload.d: a date is no JSON"),
        (f"{RULE}send = {{}}", "send: to which endpoint?"),
        (f"{RULE}send = 'anonymous:x'", "send.to: endpoint name 'anonymous:x'"),
        (f"{RULE}send = {{ to = 'x', timeout = 1e9 }}", "send.timeout: these are seconds"),
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
def test_what_is_wrong_is_told_with_line_and_key(text, problem):
    if problem is None:
        text, problem = text.replace("'", '"'), "there is a NUL in this text"
    with pytest.raises(RulesError) as error:
        rules(text)
    assert problem in str(error.value)
    assert str(error.value).startswith("r.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "document", [None, [], [{}], "x", 5, {5: 6}, {"rule": None}, {"rule": [None]}, {"names": None}]
)
def test_documents_that_no_toml_makes_are_errors_all_the_same(document):
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
def test_whatever_a_document_is_it_is_rules_or_a_rules_error(document):
    try:
        found = read(document, "r", lambda path: None)
    except RulesError:
        return
    assert isinstance(found, RuleSet)


def test_a_shells_script_is_the_files_own_as_it_stands_and_its_arguments_are_anything():
    (program,) = only("""exec = ["sh", "-c", 'notify ${text} "$1" {a,b} {{x}}', "--", "{text}"]""")
    assert isinstance(program, ExecAction)
    assert program.command.argv[2:] == (
        Template(('notify ${text} "$1" {a,b} {{x}}',)), template("--"), template("{text}"),
    )  # fmt: skip
