"""Files of rules: read, changed, broken, gone, and back."""

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
    """A good file, old enough for a change to show."""
    path = tmp_path / "rules.toml"
    write(path, GOOD)
    return path


def write(path, text, age=60.0):
    path.write_text(text)
    if age:
        when = path.stat().st_mtime - age
        os.utime(path, (when, when))


def names(rules):
    return [rule.name for rule in rules.current.rules]


def test_a_file_is_read_and_knows_where_it_is(file):
    rules = Rules.load(str(file))
    assert (names(rules), rules.directory, rules.stats()["file"]) == (["a"], str(file.parent), str(file))


def test_a_file_that_has_not_changed_is_not_read_again(file):
    rules = Rules.load(file)
    assert not rules.look()
    assert rules.stats()["reloads"] == 0


def test_a_file_that_is_written_into_is_read_again(file):
    rules = Rules.load(file)
    write(file, BETTER, age=0)
    assert rules.look()
    assert names(rules) == ["b"]
    assert list(rules.stats()["rules"]) == ["b"]


def test_one_that_is_replaced_is_read_again_whatever_its_time(file, tmp_path):
    rules = Rules.load(file)
    facts = file.stat()
    other = tmp_path / "other"
    write(other, BETTER)
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, file)
    assert rules.look()
    assert names(rules) == ["b"]


def test_two_changes_within_one_tick_of_the_clock_are_both_seen(file, monkeypatch):
    monkeypatch.setattr(
        "fabric.rules.reading.file._sign", lambda facts: (facts.st_size,)
    )  # all that a coarse clock leaves
    rules = Rules.load(file)
    file.write_text(BETTER)
    assert rules.look()
    file.write_text(GOOD)
    assert rules.look()
    assert names(rules) == ["a"]


def test_a_broken_file_leaves_the_rules_as_they_were_and_says_where_it_is_broken(file, caplog):
    rules = Rules.load(file)
    write(file, "[[rule]]\nprint = true\n[[rule]]\nprnt = true\n", age=0)
    assert not rules.look()
    assert not rules.look()
    assert names(rules) == ["a"]
    assert rules.problem.startswith(f"{file}:4: rule 'rule-2': prnt: there is no key")
    assert rules.stats()["problem"] == rules.problem
    assert len(caplog.records) == 1
    write(file, BETTER, age=0)
    assert rules.look()
    assert (names(rules), rules.problem) == (["b"], "")


def test_a_broken_file_that_is_put_back_is_no_problem_any_more(file):
    rules = Rules.load(file)
    write(file, "broken", age=0)
    rules.look()
    assert rules.problem
    write(file, GOOD, age=0)
    assert not rules.look()
    assert (names(rules), rules.problem) == (["a"], "")


def test_a_file_that_is_gone_for_a_moment_is_no_problem_and_one_that_stays_away_is(file, caplog):
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


def test_what_is_no_file_is_an_error_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path, problem in [
        (tmp_path / "none.toml", "none.toml: cannot be read: No such file"),
        (tmp_path / "pipe.toml", "pipe.toml: this is no file"),
        (tmp_path, "this is a folder, and no file"),
    ]:
        with pytest.raises(RulesError, match=problem):
            Rules.load(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[[rule]\n", "rules.toml:1: is no TOML: Expected ']]'"),
        (b"[default]\nprint = true\nprint = true\n", "rules.toml:3: is no TOML: Cannot overwrite a value"),
        (b"a = [", "rules.toml:1: is no TOML: Invalid value"),
        (b"[default]\n# \xff\n", "rules.toml:2: is no text in UTF-8"),
        (b"a = " + b"[" * 100_000, "rules.toml: is nested too deeply"),
        (b"a = " + b"9" * 10_000, "rules.toml: is no TOML"),
        (b"", "rules.toml: there is no rule in it"),
        (b"\0", "rules.toml:1: is no TOML"),
        (b"x" * 11_000_000, "rules.toml: is larger than"),
    ],
)
def test_what_is_no_toml_is_one_error_with_its_line(tmp_path, text, problem):
    (tmp_path / "rules.toml").write_bytes(text)
    with pytest.raises(RulesError) as error:
        Rules.load(tmp_path / "rules.toml")
    assert problem in str(error.value)


def test_a_file_may_begin_with_what_windows_editors_put_there(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert names(Rules.load(tmp_path / "r.toml")) == ["a"]


def test_programs_are_looked_for_in_the_files_folder_at_home_and_in_the_path(tmp_path, monkeypatch):
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


def test_an_old_file_is_read_by_its_name_and_converted_to_the_same(tmp_path):
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


def test_a_change_of_an_old_file_is_seen_too(tmp_path):
    path = tmp_path / "old.yml"
    write(path, "callbacks: [{match_type: a, print: true}]")
    rules = Rules.load(path)
    write(path, "callbacks: [{match_type: b, print: true}", age=0)
    rules.look()
    assert "old.yml:1: is no YAML" in rules.problem
    write(path, "callbacks: [{match_type: b, print: true}]", age=0)
    assert rules.look()
    assert names(rules) == ["b"]


def test_without_pyyaml_an_old_file_says_what_to_install_and_toml_needs_nothing(tmp_path):
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
