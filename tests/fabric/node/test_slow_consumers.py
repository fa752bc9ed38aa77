import pytest

from fabric.node.slow_consumers import CALM, Backlog, SlowConsumers


class Consumer:
    """A queue, looked at four times a second."""

    def __init__(self):
        self.now, self.handled, self.waiting, self.dropped = 0.0, 0, 0, 0
        self.slowness = SlowConsumers()

    def look(self, *, came=0, done=0, dropped=0, seconds=0.25):
        self.now += seconds
        self.handled += done
        self.dropped += dropped
        self.waiting += came - done - dropped
        load = Backlog("queue", "app.handle", "a.**", "a.b", self.handled, self.waiting, self.dropped)
        return self.slowness.look([load], self.now)


@pytest.fixture
def consumer():
    consumer = Consumer()
    assert consumer.look() == []
    return consumer


def test_one_that_keeps_up_is_not_reported_however_much_it_handles(consumer):
    assert [consumer.look(came=1_000, done=1_000) for _ in range(40)] == [[]] * 40


def test_nor_one_that_always_has_something_waiting_but_not_for_long(consumer):
    consumer.look(came=100)
    assert [consumer.look(came=100, done=100) for _ in range(40)] == [[]] * 40


def test_one_that_is_behind_by_a_second_is_slow_and_told_once(consumer):
    reports = [consumer.look(came=10, done=1) for _ in range(20)]
    told = [report for report in reports if report]
    assert len(told) == 1
    assert told[0][0] | {"lag": 0, "waiting": 0} == {
        "state": "slow",
        "handler": "app.handle",
        "pattern": "a.**",
        "topic": "a.b",
        "lag": 0,
        "waiting": 0,
        "dropped": 0,
    }
    assert told[0][0]["lag"] >= 1.0


def test_one_that_is_stuck_is_slow_after_a_second(consumer):
    consumer.look(came=1)
    reports = [consumer.look() for _ in range(4)]
    assert [bool(report) for report in reports] == [False, False, False, True]


def test_one_that_drops_is_slow_at_once_and_told_how_many(consumer):
    (report,) = consumer.look(came=100, done=10, dropped=80)
    assert (report["state"], report["dropped"], report["waiting"]) == ("slow", 80, 10)


def test_it_has_recovered_when_it_has_been_calm_for_a_while(consumer):
    consumer.look(came=100, dropped=60)
    consumer.look(came=0, done=20, dropped=20)
    reports = []
    while not reports:
        reports = consumer.look()
    assert (reports[0]["state"], reports[0]["dropped"]) == ("recovered", 80)
    assert reports[0]["lasted"] == pytest.approx(0.25 + CALM)
    assert consumer.look() == []


def test_it_is_slow_again_in_another_episode(consumer):
    consumer.look(came=10, dropped=10)
    while not consumer.look():
        pass
    assert consumer.look(came=5, dropped=5)[0]["dropped"] == 5


def test_a_drop_now_and_then_is_one_episode(consumer):
    reports = [consumer.look(came=1, dropped=1, seconds=0.5) for _ in range(20)]
    assert [len(report) for report in reports] == [1] + [0] * 19


def test_what_was_dropped_before_the_first_look_is_no_news():
    consumer = Consumer()
    assert consumer.look(came=5, dropped=5) == []


def test_a_consumer_that_is_gone_is_forgotten(consumer):
    consumer.look(came=10, dropped=10)
    consumer.slowness.look([], consumer.now)
    consumer.handled = consumer.waiting = consumer.dropped = 0
    assert consumer.look() == []


def test_a_consumer_that_is_new_and_has_dropped_is_slow():
    slowness = SlowConsumers()
    slowness.look([], 0.0)
    assert len(slowness.look([Backlog("queue", "h", "a", "", 0, 10, 40)], 0.25)) == 1
