"""Options and arguments that several commands have."""

import click
import pytest

from cli.main import run
from cli.options import SECONDS, EndpointParam, PatternParam, TopicParam, proxy_options, timeout_option


@click.command()
@proxy_options
@timeout_option(2.5, "Wait S seconds.", 10.0)
def command(**options):
    """Has options that are shared."""


def test_an_option_that_is_not_given_is_left_to_the_settings():
    assert command.make_context("x", []).params == {"url": None, "autostart": None, "timeout": 2.5}
    given = command.make_context("x", ["--url", "u", "--no-autostart", "--timeout", "7"]).params
    assert given == {"url": "u", "autostart": False, "timeout": 7.0}


def test_a_timeout_says_its_default_and_is_within_limits():
    assert "Wait S seconds.  [default: 2.5]" in command.get_help(click.Context(command))
    for seconds in ("0", "-1", "11", "soon"):
        with pytest.raises(click.BadParameter):
            command.make_context("x", ["--timeout", seconds])


def test_a_time_span_is_more_than_nothing():
    assert SECONDS.convert("0.1", None, None) == 0.1
    with pytest.raises(click.BadParameter):
        SECONDS.convert("0", None, None)


@pytest.mark.parametrize("topic", ["a.*", "a..b", "", "a b", "fabric", "fabric.link.up", "x" * 256, "a.\x1b[31m"])
def test_a_topic_that_is_none_is_wrong_usage(topic, capfd):
    assert run(["pub", topic]) == 2
    err = capfd.readouterr().err
    assert "Invalid value for 'TOPIC'" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("words", [["a*"], [""], ["**", "--ignore", "a..b"]])
def test_a_pattern_that_is_none_is_wrong_usage(words, capfd):
    assert run(["tap", *words]) == 2
    assert "pattern" in capfd.readouterr().err


def test_the_systems_own_topics_are_topics_where_nothing_is_published():
    assert TopicParam(reserved=True).convert("fabric.link.up", None, None) == "fabric.link.up"
    with pytest.raises(click.BadParameter, match="the system's own"):
        TopicParam().convert("fabric.link.up", None, None)
    assert PatternParam().convert("fabric.**", None, None) == "fabric.**"


def test_everybody_is_an_endpoint_only_where_that_is_meant():
    assert EndpointParam(everybody=True).convert("*", None, None) == "*"
    assert EndpointParam().convert("lead-agent", None, None) == "lead-agent"
    with pytest.raises(click.BadParameter, match="addresses everybody"):
        EndpointParam().convert("*", None, None)
