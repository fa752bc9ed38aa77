"""Documents as TOML: tomllib reads the document that was written."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.rules.reading.toml_writer import to_toml

TEXT = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=12)
VALUE = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUE | st.lists(st.dictionaries(TEXT, VALUE, max_size=3), max_size=3), max_size=4))
def test_tomllib_reads_the_document_that_was_written(document):
    assert tomllib.loads(to_toml(document, ["a comment", "of two\nlines"])) == document


def test_tables_and_keys_are_laid_out_as_by_hand():
    document = {
        "endpoint": "lead",
        "rule": [{"name": "a", "print": {"format": "x"}}, {"ignore": True}],
        "names": {"w": "Ann"},
    }
    assert to_toml(document, ["made"]) == (
        '# made\n\nendpoint = "lead"\n\n[[rule]]\nname = "a"\nprint = { format = "x" }\n\n'
        '[[rule]]\nignore = true\n\n[names]\nw = "Ann"\n'
    )


def test_none_cannot_be_written():
    with pytest.raises(TypeError, match="NoneType"):
        to_toml({"a": None})
