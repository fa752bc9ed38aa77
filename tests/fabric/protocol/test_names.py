"""Names of endpoints and nodes, and claims of senders without one."""

from __future__ import annotations

import pytest

from fabric.protocol.names import check_claim, check_name


@pytest.mark.parametrize("name", ["a", "lead-agent", "worker.2", "größer", "名前", "a:b/c@d", "x" * 255])
def test_an_endpoint_may_be_called(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "must not be empty"),
        ("*", "addresses everybody"),
        ("anonymous:me", "marks senders without a name"),
        ("two words", "white space"),
        ("tab\t", "white space"),
        ("line\n", "white space"),
        ("nul\0", "control character"),
        ("bidi\u202e", "control character"),
        ("zero\u200bwidth", "control character"),
        ("nbsp\u00a0", "white space"),
        ("\ud800", "no valid Unicode"),
        ("x" * 256, "255 are allowed"),
        ("ä" * 128, "256 bytes long"),
    ],
)
def test_an_endpoint_may_not_be_called(name, what):
    with pytest.raises(ValueError, match=what):
        check_name(name)


def test_a_name_is_a_str():
    with pytest.raises(TypeError, match="not bytes"):
        check_name(b"worker")


@pytest.mark.parametrize("claim", ["anonymous:me", "anonymous:größer", "anonymous:", "anonymous:*"])
def test_a_sender_without_a_name_may_claim(claim):
    assert check_claim(claim) == claim


@pytest.mark.parametrize("claim", ["", "me", "*", "anonymous:two words", "anonymous:" + "x" * 256])
def test_a_sender_without_a_name_may_not_claim(claim):
    with pytest.raises(ValueError, match=r"does not start with|white space|255 are allowed"):
        check_claim(claim)
