"""The old YAML files: what they meant, and intended differences."""

import re

import pytest
import yaml

from fabric.rules.model import ExecAction, InboxAction, PrintAction, ProgramFormat, RulesError
from fabric.rules.reading.file import Rules
from fabric.rules.reading.legacy import convert
from fabric.rules.running.render import arguments, text_of, variables_of
from fabric.rules.template import Template

OLD = """
callbacks:
  - match_type: task_done
    print: true
    print_format: "[{ts:%H:%M}] {color:bold_green}{from}{reset}{color:mauve}: {text} {unknown} {"
    context: true
    context_format: "{from}: {text}"
    command: notify.sh --to=$FROM "$TEXT ${TYPE}"
  - match_type: noise
  - match_type: "odd*"
    print_format: "{text}"
  - match_type: quiet
    print: false
    print_format: "{text}"
    context: true
bus:
  endpoint: lead-agent
role_map:
  tmux-1: {name: Lead, color: green}
  tmux-2: {name: Worker, color: mauve}
  tmux-3:
default_sender: me
session_aliases:
  old: Older
"""


def old(text):
    return Rules.parse(text, "bus-rules.yaml")


def test_every_key_of_an_old_file_is_converted():
    rules = old(OLD).current
    assert rules.endpoint == "lead-agent"
    assert [rule.name for rule in rules.rules] == ["task_done", "noise", "odd*", "quiet"]
    assert [[action.kind for action in rule.actions] for rule in rules.rules] == [
        ["print", "inbox", "exec"], [], ["print"], ["inbox"],
    ]  # fmt: skip
    assert {key: tuple(entry) for key, entry in rules.names.items()} == {
        "tmux-1": ("Lead", "green"), "tmux-2": ("Worker", ""), "old": ("Older", ""),
    }  # fmt: skip
    assert rules.default is None


def test_texts_look_as_they_did_and_are_inert():
    planned = old(OLD).decide({"from": "w", "ts": 0, "body": {"type": "task_done", "text": "a {from}\nb\x1b"}})
    shown, inbox, _ = planned
    assert re.fullmatch(r"\[\d\d:\d\d\] w: a \{from\}\n  b\\u001b \{unknown\} \{", text_of(shown))
    assert isinstance(inbox.action, InboxAction)
    assert inbox.action.now
    assert text_of(inbox) == "w: a {from}\n  b\\u001b"


def test_a_command_is_arguments_and_has_the_variables_it_had():
    *_, program = old(OLD).decide(
        {"from": "w", "ts": 5, "body": {"type": "task_done", "text": "x; rm -rf ~", "channel": "c"}}
    )
    assert isinstance(program.action, ExecAction)
    command = program.action.command
    assert arguments(command, program.context()) == ["notify.sh", "--to=w", "x; rm -rf ~ task_done"]
    said = variables_of(command, program.context())
    assert said.pop("MESSAGE").startswith('{"from":"w"')
    assert said == {"TYPE": "task_done", "FROM": "w", "CHANNEL": "c", "TEXT": "x; rm -rf ~", "TS": "5"}
    assert (program.action.concurrency, command.timeout, command.max_failures) == (4, 30.0, 3)


def test_a_type_is_matched_literally():
    rules = old(OLD)
    assert [each.rule.name for each in rules.decide({"body": {"type": "odd*"}})] == ["odd*"]
    assert rules.decide({"body": {"type": "oddity"}}) == []


def test_a_rule_prints_with_print_true_or_a_format():
    def kinds(rule):
        return [each.kind for each in old(f"callbacks: [{{match_type: a, {rule}}}]").current.rules[0].actions]

    assert kinds("print: true") == ["print"]
    assert kinds("print_format: x") == ["print"]
    assert kinds("print: false, print_format: x") == []
    assert kinds("command: x") == ["exec"]
    assert kinds("context: true, print: true") == ["print", "inbox"]


def test_a_format_that_is_a_path_is_a_program_with_the_variables_it_had():
    (rule,) = old(
        "callbacks: [{match_type: a, print: true, print_format: ~/bin/fmt, context: true, context_format: /x}]"
    ).current.rules
    shown, inbox = rule.actions
    assert isinstance(shown, PrintAction)
    assert isinstance(shown.format, ProgramFormat)
    assert shown.format.command.argv == (Template(("~/bin/fmt",)),)
    assert (shown.format.command.timeout, shown.format.colour, inbox.format.colour) == (5.0, True, False)
    assert dict(shown.format.command.environment)["FORMAT_MODE"] == Template(("print",))
    assert dict(inbox.format.command.environment)["FORMAT_MODE"] == Template(("context",))


