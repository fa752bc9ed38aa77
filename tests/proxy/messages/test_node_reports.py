from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.node_report import MAX_CAUSES, MAX_COUNT, Report
from proxy.messages.node_reports import NodeReports

A, B = b"origin-a", b"origin-b"


def test_a_node_that_has_not_reported_has_no_report_and_no_rates():
    assert NodeReports().latest(A) == (None, (0, 0))


def test_the_last_report_counts():
    reports = NodeReports()
    reports.add(A, Report(sent=1), 0.0)
    reports.add(A, Report(sent=5), 1.0)
    assert (reports.latest(A)[0], reports.totals().sent) == (Report(sent=5), 5)


def test_rates_are_between_the_last_two_reports():
    reports = NodeReports()
    reports.add(A, Report(sent=10, delivered=4), 0.0)
    reports.add(A, Report(sent=30, delivered=4), 5.0)
    assert reports.latest(A)[1] == (4.0, 0.0)


def test_totals_are_over_all_nodes_and_causes():
    reports = NodeReports()
    reports.add(A, Report(published=3, sent=2, gaps=1, dropped={"outbox": 1}), 0.0)
    reports.add(B, Report(published=4, delivered=2, dropped={"outbox": 2, "missed": 5}), 0.0)
    assert reports.totals() == (7, 2, 2, 1, {"outbox": 3, "missed": 5})


def test_the_losses_of_a_departed_node_stay_in_the_totals():
    reports = NodeReports()
    reports.add(A, Report(dropped={"outbox": 1}), 0.0)
    reports.node_left(A)
    assert (reports.latest(A)[0], reports.totals().dropped) == (None, {"outbox": 1})


def test_a_node_that_comes_back_is_counted_once():
    reports = NodeReports()
    reports.add(A, Report(sent=3, dropped={"outbox": 1}), 0.0)
    reports.node_left(A)
    reports.add(A, Report(sent=4, dropped={"outbox": 1}), 1.0)
    assert (reports.totals().sent, reports.totals().dropped) == (4, {"outbox": 1})


def test_a_node_whose_counts_began_anew_adds_to_its_former_ones():
    reports = NodeReports()
    reports.add(A, Report(sent=3), 0.0)
    reports.node_left(A)
    reports.add(A, Report(sent=1), 1.0)
    assert reports.totals().sent == 4


def test_a_node_that_leaves_without_a_report_adds_nothing():
    reports = NodeReports()
    reports.node_left(A)
    assert reports.totals().sent == 0


def test_the_subscriptions_are_of_connected_nodes():
    reports = NodeReports()
    reports.add(A, Report(subscriptions=2), 0.0)
    reports.add(B, Report(subscriptions=3), 0.0)
    reports.node_left(A)
    assert reports.subscriptions == 3


@given(st.integers(1, 50), st.integers(1, 5))
def test_for_any_number_of_departed_nodes_the_memory_is_bounded_and_the_sum_is_right(nodes, limit):
    reports = NodeReports(limit)
    for number in range(nodes):
        reports.add(b"%08d" % number, Report(sent=1, dropped={"outbox": 1}), 0.0)
        reports.node_left(b"%08d" % number)
    assert (reports.totals().sent, reports.totals().dropped) == (nodes, {"outbox": nodes})
    assert len(reports) <= limit


def test_sums_stay_in_the_range_of_json():
    reports = NodeReports()
    for number in range(3_000):
        reports.add(b"%08d" % number, Report(sent=MAX_COUNT, subscriptions=MAX_COUNT, dropped={"x": MAX_COUNT}), 0.0)
    assert (reports.totals().sent, reports.subscriptions) == (MAX_COUNT, MAX_COUNT)
    assert reports.totals().dropped == {"x": MAX_COUNT}


def test_causes_beyond_the_limit_are_added_up_as_other():
    reports = NodeReports(limit=1)
    for number in range(1_000):
        origin = b"%08d" % number
        reports.add(origin, Report(dropped={f"cause-{number}": 1, "missed": 1}), 0.0)
        reports.node_left(origin)
    dropped = reports.totals().dropped
    assert (len(dropped), dropped["missed"], sum(dropped.values())) == (MAX_CAUSES + 1, 1_000, 2_000)
