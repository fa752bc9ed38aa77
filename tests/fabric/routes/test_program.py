"""Programs as senders: real ones."""

import sys

import orjson
import pytest

from fabric.routes.model import Delivery
from fabric.routes.program import Program

DELIVERY = Delivery("id1", "chat:oc_1", "chat", "oc_1", "$(touch x); -hi", timeout=5.0)


def python(program, *arguments):
    return Program([sys.executable, "-c", program, *arguments])


def test_it_gets_the_delivery_on_stdin_and_in_its_environment(tmp_path):
    out = tmp_path / "out"
    program = (
        "import json, os, sys; e = os.environ; json.dump([json.load(sys.stdin), e['FABRIC_TEXT'], e['FABRIC_CHAT'],"
        " e['FABRIC_CHANNEL'], e['FABRIC_ATTEMPT']], open(sys.argv[1], 'w'))"
    )
    assert python(program, str(out))(DELIVERY).ok
    given, *variables = orjson.loads(out.read_bytes())
    assert given == {
        "id": "id1", "channel": "chat:oc_1", "platform": "chat", "chat": "oc_1", "text": "$(touch x); -hi", "attempt": 1,
    }  # fmt: skip
    assert variables == ["$(touch x); -hi", "oc_1", "chat:oc_1", "1"]


def test_any_other_status_is_failure_with_the_last_line_of_its_errors():
    result = python("import sys; print('a\\nthe reason', file=sys.stderr); sys.exit(3)")(DELIVERY)
    assert (result.ok, result.problem) == (False, "ended with exit status 3: the reason")


def test_one_that_takes_too_long_is_ended():
    result = python("import time; time.sleep(60)")(DELIVERY._replace(timeout=0.1))
    assert not result.ok
    assert "was ended after" in result.problem


def test_one_that_still_runs_when_it_is_closed_is_ended():
    send = python("import time; time.sleep(60)")
    send.close()
    assert not send(DELIVERY).ok


@pytest.mark.parametrize("argv", [[], "a b", [""]])
def test_a_program_is_a_list(argv):
    with pytest.raises(ValueError, match="a program is a list"):
        Program(argv)
