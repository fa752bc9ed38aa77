"""Rules as values."""

from fabric.errors import SettingsError
from fabric.rules.conditions import Conditions, pattern
from fabric.rules.model import Rule, RulesError, RuleSet


def test_an_error_names_file_line_and_key_and_has_them_as_attributes():
    error = RulesError("r.toml", 7, "rule 'a': print", "is wrong")
    assert str(error) == "r.toml:7: rule 'a': print: is wrong"
    assert (error.file, error.line, error.key, error.problem) == ("r.toml", 7, "rule 'a': print", "is wrong")
    assert isinstance(error, SettingsError)
    assert str(RulesError("r.toml", None, "", "is empty")) == "r.toml: is empty"


def test_the_topics_of_a_file_are_those_of_its_event_rules_each_once():
    def rule(name, on, *patterns):
        return Rule(name, on, Conditions((("topic", tuple(pattern(each, "topic") for each in patterns)),)))

    rules = RuleSet((rule("a", "event", "x.**", "y"), rule("b", "message", "z"), rule("c", "event", "y")))
    assert rules.topics == ("x.**", "y")
