"""Rules of a TOML text, without a file: shared by the tests of reading."""

import tomllib

import pytest

from fabric.config.toml_lines import line_of
from fabric.rules.model import RulesError
from fabric.rules.reading.parse import read


def rules(text, find_program=None):
    """The rules of a text in a file called `r.toml`."""
    return read(tomllib.loads(text), "r.toml", lambda path: line_of(text, path), find_program)


def error_of(text):
    """The error of a text that is wrong, as one line."""
    with pytest.raises(RulesError) as error:
        rules(text)
    assert str(error.value).startswith("r.toml")
    assert "\n" not in str(error.value)
    return str(error.value)
