"""Bodies of messages, and answers to requests: carried, or refused at the sender."""

from __future__ import annotations

import dataclasses
import enum
import math
from types import MappingProxyType

import orjson
import pytest

from fabric.errors import BadMessage, MessageTooLarge
from fabric.protocol.bodies import MAX_DEPTH, encode_body, encode_value


class Colour(enum.Enum):
    BAD = math.nan


@dataclasses.dataclass
class Point:
    x: float


def _nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_a_body_is_written_as_json():
    assert encode_body({"text": "hi", "n": None}, 1_000) == b'{"text":"hi","n":null}'


def test_a_mapping_that_is_no_dict_is_a_body():
    assert encode_body(MappingProxyType({"a": 1}), 1_000) == b'{"a":1}'


@pytest.mark.parametrize(
    "body",
    [
        {"n": math.nan},
        {"n": [1, {"deep": -math.inf}]},
        {"n": (math.inf,)},
        {"n": Colour.BAD},
        {"n": Point(math.nan)},
        {"n": "\ud800"},
        {"\ud800": 1},
        {1: 2},
        {"n": {1, 2}},
        {"n": b"bytes"},
        {"n": 2**64},
        {"n": object()},
        _nested(251),
        _nested(300),
        _nested(5_000),
        [1, 2],
        "text",
        None,
    ],
    ids=lambda body: type(body).__name__,
)
def test_a_body_that_cannot_be_carried_is_refused_at_the_sender(body):
    with pytest.raises(BadMessage):
        encode_body(body, 1_000_000, "worker")


def test_a_body_that_contains_itself_is_refused():
    body = {}
    body["me"] = body
    with pytest.raises(BadMessage):
        encode_body(body, 1_000_000)


def test_the_deepest_body_can_still_be_passed_on_inside_its_message():
    body = orjson.loads(encode_body(_nested(MAX_DEPTH), 1_000_000))
    assert orjson.dumps({"type": "message", "body": body})


def test_a_wide_body_is_not_a_deep_one():
    assert encode_body({"rows": [[]] * 1_000}, 1_000_000)


def test_a_body_over_the_limit_names_its_size_and_the_limit():
    with pytest.raises(MessageTooLarge) as caught:
        encode_body({"text": "x" * 100}, 50, "worker")
    assert (caught.value.to, caught.value.size, caught.value.limit) == ("worker", 111, 50)


def test_an_answer_may_be_any_json_value():
    assert [encode_value(value, 100) for value in (None, 1, "a", [1])] == [b"null", b"1", b'"a"', b"[1]"]
