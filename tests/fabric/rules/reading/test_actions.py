"""Actions of a rule, in every way that they can be written, and every mistake in them."""

import pytest

from fabric.rules.model import (
    ExecAction,
    InboxAction,
    PrintAction,
    ProgramFormat,
    PublishAction,
    RouteAction,
    RulesError,
    SendAction,
)
from fabric.rules.template import Template, template
from tests.fabric.rules.reading.toml_rules import error_of, rules


def only(text):
    """The actions of a rule with the keys of `text`."""
    return rules(f"[[rule]]\n{text}").rules[0].actions


def test_an_action_has_short_forms():
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


def test_programs_are_looked_up_if_that_is_asked_for():
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
        (RULE, "r.toml:1: rule 'a': there is nothing to do: give print, inbox"),
        (f"{RULE}print = true\nignore = true", "r.toml:4: rule 'a': ignore: it is not ignored if there is print"),
        (f"{RULE}print = false", "nothing to do"),
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
    ],
)
def test_an_error_has_the_line_and_the_key_of_the_mistake(text, problem):
    if problem is None:
        text, problem = text.replace("'", '"'), "there is a NUL in this text"
    assert problem in error_of(text)


def test_a_script_for_a_shell_stays_as_it_is_and_its_arguments_may_have_placeholders():
    (program,) = only("""exec = ["sh", "-c", 'notify ${text} "$1" {a,b} {{x}}', "--", "{text}"]""")
    assert isinstance(program, ExecAction)
    assert program.command.argv[2:] == (
        Template(('notify ${text} "$1" {a,b} {{x}}',)), template("--"), template("{text}"),
    )  # fmt: skip
