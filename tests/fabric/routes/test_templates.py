"""Placeholders: one pass, known names only, secrets unchanged."""

import pytest

from fabric.routes.model import Delivery
from fabric.routes.templates import checked, filled, with_variables

DELIVERY = Delivery("id1", "feishu:oc_1", "feishu", "oc_1", "say {chat} ${HOME} {{x}}")


def fill(template, environment=None):
    return filled(checked(template, environment or {}), DELIVERY)


def test_all_texts_of_a_json_value_are_filled_in_and_keys_are_not():
    assert fill({"a": ["{chat}", 1, None, True], "{chat}": {"b": "{platform}/{channel}/{id}/{attempt}"}}) == {
        "a": ["oc_1", 1, None, True],
        "{chat}": {"b": "feishu/feishu:oc_1/id1/1"},
    }


def test_a_value_is_never_searched_for_placeholders():
    assert fill("<{text}>") == "<say {chat} ${HOME} {{x}}>"


def test_braces_are_doubled():
    assert fill('{{"a": "{chat}"}}') == '{"a": "oc_1"}'


def test_a_variable_is_filled_in_and_its_braces_mean_nothing():
    assert fill("{chat} ${KEY}!", {"KEY": "a{text}b}{"}) == "oc_1 a{text}b}{!"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{txt}", "there is no {txt}; did you mean text"),
        ("{}", "there is no {}; there are text"),
        ("a } b", "a single '}'"),
        (["ok", {"a": "{"}], "a single '{'"),
        ("${NOT_THERE}", "NOT_THERE} is not set"),
    ],
)
def test_a_mistake_is_found_when_the_template_is_read(template, problem):
    with pytest.raises(ValueError) as raised:
        checked(template, {})
    assert problem in str(raised.value)


def test_a_url_has_variables_only():
    assert with_variables("https://x/${A}/{text}", {"A": "1"}) == "https://x/1/{text}"
