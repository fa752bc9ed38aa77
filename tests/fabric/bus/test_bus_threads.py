"""One bus, many threads."""

import threading

from fabric.bus.bus import Bus


def run_together(workers):
    """Run the workers on threads that start at once. Raises the first exception of a worker."""
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
                # A subscription gets every event from now on, although other threads replace the table.
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


def test_an_outside_gets_the_beginning_of_each_subscription_before_its_end_from_any_number_of_threads(outside):
    bus = Bus()
    bus.attach(outside)

    def worker(number):
        def run():
            for _ in range(50):
                bus.subscribe(f"t{number}", print).cancel()

        return run

    run_together([worker(number) for number in range(16)])
    for number in range(16):
        assert [sign for sign, pattern in outside.calls if pattern == f"t{number}"] == ["+", "-"] * 50
