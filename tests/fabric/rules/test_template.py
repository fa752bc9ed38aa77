"""Templates are checked when they are made."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.rules.template import Field, Template, template


def test_a_template_is_literals_and_placeholders_in_order():
    assert template("{{a}} {body.x.0:lines}!") == Template(("{a} ", Field("body", ("x", "0"), "lines"), "!"))
    assert template("") == Template(())


def test_a_template_is_fixed_or_may_begin_with_a_value():
    assert template("a{{b").is_fixed
    assert not template("a{text}").is_fixed
    assert template("{text}a").begins_with_a_value
    assert not template("{bold}{text}").begins_with_a_value
    assert not template("a{text}").begins_with_a_value


@pytest.mark.parametrize("text", ["{ts:%H:%M} {body.a.b}: {color:red}{text}", "plain", ""])
def test_as_a_str_it_is_the_text_that_it_was_made_of(text):
    assert str(template(text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{foo}", "there is no placeholder {foo}"),
        ("{form}", "did you mean from?"),
        ("{}", "no placeholder"),
        ("{", "single '{'"),
        ("a } b", "single '}'"),
        ("{a{b}", "single '{'"),
        ("{body.}", "no parts"),
        ("{body..a}", "no parts"),
        ("{from.x}", "no parts"),
        ("{topic.0}", "no parts"),
        ("{topic.x}", "no parts"),
        ("{topic.²}", "no parts"),
        ("{ts:}", "says no format"),
        ("{from:lines}", "colon"),
        ("{body:lines}", "colon"),
        ("{text:}", "colon"),
        ("{text:bold}", "colon"),
        ("{bold:x}", "nothing can follow"),
        ("{color.red}", "nothing can follow"),
        ("{color}", "no colour ''"),
        ("{color:rde}", "did you mean red?"),
    ],
)
def test_a_mistake_in_a_template_is_an_error_when_it_is_made(text, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        template(text)


@given(st.text(alphabet="{}abc:.%fromtextbody_ \n", max_size=30))
def test_every_text_is_a_template_or_a_value_error(text):
    try:
        made = template(text)
    except ValueError:
        return
    assert made.is_fixed or "{" in text
