"""TOML and YAML texts as documents with lines."""

import pytest

from fabric.rules.model import RulesError
from fabric.rules.reading.formats import parse_toml, parse_yaml


def test_a_document_knows_the_lines_of_its_parts():
    parsed = parse_toml('[[rule]]\nprint = "x"\n', "r.toml")
    assert parsed.document == {"rule": [{"print": "x"}]}
    assert (parsed.locate(("rule", 0, "print")), parsed.locate(("none",))) == (2, None)
    parsed = parse_yaml("callbacks:\n  - print: x\n", "r.yaml")
    assert parsed.document == {"callbacks": [{"print": "x"}]}
    assert (parsed.locate(("callbacks", 0, "print")), parsed.locate(("none",))) == (2, None)


def test_an_empty_text_is_an_empty_document():
    assert parse_toml("", "r.toml").document == {}
    assert parse_yaml("", "r.yaml").document is None


@pytest.mark.parametrize(
    ("parse", "text", "error"),
    [
        (parse_toml, "[[rule]\n", "f:1: is no TOML: Expected ']]'"),
        (parse_toml, "[default]\nprint = true\nprint = true\n", "f:3: is no TOML: Cannot overwrite a value"),
        (parse_toml, "a = [", "f:1: is no TOML: Invalid value"),
        (parse_toml, "a = " + "9" * 10_000, "f: is no TOML: "),
        (parse_toml, "\0", "f:1: is no TOML: "),
        (parse_yaml, "callbacks: [\n", "f:2: is no YAML: "),
        (parse_yaml, "d: 2020-99-99", "f: is no YAML: "),
        (parse_yaml, "? [a]\n: b", "is no YAML: "),
        (parse_yaml, "--- a\n--- b", "is no YAML: "),
        (parse_yaml, "x: !!python/object/apply:os.system ['true']", "is no YAML: could not determine a constructor"),
    ],
)
def test_a_text_in_neither_format_is_one_error_with_its_line(parse, text, error):
    with pytest.raises(RulesError) as raised:
        parse(text, "f")
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)
