"""The receiver on a socket of its own, without proxy and sender: what becomes of each message."""

import logging
import threading

import pytest
import zmq

from fabric.protocol.events import UP, encode_topic
from tests.fabric.events.receiver_bench import OWN, A, B, Bench


@pytest.fixture
def bench(request):
    """Options for the receiver come from `with_options`."""
    with zmq.Context() as context:
        made = Bench(context, **getattr(request, "param", {}))
        yield made
        made.close()


def with_options(**options):
    return pytest.mark.parametrize("bench", [options], indirect=True, ids=[""])


def event(number, topic="a"):
    return (topic, number, {"n": number})


def test_an_event_is_delivered(bench):
    bench.subscribe("a")
    bench.send(event(1))
    bench.settle()
    assert bench.events == [{"n": 1}]


def test_the_events_of_a_message_are_delivered_in_order(bench):
    bench.subscribe("**")
    bench.send(event(1), event(1, "b"), event(2), event(3))
    bench.settle()
    assert bench.ns() == [1, 1, 2, 3]


def test_an_event_under_another_topics_frame_is_delivered_only_to_its_subscribers(bench):
    bench.subscribe("a")
    bench.send(event(1), event(1, "b"), event(2))
    bench.settle()
    assert bench.ns() == [1, 2]


def test_a_repeated_event_is_dropped_and_counted(bench):
    bench.subscribe("a")
    for number in (1, 2, 2, 1, 3):
        bench.send(event(number))
    bench.settle()
    assert (bench.ns(), bench.receiver.delivery.duplicates) == ([1, 2, 3], 2)


def test_a_hole_is_counted_and_published_as_a_gap(bench):
    bench.subscribe("a")
    bench.send(("a", 1, {"n": 1, "src": "somebody"}))
    bench.send(event(5))
    bench.settle()
    assert bench.ns() == [1, 5]
    assert (bench.receiver.delivery.gaps, bench.receiver.delivery.missed) == (1, 3)
    [gap] = bench.gaps
    assert {name: gap[name] for name in ("topic", "missed", "origin", "src")} == {
        "topic": "a",
        "missed": 3,
        "origin": A.hex(),
        "src": "somebody",
    }


def test_a_gap_is_published_before_the_event_that_shows_it(bench):
    order = []
    bench.subscribe("fabric.gap", lambda event: order.append("gap"))
    bench.subscribe("a", lambda event: order.append(event["n"]))
    bench.send(event(1), event(3))
    bench.settle()
    assert order == [1, "gap", 3]


def test_a_mark_shows_a_lost_tail(bench):
    bench.subscribe("a")
    bench.send(event(1))
    bench.send(("a", 4, None))
    bench.settle()
    assert (bench.ns(), bench.receiver.delivery.missed) == ([1], 3)


def test_a_mark_of_an_event_that_arrived_reports_nothing(bench):
    bench.subscribe("a")
    bench.send(event(1))
    bench.send(("a", 1, None))
    bench.settle()
    assert (bench.ns(), bench.receiver.delivery.missed, bench.receiver.delivery.duplicates) == ([1], 0, 0)


def test_a_hole_on_another_origins_topic_is_its_own(bench):
    bench.subscribe("a")
    bench.send(event(1))
    bench.send(event(7), origin=B)
    bench.send(event(2))
    bench.settle()
    assert bench.receiver.delivery.missed == 0


def test_a_topic_is_forgotten_with_its_subscription(bench):
    handle = bench.subscribe("a")
    bench.send(event(1))
    bench.settle()
    handle.cancel()
    bench.receiver.unsubscribe(handle)
    bench.settle()
    bench.subscribe("a")
    bench.send(event(9))
    bench.settle()
    assert (bench.ns(), bench.receiver.delivery.missed) == ([1, 9], 0)


def test_a_topic_two_subscriptions_want_is_not_forgotten_with_one(bench):
    bench.subscribe("a")
    second = bench.subscribe("*")
    bench.send(event(1))
    bench.settle()
    second.cancel()
    bench.receiver.unsubscribe(second)
    bench.send(event(3))
    bench.settle()
    assert bench.receiver.delivery.missed == 1


