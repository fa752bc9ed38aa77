"""One bus, many threads; and the order in which an outside is told."""

import threading

import pytest

from fabric.bus.bus import Bus


class Outside:
    """Notes what the bus tells it."""

    def __init__(self):
        self.told = []

    def forward(self, topic, envelope):
        self.told.append((topic, dict(envelope)))

    def subscribed(self, subscription):
        self.told.append(("+", subscription.pattern))

    def unsubscribed(self, subscription):
        self.told.append(("-", subscription.pattern))


def run_together(workers):
    """Run them on threads that start at once; what any of them raised is raised here."""
    barrier, errors = threading.Barrier(len(workers)), []

    def run(worker):
        barrier.wait()
        try:
            worker()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_64_threads_that_publish_subscribe_and_unsubscribe_lose_nothing(fabric_bus):
    constant = []
    fabric_bus.subscribe("load.**", lambda event: constant.append((event["thread"], event["n"])))
    own = {}

    def worker(number):
        def run():
            mine = own[number] = []
            for n in range(50):
                # What a thread subscribes it must see from then on, whatever the others do to the table.
                with fabric_bus.subscribe(f"load.t{number}", mine.append):
                    fabric_bus.publish(f"load.t{number}", {"thread": number, "n": n})

        return run

    run_together([worker(number) for number in range(64)])
    assert sorted(constant) == [(number, n) for number in range(64) for n in range(50)]
    assert {number: [event["n"] for event in events] for number, events in own.items()} == {
        number: list(range(50)) for number in range(64)
    }
    assert len(fabric_bus) == 1


def test_each_threads_events_arrive_in_its_order(fabric_bus):
    events = []
    fabric_bus.subscribe("a.*", events.append)
    run_together([lambda t=t: [fabric_bus.publish(f"a.t{t}", {"t": t, "n": n}) for n in range(500)] for t in range(8)])
    for thread in range(8):
        assert [event["n"] for event in events if event["t"] == thread] == list(range(500))


def test_subscriptions_made_at_once_are_all_there(fabric_bus):
    run_together([lambda: [fabric_bus.subscribe("a", print) for _ in range(20)] for _ in range(32)])
    assert len(fabric_bus) == 640
    assert len({handle.serial for handle in fabric_bus}) == 640


def test_one_subscription_ended_by_many_threads_is_ended_once(fabric_bus):
    handle = fabric_bus.subscribe("a", print)
    results = []
    run_together([lambda: results.append(handle.cancel()) for _ in range(32)])
    assert sorted(results) == [False] * 31 + [True]


def test_the_depth_of_one_thread_is_not_anothers(fabric_bus, caplog):
    inside, leave = threading.Event(), threading.Event()
    events = []

    def nest(event):
        if event["left"]:
            fabric_bus.publish("deep", {"left": event["left"] - 1})
        else:
            inside.set()
            leave.wait(5)

    fabric_bus.subscribe("deep", nest)
    fabric_bus.subscribe("flat", events.append)
    thread = threading.Thread(target=fabric_bus.publish, args=("deep", {"left": 30}))
    thread.start()
    assert inside.wait(5)
    fabric_bus.publish("flat")
    leave.set()
    thread.join()
    assert (len(events), caplog.text) == (1, "")


# The outside


def test_an_outside_is_told_first_of_what_there_is(fabric_bus):
    outside = Outside()
    fabric_bus.subscribe("b", print)
    fabric_bus.subscribe("a.**", print)
    fabric_bus.attach(outside)
    assert outside.told == [("+", "b"), ("+", "a.**")]


def test_an_outside_is_told_of_subscriptions_as_they_come_and_go(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    with fabric_bus.subscribe("a", print):
        pass
    assert outside.told == [("+", "a"), ("-", "a")]


def test_an_outside_is_told_of_an_end_once(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    handle = fabric_bus.subscribe("a", print)
    handle.cancel()
    handle.cancel()
    assert outside.told == [("+", "a"), ("-", "a")]


def test_an_outside_is_shown_events_whether_or_not_anybody_here_listens(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    fabric_bus.publish("a.b", {"n": 1, "ts": 1.0})
    assert outside.told == [("a.b", {"type": "a.b", "ts": 1.0, "src": "a", "n": 1})]


def test_an_outside_is_shown_what_a_callback_answers_after_what_it_answers(fabric_bus):
    outside = Outside()
    fabric_bus.subscribe("question", lambda event: fabric_bus.publish("answer"))
    fabric_bus.attach(outside)
    outside.told.clear()
    fabric_bus.publish("question")
    assert [topic for topic, _ in outside.told] == ["question", "answer"]


def test_an_outside_is_shown_the_event_before_a_subscriber_can_change_it(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    fabric_bus.subscribe("a", lambda event: event.clear())
    fabric_bus.publish("a", {"n": 1})
    assert outside.told[-1][1]["n"] == 1


def test_what_comes_from_outside_does_not_go_back(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    fabric_bus.deliver("a", {"n": 1})
    assert outside.told == []


def test_an_announcement_stays_in_this_process(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    fabric_bus.announce("fabric.link.up")
    assert outside.told == []


def test_after_detach_nothing_is_told(fabric_bus):
    outside = Outside()
    fabric_bus.attach(outside)
    fabric_bus.detach()
    fabric_bus.subscribe("a", print)
    fabric_bus.publish("a")
    assert outside.told == []
    assert fabric_bus.outside is None


def test_a_bus_is_attached_once(fabric_bus):
    fabric_bus.attach(Outside())
    with pytest.raises(RuntimeError, match="connected already"):
        fabric_bus.attach(Outside())


def test_an_outside_hears_of_ends_after_beginnings_from_any_number_of_threads():
    bus, outside = Bus(), Outside()
    bus.attach(outside)

    def worker(number):
        def run():
            for _ in range(50):
                bus.subscribe(f"t{number}", print).cancel()

        return run

    run_together([worker(number) for number in range(16)])
    for number in range(16):
        assert [sign for sign, pattern in outside.told if pattern == f"t{number}"] == ["+", "-"] * 50
