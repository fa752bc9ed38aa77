"""The long row where nothing goes wrong: and nothing may be reported."""

from fabric.protocol.sequence import COUNTER_SIZE
from fabric.testing import wait_until
from tests.acceptance.loads import Load
from tests.acceptance.rows import full, record, row

#: Events published before the subscriber has to be up to date: no pipe is ever full.
ROUND = 10_000


@row("lossless")
def test_no_gap_is_ever_reported_when_nothing_is_lost(fabric_proxy, program):
    load = Load(program, fabric_proxy.url)
    subscriber = load.subscriber("subscriber")
    total, expected, number = full(80_000, 10_000_000), 0, 0
    # Four phases: few topics; resubscribing; publishers that come and go; more topics than are counted.
    few, many = [f"load.t{n}" for n in range(8)], [f"load.m{n}" for n in range(COUNTER_SIZE + COUNTER_SIZE // 5)]
    for phase, topics in (("few", few), ("resubscribing", few), ("publishers", few), ("topics", many)):
        publisher = load.publisher(f"publisher-{phase}", topics, 0)
        for turn in range(total // 4 // ROUND):
            publisher("burst", count=ROUND)
            expected += ROUND
            wait_until(
                lambda expected=expected: subscriber("state")["delivered"] >= expected, 30.0, f"{phase} {expected:,}"
            )
            if phase == "resubscribing":
                subscriber("unsubscribe")
                subscriber("subscribe", pattern="load.**")
                load.wait_settled("subscriber")
            if phase == "publishers" and turn % full(1, 10) == 0:
                _end(load, publisher)
                number += 1
                publisher = load.publisher(f"publisher-{number}", topics, 0)
        _end(load, publisher)
    report = subscriber("report")
    stats = report["stats"]
    record(
        "lossless",
        f"{expected:,} events, over resubscribing, {number} restarts of the publisher, and topics forgotten",
        "never a false gap",
        delivered=report["track"]["delivered"],
        gaps=stats["gaps"],
        joining=stats["joining"],
        duplicates=stats["duplicates"],
        disorder=report["track"]["disorder"],
    )
    assert report["track"]["delivered"] == expected == total
    assert (stats["gaps"], stats["missed"], stats["joining"], report["track"]["disorder"]) == (0, 0, 0, 0)


def _end(load, publisher):
    """Its tail has arrived, so it may go: after its marks have been told, too."""
    publisher("halt")
    publisher.end()
    load.publishers.clear()