def test_of_two_rules_of_one_type_the_first_matches():
    rules = old("callbacks: [{match_type: a, print: true}, {match_type: a, context: true}]")
    assert [rule.name for rule in rules.current.rules] == ["a", "a-2"]
    assert [each.kind for each in rules.decide({"body": {"type": "a"}})] == ["print"]


def test_an_empty_type_matches_messages_without_one():
    rules = old('callbacks: [{match_type: "", print: true}]')
    assert [each.rule.name for each in rules.decide({"body": {"text": "x"}})] == ["untyped"]
    assert rules.decide({"body": {"type": "x"}}) == []


RULE = "callbacks:\n  - match_type: a\n    "


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "bus-rules.yaml: a rules file is a mapping"),
        ("null", "a rules file is a mapping"),
        ("- match_type: a", "a rules file is a mapping with the key `callbacks`, not a list"),
        ("callbacks:", "bus-rules.yaml:1: callbacks: `callbacks` is a list of rules, not nothing"),
        ("callbacks: {}", "callbacks: `callbacks` is a list"),
        ("callbacks: []", "callbacks: `callbacks` is a list"),
        ("callbacks:\n  -", "bus-rules.yaml:2: callbacks[1]: this is a mapping, not nothing (null)"),
        ("callbacks:\n  - 5", "bus-rules.yaml:2: callbacks[1]: this is a mapping, not '5'"),
        ("callbacks:\n  - print: true", "bus-rules.yaml:2: callbacks[1]: there is no `match_type`"),
        ("callbacks:\n  - match_type: 5", "bus-rules.yaml:2: callbacks[1].match_type: this is a text"),
        ("callbacks:\n  - match_type: yes", "callbacks[1].match_type: this is a text, not 'True'"),
        (f"{RULE}print: sometimes", "bus-rules.yaml:3: callbacks[1].print: this is true or false, not 'sometimes'"),
        (f"{RULE}print_fromat: x", "bus-rules.yaml:3: callbacks[1].print_fromat: there is no key 'print_fromat' here; did"),
        (f"{RULE}print: true\n    print_format: [x]", "bus-rules.yaml:4: callbacks[1].print_format: this is a text"),
        (f"{RULE}command: 5", "bus-rules.yaml:3: callbacks[1].command: this is a text"),
        (f"{RULE}command: a | b", "callbacks[1].command: this needs a shell: '|'. If a shell is meant"),
        (f"{RULE}command: a | b", "say so: sh -c 'a | b'"),
        (f"{RULE}command: a 'b", "a quotation mark ' is not closed"),
        ("bus: 5\ncallbacks: [{match_type: a}]", "bus-rules.yaml:1: bus: this is a mapping"),
        ("bus:\n  endpoint: '*'\ncallbacks: [{match_type: a}]", "bus-rules.yaml:2: endpoint: no endpoint can be called"),
        ("role_map: [x]\ncallbacks: [{match_type: a}]", "bus-rules.yaml:1: role_map: this is a mapping"),
        ("role_map:\n  a: 5\ncallbacks: [{match_type: a}]", "bus-rules.yaml:2: role_map.a: this is a mapping"),
        ("callbacks: [\n", "bus-rules.yaml:2: is no YAML"),
        ("a: 1\na: [\t", "is no YAML"),
        ("x: !!python/object/apply:os.system ['true']", "is no YAML: could not determine a constructor"),
        ("d: 2020-99-99", "is no YAML"),
        ("? [a]\n: b", "is no YAML"),
        ("callbacks: \x1b", "is no YAML"),
        ("--- a\n--- b", "is no YAML"),
    ],
)  # fmt: skip
def test_an_error_has_the_line_and_the_old_key_of_the_mistake(text, problem):
    with pytest.raises(RulesError) as error:
        old(text)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_aliases_of_aliases_take_bounded_time():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{before}'] * 9)}]\n" for before, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(RulesError, match="there is no key 'a' here"):
        old(bomb)
    with pytest.raises(RulesError, match="mapping"):
        old("callbacks: &x [*x]")


def test_a_script_for_a_shell_stays_as_it_was_and_may_have_no_placeholder():
    (rule,) = old("callbacks: [{match_type: a, command: 'sh -c ''echo \"${TEXT}\" {a}'''}]").current.rules
    assert rule.actions[0].command.argv[2] == Template(('echo "${TEXT}" {a}',))
    with pytest.raises(RulesError, match="would be run by the shell"):
        old("callbacks: [{match_type: a, command: 'sh -c \"echo $TEXT\"'}]")


def test_omissions_are_noted():
    notes = " ".join(convert(yaml.safe_load(OLD), "f", lambda path: None).notes)
    assert "default_sender" in notes
    assert "'mauve'" in notes
