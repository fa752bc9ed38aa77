"""The body of a message that the arguments of `send`, `notify` and `request` make, and its sender."""

import logging

import click
import pytest

from cli.exits import FAILED, Failure
from cli.message import body_of, endpoint_log_muted, registered_as


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (("hi", None, None, None), {"text": "hi"}),
        (("hi", None, "ack", "chat:1"), {"text": "hi", "type": "ack", "channel": "chat:1"}),
        ((None, '{"n": 1, "type": "a"}', "a", None), {"n": 1, "type": "a"}),
        ((None, None, "ack", None), {"type": "ack"}),
    ],
)
def test_text_or_json_with_type_and_channel_make_a_body(arguments, body):
    assert body_of(*arguments) == body


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("hi", "{}", None, None), "two bodies"),
        ((None, None, None, None), "nothing to send"),
        ((None, '{"type": "x"}', "y", None), "contradicts"),
        ((None, "[1]", None, None), "a body is an object"),
        ((None, "{", None, None), "this is no JSON"),
    ],
)
def test_arguments_that_contradict_each_other_or_are_no_body_are_wrong_usage(arguments, problem):
    with pytest.raises(click.UsageError, match=problem):
        body_of(*arguments)


def test_a_sender_is_registered_for_the_time_of_the_block(node, root, capsys):
    def is_there():
        return root in {each["endpoint"] for each in node.endpoints()}

    with registered_as(node, root, 5.0):
        assert is_there()
        node.send(root, {"text": "late"}).wait()
    assert not is_there()
    assert f"-- meanwhile this came for {root}, and is lost: " in capsys.readouterr().err


def test_a_sender_whose_name_another_node_holds_is_a_failure(node, root, url, fabric_node):
    other = fabric_node("other", url=url)
    with (
        node.endpoint(root),
        pytest.raises(Failure, match=f"^cannot send as {root!r}: tester .* has that name$") as failure,
        registered_as(other, root, 5.0),
    ):
        pass
    assert failure.value.code == FAILED


def test_without_a_sender_nothing_is_registered():
    with registered_as(None, None, 5.0):  # there is no node to register it at
        pass


def test_warnings_of_endpoints_are_muted_for_the_time_of_the_block():
    logger = logging.getLogger("fabric.endpoint")
    before = logger.isEnabledFor(logging.WARNING)
    with endpoint_log_muted():
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.isEnabledFor(logging.WARNING) == before