def test_a_message_of_our_own_origin_is_dropped_before_it_is_decoded(bench):
    bench.subscribe("a")
    bench.out.send_multipart([encode_topic("a", OWN), b"[not even JSON"])
    bench.settle()
    assert (bench.receiver.echoes, bench.receiver.delivery.rejected, bench.events) == (1, 0, [])


@pytest.mark.parametrize(("hops", "arrives"), [(1, True), (4, True), (5, False), (255, False)])
def test_a_message_over_too_many_bridges_is_dropped_and_counted(bench, hops, arrives):
    bench.subscribe("a")
    bench.send(event(1), hops=hops)
    bench.settle()
    assert (len(bench.events), bench.receiver.delivery.rejected) == ((1, 0) if arrives else (0, 1))


def test_reserved_frames_are_skipped_with_all_their_parts(bench):
    bench.subscribe("**")
    bench.out.send_multipart([b"\0probe-of-another", b"part", b"part"])
    bench.out.send_multipart([b"\0something", b"a", b"b"])
    bench.send(event(1))
    bench.settle()
    assert (bench.ns(), bench.receiver.delivery.rejected) == ([1], 0)


def test_a_probe_and_a_greeting_are_handed_on(bench):
    bench.subscribe("**")
    bench.out.send(b"\0probe12345678")
    bench.out.send(UP + b"bootboot")
    bench.settle()
    assert bench.probed == [b"\0probe12345678"]
    assert b"bootboot" in bench.greeted


def test_a_flood_of_bad_messages_is_one_log_line(bench, caplog):
    bench.subscribe("**")
    with caplog.at_level(logging.WARNING):
        for number in range(1_000):
            bench.out.send_multipart([b"bad %d" % number, b"worse"])
        bench.settle()
    assert bench.receiver.delivery.rejected == 1_000
    assert len(caplog.records) == 1


def test_a_topic_without_events_costs_no_other_message(bench):
    bench.subscribe("**")
    for number in range(1, 50):
        bench.out.send(encode_topic("a", B))
        bench.send(event(number))
    bench.settle()
    assert (bench.ns(), bench.receiver.delivery.rejected) == (list(range(1, 50)), 49)


@with_options(max_first_frames=10)
def test_cached_first_frames_are_bounded(bench):
    bench.subscribe("**")
    for number in range(100):
        bench.send((f"t{number}", 1, {"n": number}))
    bench.settle()
    assert bench.ns() == list(range(100))
    assert bench.receiver.stats()["first_frames"] <= 10


@with_options(limit=1_000)
def test_above_the_limit_of_the_backlog_messages_stay_in_the_pipe_and_arrive_later(bench):
    inside, leave = threading.Event(), threading.Event()

    def handle(event):
        inside.set()
        leave.wait(5)
        bench.events.append(event)

    bench.subscribe("a", handle)
    bench.send(event(1))
    assert inside.wait(5)
    for number in range(2, 500):
        bench.send(event(number))
    leave.set()
    bench.settle()
    assert bench.ns() == list(range(1, 500))
    assert bench.receiver.stats()["bytes"] == 0


def test_subscribing_does_not_wait_for_a_handler(bench):
    inside, leave = threading.Event(), threading.Event()
    bench.subscribe("a", lambda event: (inside.set(), leave.wait(5)))
    bench.send(event(1))
    assert inside.wait(5)
    bench.subscribe("b")  # the XPUB reads it while the handler runs
    leave.set()


def test_closing_ends_the_thread(bench):
    assert bench.receiver.close()


def test_a_callback_runs_on_the_delivery_thread(bench):
    found = []
    bench.subscribe("a", lambda event: found.append(bench.receiver.on_delivery_thread))
    bench.send(event(1))
    bench.settle()
    assert (found, bench.receiver.on_delivery_thread) == ([True], False)
