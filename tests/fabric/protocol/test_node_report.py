import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import WireError
from fabric.protocol.node_report import MAX_COUNT, Report, decode_report, encode_report, report_from

COUNT = st.integers(0, 2**53)
NUMBERS = [name for name in Report._fields if name not in ("lag", "dropped")]
REPORTS = st.builds(
    Report,
    **dict.fromkeys(NUMBERS, COUNT),
    lag=st.floats(-1e6, 1e6),
    dropped=st.dictionaries(st.text(max_size=20), st.integers(1, 2**53), max_size=5),
)


@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report):
    assert decode_report(encode_report(report)) == report


def test_the_bytes_are_these():
    report = Report(published=3, sent=2, dropped={"outbox": 1, "missed": 0})
    assert encode_report(report).startswith(b'{"published":3,"sent":2,"delivered":0,')
    assert encode_report(report).endswith(b'"prefixes":0,"dropped":{"outbox":1}}')


def test_what_was_lost_is_the_sum_over_the_causes():
    assert Report(dropped={"outbox": 1, "missed": 2}).lost == 3


def test_keys_of_a_newer_version_are_skipped_and_missing_ones_are_zero():
    assert decode_report(b'{"sent":1,"colour":"red"}') == Report(sent=1)


def test_a_clock_that_is_ahead_makes_a_negative_lag():
    assert decode_report(b'{"lag":-0.5}').lag == -0.5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"sent":-1}',
        b'{"sent":1.5}',
        b'{"sent":true}',
        b'{"sent":"1"}',
        b'{"lag":null}',
        b'{"dropped":[]}',
        b'{"dropped":{"outbox":-1}}',
        b'{"dropped":{"%s":1}}' % (b"x" * 41),
        b'{"dropped":{%s}}' % b",".join(b'"c%d":1' % number for number in range(33)),
    ],
)
def test_what_is_no_report_is_refused(data):
    with pytest.raises(WireError):
        decode_report(data)


@given(st.binary(max_size=100))
def test_whatever_the_bytes_there_is_a_report_or_a_wire_error(data):
    try:
        decode_report(data)
    except WireError:
        pass


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3))


@given(st.dictionaries(st.sampled_from(Report._fields), JSON))
def test_whatever_the_values_there_is_a_report_or_a_wire_error(facts):
    try:
        report_from(facts)
    except WireError:
        pass


def test_a_count_that_a_stranger_has_driven_up_is_still_written():
    report = Report(sent=2**70, dropped={"missed": 2**65})
    assert decode_report(encode_report(report)) == Report(sent=MAX_COUNT, dropped={"missed": MAX_COUNT})


@pytest.mark.parametrize(
    "data", [b'{"sent":9007199254740993}', b'{"lag":1e300}', b'{"dropped":{"x":18446744073709551615}}']
)
def test_a_count_that_is_too_large_to_be_added_up_is_refused(data):
    with pytest.raises(WireError, match="at most"):
        decode_report(data)
