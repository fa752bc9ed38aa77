"""Chaos is judged here: a judge that never says no is none."""

from tests.chaos.verdict import Published, Row, problems_of, problems_of_messages, row, table

STATS = {"recovered": 0, "joining": 0, "handlers_dropped": 0, "inbox_dropped": 0}


def published(sent=10, topics=None):
    return Published("publisher", "o", topics or {"t": 10}, {"sent": sent})


def report(count, gaps, **stats):
    return {"track": {"accounts": {"o": {"t": [0, 9, count, gaps]}}, "disorder": 0}, "stats": STATS | stats}


def problems(report, publisher, **options):
    return problems_of(row("s", report, [publisher]), from_the_start=options.get("from_the_start", True))


def test_delivered_and_gaps_are_all_that_was_published():
    assert problems(report(7, 3), published()) == []
    assert problems(report(7, 2), published()) != []
    assert problems(report(8, 3), published()) != []


def test_what_a_publisher_counted_as_dropped_is_explained():
    assert problems(report(7, 0), published(sent=7)) == []
    assert problems(report(7, 0), published(sent=8)) != []
    assert problems(report(8, 0), published(sent=7)) != [], "more arrived than was sent"


def test_a_newcomer_owes_no_account_of_what_was_dropped_before_it_came():
    assert problems(report(10, 0), published(sent=7), from_the_start=False) == []


def test_what_a_stuck_loop_dropped_is_explained():
    assert problems(report(7, 0, handlers_dropped=2, inbox_dropped=1), published()) == []
    assert problems(report(7, 0, handlers_dropped=2), published()) != []


def test_a_topic_of_which_a_subscriber_that_was_there_saw_nothing_is_a_problem():
    assert problems(report(10, 0), published(sent=12, topics={"t": 10, "u": 2})) != []


def test_disorder_is_a_problem():
    found = Row("s", 10, 10, 0, 0, 0, 0, 0, 0, 0, 0, disorder=1)
    assert problems_of(found, from_the_start=True) != []


def test_a_receipt_and_what_the_holder_did_must_agree():
    assert problems_of_messages([[0, "delivered"], [1, "NoSuchEndpoint"]], [[0]], killed=False) == []
    assert problems_of_messages([[0, "delivered"]], [[]], killed=False) != []
    assert problems_of_messages([[0, "delivered"]], [[]], killed=True) == []  # it may have been in its inbox
    assert problems_of_messages([[0, "NoSuchEndpoint"]], [[0]], killed=True) != []
    assert problems_of_messages([[0, "DeliveryUnknown"]], [[0]], killed=True) == []


def test_every_message_has_an_outcome():
    assert problems_of_messages([[0, "never settled"]], [[]], killed=False) != []


def test_a_message_is_handled_once():
    assert problems_of_messages([[0, "delivered"]], [[0, 0]], killed=False) != []
    assert problems_of_messages([[0, "delivered"]], [[0], [0]], killed=True) != []


def test_the_table_is_aligned():
    assert table([Row("a", 1_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]).splitlines() == [
        "name  published  delivered  missed  recovered  joining  before  inbox  handlers  outbox  left  disorder",
        "a         1,000          0       0          0        0       0      0         0       0     0         0",
    ]
