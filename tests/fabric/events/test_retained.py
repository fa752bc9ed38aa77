"""Retained events against answers that a test makes up. `test_late_joiners` has them from a proxy."""

import threading
from concurrent.futures import Future
from datetime import UTC, datetime
from time import monotonic

import pytest

from fabric.bus.bus import Bus
from fabric.events.retained import RetainedEvent, RetainedFetch, RetainedPages, unseen
from fabric.messages.session.outcomes import RetainedPage
from fabric.protocol.topics import KEPT_TOPIC
from fabric.testing import wait_until


def page(*events, more=False, after=0, mark=7):
    return RetainedPage("id", [[topic, "00" * 8, 1, envelope] for topic, envelope in events], more, after, mark)


def event(ts, **facts):
    return {"type": "a", "ts": float(ts), "src": "x", **facts}


def test_one_page_and_its_mark_complete_a_query():
    pages = RetainedPages("a.*", "token")
    assert pages.query() == {"pattern": "a.*", "mark": "token", "after": 0}
    assert pages.take(page(("a.b", {"ts": 1.0})))
    assert pages.found == [RetainedEvent("a.b", {"ts": 1.0, "replayed": True})]
    assert (pages.complete, pages.joined) == (True, False)
    assert pages.marked({"token": "token", "mark": 7})
    assert pages.joined


def test_the_mark_may_come_before_the_page_and_other_marks_are_ignored():
    pages = RetainedPages("**", "token")
    assert pages.marked({"token": "token", "mark": 6})
    assert not pages.marked({"token": "another", "mark": 7})
    assert not pages.marked({"token": "token", "mark": "7"})
    pages.take(page())
    assert not pages.joined
    pages.marked({"token": "token", "mark": 7})
    assert pages.joined


def test_a_page_goes_on_where_the_last_one_ended():
    pages = RetainedPages("**", "token")
    pages.take(page(("a", {}), more=True, after=5))
    assert (pages.query()["after"], pages.complete) == (5, False)
    pages.take(page(("b", {}), after=9))
    assert [topic for topic, _ in pages.found] == ["a", "b"]


def test_a_page_that_is_not_ready_is_asked_for_again():
    pages = RetainedPages("**", "token")
    assert not pages.take(page(more=True, mark=None))
    assert not pages.complete


def test_another_proxy_in_between_is_asked_from_the_start():
    pages = RetainedPages("**", "token")
    pages.take(page(("a", {}), more=True, after=5))
    assert not pages.take(page(more=True, mark=None))
    assert (pages.query()["after"], pages.found) == (0, [])


def test_a_proxy_that_retains_nothing_has_no_mark_to_wait_for():
    pages = RetainedPages("**", "token")
    assert pages.take(page(mark=None))
    assert pages.joined


def test_an_event_that_came_live_as_well_is_left_out():
    last = [event(1, replayed=True), event(2, replayed=True)]
    assert unseen(last, [event(2), event(3)]) == [event(1, replayed=True)]
    assert unseen(last, []) == last
    assert unseen([], [event(1)]) == []


def test_events_that_differ_in_one_value_are_different():
    assert unseen([event(1, n=1, replayed=True)], [event(1, n=2)]) == [event(1, n=1, replayed=True)]


def test_an_event_published_here_is_recognised_after_its_round_trip():
    here = event(1, pair=(1, 2), when=datetime(2026, 1, 2, tzinfo=UTC), ratio=float("nan"))
    back = event(1, pair=[1, 2], when="2026-01-02T00:00:00+00:00", ratio=None, replayed=True)
    assert unseen([back], [here]) == []


def test_an_event_that_is_no_json_equals_no_retained_one():
    assert unseen([event(1, replayed=True)], [event(1, odd={1}), {"ts": object()}]) == [event(1, replayed=True)]


# Fetching


class Proxy:
    """Answers each query with the next page of a list."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.queries = []

    def __call__(self, query, timeout):
        self.queries.append(query)
        future = Future()
        future.set_result(self.answers.pop(0))
        return future


WAITING = RetainedPage("id", [], True, 0, None)
ONE = RetainedPage("id", [["a", "00" * 8, 1, {"n": 1}]], False, 1, 7)


def fetch(replay, proxy, patience=5.0):
    return replay.fetch(proxy, monotonic() + patience)


def test_a_fetch_waits_for_its_own_mark(fabric_bus):
    with RetainedFetch(fabric_bus, "a") as replay:
        proxy = Proxy(WAITING, ONE)
        found = []
        thread = threading.Thread(target=lambda: found.extend(fetch(replay, proxy, 20)))
        thread.start()
        wait_until(lambda: not proxy.answers)
        token = proxy.queries[0]["mark"]
        fabric_bus.deliver(KEPT_TOPIC, {"token": "another", "mark": 7})
        assert thread.is_alive()
        fabric_bus.deliver(KEPT_TOPIC, {"token": token, "mark": 7})
        thread.join()
        assert found == [RetainedEvent("a", {"n": 1, "replayed": True})]
    assert len(fabric_bus) == 0


def test_a_fetch_ends_at_its_deadline(fabric_bus):
    with RetainedFetch(fabric_bus, "a") as replay, pytest.raises(TimeoutError, match="did not say"):
        fetch(replay, Proxy(*[WAITING] * 100), 0.02)
    with RetainedFetch(fabric_bus, "a") as replay, pytest.raises(TimeoutError, match="not delivered"):
        fetch(replay, Proxy(ONE), 0.02)


def test_only_a_subscription_of_exactly_that_topic_gets_place_marks():
    bus = Bus()
    for pattern in ("**", "fabric.**", "fabric.*"):
        bus.subscribe(pattern, pytest.fail)
    bus.subscribe(KEPT_TOPIC, (got := []).append)
    bus.deliver(KEPT_TOPIC, {"mark": 1})
    assert got == [{"mark": 1}]
