"""The long rows of messages: many kills under acknowledged messages, a long idle time."""

import pytest

from tests.acceptance.rows import full, median, milliseconds, record, row
from tests.system.test_message_faults import HOLDER, idle, send_through_kills


@pytest.fixture
def holder(program, fabric_proxy):
    return program(fabric_proxy.url, "holder", script=HOLDER)


@row("messages")
def test_a_proxy_killed_again_and_again_under_acknowledged_messages(fabric_proxy, fabric_node, holder):
    kills = full(4, 30)
    back, receipts = send_through_kills(fabric_proxy, fabric_node, holder, kills)
    record(
        "messages",
        "proxy killed under 500 acknowledged messages/s",
        "acknowledged = handled, once, in order; the name is back ≤ 2 s after the start",
        kills=kills,
        sent=len(receipts),
        delivered=sum(receipt.state == "delivered" for receipt in receipts),
        back_median_ms=milliseconds(median(back)),
        back_longest_ms=milliseconds(max(back)),
    )
    assert max(back) < 2.0


@row("messages")
def test_an_idle_endpoint_keeps_its_session(program):
    idle(program, full(2.0, 20.0))
