"""Files of rules: read, changed, broken, missing, and restored."""

import os
import subprocess
import sys
import tomllib

import pytest

from fabric.rules.model import RulesError
from fabric.rules.reading.file import Rules, convert

GOOD = '[[rule]]\nname = "a"\nprint = true\n'
BETTER = '[[rule]]\nname = "b"\nprint = true\n'


@pytest.fixture
def file(tmp_path):
    """A good file."""
    path = tmp_path / "rules.toml"
    path.write_text(GOOD)
    return path


def names(rules):
    return [rule.name for rule in rules.current.rules]


def test_a_file_is_read_and_its_path_is_known(file):
    rules = Rules.load(str(file))
    assert (names(rules), rules.directory, rules.stats()["file"]) == (["a"], str(file.parent), str(file))


def test_a_file_that_has_not_changed_is_not_read_again(file):
    rules = Rules.load(file)
    assert not rules.look()
    assert rules.stats()["reloads"] == 0


def test_a_file_that_is_written_into_is_read_again(file):
    rules = Rules.load(file)
    file.write_text(BETTER)
    assert rules.look()
    assert names(rules) == ["b"]
    assert list(rules.stats()["rules"]) == ["b"]


def test_a_file_that_is_replaced_is_read_again(file, tmp_path):
    rules = Rules.load(file)
    other = tmp_path / "other"
    other.write_text(BETTER)
    os.replace(other, file)
    assert rules.look()
    assert names(rules) == ["b"]


def test_two_changes_at_once_are_both_seen(file):
    rules = Rules.load(file)
    file.write_text(BETTER)
    assert rules.look()
    file.write_text(GOOD)
    assert rules.look()
    assert names(rules) == ["a"]


def test_a_broken_file_leaves_the_rules_as_they_were_and_is_reported_once(file, caplog):
    rules = Rules.load(file)
    file.write_text("[[rule]]\nprint = true\n[[rule]]\nprnt = true\n")
    assert not rules.look()
    assert not rules.look()
    assert names(rules) == ["a"]
    assert rules.problem.startswith(f"{file}:4: rule 'rule-2': prnt: there is no key")
    assert rules.stats()["problem"] == rules.problem
    assert len(caplog.records) == 1
    file.write_text(BETTER)
    assert rules.look()
    assert (names(rules), rules.problem) == (["b"], "")


def test_a_broken_file_that_is_put_back_is_no_problem(file):
    rules = Rules.load(file)
    file.write_text("broken")
    rules.look()
    assert rules.problem
    file.write_text(GOOD)
    assert not rules.look()
    assert (names(rules), rules.problem) == (["a"], "")


def test_a_missing_file_is_a_problem_at_the_second_look(file, caplog):
    rules = Rules.load(file)
    file.rename(file.with_suffix(".bak"))
    assert not rules.look()
    assert (rules.problem, caplog.records) == ("", [])
    rules.look()
    assert "cannot be read: No such file" in rules.problem
    assert len(caplog.records) == 1
    file.with_suffix(".bak").rename(file)
    assert not rules.look()
    assert (names(rules), rules.problem) == (["a"], "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[[rule]\n", "rules.toml:1: is no TOML: Expected ']]'"),
        (b"[default]\n# \xff\n", "rules.toml:2: is no text in UTF-8"),
        (b"a = " + b"[" * 100_000, "rules.toml: is nested too deeply"),
        (b"", "rules.toml: there is no rule in it"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error_with_its_line(file, text, problem):
    file.write_bytes(text)
    with pytest.raises(RulesError) as error:
        Rules.load(file)
    assert problem in str(error.value)


def test_programs_are_looked_up_in_the_files_folder_at_home_and_in_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)

    def program(name):
        path = tmp_path / "r.toml"
        path.write_text(f'[[rule]]\nexec = ["{name}"]\n')
        return Rules.load(path).current.rules[0].actions[0].command.argv[0].parts[0]

    assert program("./tool") == program("~/tool") == program(str(tool)) == str(tool)
    assert program("sh").endswith("/sh")
    with pytest.raises(RulesError, match=r"r.toml:2: rule 'rule-1': exec\[1\]: there is no program 'no-such' in PATH"):
        program("no-such")
    with pytest.raises(RulesError, match="there is no file"):
        program("./none")
    tool.chmod(0o644)
    with pytest.raises(RulesError, match=r"is not executable; mend it with: chmod \+x"):
        program("./tool")


def test_a_yaml_file_is_read_and_converted_to_the_same_rules(tmp_path):
    old, new = tmp_path / "bus-rules.yaml", tmp_path / "rules.toml"
    old.write_text(
        "callbacks:\n  - match_type: done\n    print: true\n    print_format: '{from}: {text}'\n    command: echo $TEXT\n"
        "bus: {endpoint: lead}\nrole_map: {w: {name: Ann, color: red}}\ndefault_sender: x\n"
    )
    new.write_text(convert(old))
    assert "`default_sender` is left out" in new.read_text()
    assert tomllib.loads(new.read_text())["rule"][0]["name"] == "done"
    first, second = Rules.load(old).current, Rules.load(new).current
    assert [rule.actions for rule in first.rules] == [rule.actions for rule in second.rules]
    assert [rule.conditions for rule in first.rules] == [rule.conditions for rule in second.rules]
    assert (first.names, first.endpoint) == (second.names, second.endpoint)


def test_a_change_of_a_yaml_file_is_seen(tmp_path):
    path = tmp_path / "old.yml"
    path.write_text("callbacks: [{match_type: a, print: true}]")
    rules = Rules.load(path)
    path.write_text("callbacks: [{match_type: b, print: true}")
    rules.look()
    assert "old.yml:1: is no YAML" in rules.problem
    path.write_text("callbacks: [{match_type: b, print: true}]")
    assert rules.look()
    assert names(rules) == ["b"]


def test_without_pyyaml_the_error_names_the_extra_and_toml_works(tmp_path):
    (tmp_path / "old.yaml").write_text("callbacks: []")
    (tmp_path / "new.toml").write_text(GOOD)
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from fabric.rules import Rules, RulesError\n"
        "print(len(Rules.load(sys.argv[1]).current.rules))\n"
        "try: Rules.load(sys.argv[2])\n"
        "except RulesError as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "new.toml", tmp_path / "old.yaml"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.startswith("1\n")
    assert "pip install 'event-fabric[rules]'" in said
