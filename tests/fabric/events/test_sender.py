"""The sender on a socket of its own: an XPUB connected to an XSUB of the test, without a proxy."""

import tempfile
import threading
from time import monotonic

import pytest
import zmq

from fabric.events.offline_queue import OutboxLimits
from fabric.testing import wait_until
from tests.fabric.events.sender_bench import Bench


@pytest.fixture
def make():
    benches = []
    with zmq.Context() as context, tempfile.TemporaryDirectory(prefix="fabric-") as directory:

        def make_bench(*prefixes, opened=True, **options):
            bench = Bench(context, directory, **options)
            benches.append(bench)
            if opened:
                bench.open(*prefixes)
            return bench

        yield make_bench
        for bench in benches:
            bench.close()


def ns(messages):
    return [envelope["n"] for _, events in messages for _, _, envelope in events]


def test_a_calm_event_leaves_at_once_in_the_publishers_thread(make):
    bench = make(b"a\0")
    bench.publish("a", 1)
    assert bench.sender.outbox.sent == 1
    assert bench.receive(1) == [("a", [("a", 1, {"n": 1})])]


def test_an_unwanted_event_is_neither_sent_nor_counted(make):
    bench = make(b"a\0")
    bench.publish("b", 1)
    outbox = bench.sender.outbox
    assert (len(outbox), outbox.sent, outbox.unwanted, outbox.dropped) == (0, 0, 0, 0)


def test_a_burst_leaves_in_order_and_without_holes(make):
    bench = make(b"")
    for number in range(5_000):
        bench.publish("a", number)
    messages = bench.receive(5_000)
    assert ns(messages) == list(range(5_000))
    assert [sequence for _, events in messages for _, sequence, _ in events] == list(range(1, 5_001))


def test_a_burst_is_packed(make):
    bench = make(b"")
    for number in range(5_000):
        bench.publish("a", number)
    assert len(bench.receive(5_000)) < 2_500


def test_topics_of_different_routes_never_share_a_message(make):
    bench = make(b"a\0", b"b\0")
    for number in range(3_000):
        bench.publish("ab"[number // 10 % 2], number)
    messages = bench.receive(3_000)
    assert ns(messages) == list(range(3_000))
    assert all({name for name, _, _ in events} == {topic} for topic, events in messages)


def test_many_threads_leave_nothing_behind(make):
    bench = make(b"")

    def publish(thread):
        for number in range(500):
            bench.sender.forward(f"t{thread}", {"n": (thread, number)})

    threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrived = ns(bench.receive(4_000))
    for thread in range(8):
        assert [number for owner, number in arrived if owner == thread] == list(range(500))


def test_before_the_link_is_up_all_events_wait(make):
    bench = make(opened=False)
    for number in range(3):
        bench.publish("a", number)
    assert (len(bench.sender.outbox), bench.sender.outbox.sent) == (3, 0)
    bench.open(b"a\0")
    assert ns(bench.receive(3)) == [0, 1, 2]


def test_an_event_that_waited_and_is_unwanted_is_counted(make):
    bench = make(opened=False)
    bench.publish("a", 0)
    bench.publish("b", 1)
    bench.open(b"b\0")
    assert ns(bench.receive(1)) == [1]
    wait_until(lambda: bench.sender.outbox.unwanted == 1)


def test_while_the_link_is_down_the_oldest_are_dropped_past_the_bound(make):
    bench = make(b"a\0", limits=OutboxLimits(events=100))
    bench.shut()
    for number in range(500):
        bench.publish("a", number)
    bench.sender.service(monotonic())
    outbox = bench.sender.outbox
    assert (len(outbox), outbox.dropped) == (100, 400)
    bench.open(b"a\0")
    messages = bench.receive(100)
    assert ns(messages) == list(range(400, 500))
    assert messages[0][1][0][1] == 1  # dropped events get no number


def test_publishing_while_the_link_is_down_is_bounded_without_the_control_thread(make):
    bench = make(b"a\0", limits=OutboxLimits(events=100))
    bench.shut()
    for number in range(10_000):
        bench.publish("a", number)
    assert len(bench.sender.outbox) < 200


def test_a_full_pipe_holds_events_back_and_lets_them_go_in_order(make):
    bench = make(b"", sndhwm=5)
    for number in range(20_000):
        bench.sender.forward("a", {"n": number, "pad": "x" * 500})
    assert len(bench.sender.outbox) > 0
    arrived = []
    while len(arrived) < 20_000:
        arrived += ns(bench.receive(1))
        bench.sender.service(monotonic())
    assert arrived == list(range(20_000))
    assert bench.sender.outbox.dropped == 0


def test_a_new_subscription_is_seen_while_events_are_sent(make):
    bench = make(b"a\0")
    bench.incoming.send(b"\x01b\0")

    def look():
        bench.publish("a", 0)
        return bench.sender.interest.has(b"b\0")

    wait_until(look, what="publishers read subscriptions, too")


def test_an_event_that_orjson_refuses_is_counted(make, caplog):
    bench = make(b"")
    bench.publish("a", {1, 2})
    bench.publish("a", 1)
    assert bench.sender.unencodable == 1
    assert ns(bench.receive(1)) == [1]


def test_an_event_over_the_limit_is_counted(make, caplog):
    bench = make(b"")
    bench.publish("a", "x" * 100_000)
    bench.publish("a", 1)
    assert bench.sender.unencodable == 1
    assert ns(bench.receive(1)) == [1]


def test_refusals_are_logged_once_a_topic(make, caplog):
    bench = make(b"")
    for topic in "aabab":
        bench.publish(topic, {1, 2})
    assert len(caplog.records) == 2


def test_a_message_that_is_no_subscription_is_counted(make):
    bench = make(b"")
    bench.incoming.send_multipart([b"hello", b"you"])
    bench.incoming.send(b"hello")
    bench.serve_until(lambda: bench.sender.rejected + bench.sender.interest.rejected >= 2)
    assert bench.sender.interest.up


def test_a_probe_is_sent_when_its_prefix_shows_in_the_interest(make):
    bench = make()
    bench.sender.begin_probe(b"\0probe1")
    assert not bench.incoming.poll(50)
    bench.subscribe(b"\0probe1")
    assert bench.incoming.poll(5_000)
    assert bench.incoming.recv() == b"\0probe1"


def test_a_probe_is_sent_again_on_a_new_link(make):
    bench = make(b"\0probe1")
    bench.sender.begin_probe(b"\0probe1")
    assert bench.incoming.poll(5_000)
    bench.incoming.recv()
    bench.shut()
    bench.open(b"\0probe1")
    assert bench.incoming.poll(5_000)
    assert bench.incoming.recv() == b"\0probe1"


def test_a_quiet_topic_is_marked_with_its_last_number(make):
    bench = make(b"a\0")
    for number in range(3):
        bench.publish("a", number)
    bench.receive(3)
    start = monotonic()
    for later in (0.6, 1.7, 2.8):
        bench.sender.service(start + later)
    assert bench.receive(1)[0] == ("a", [("a", 3, None)])


def test_closing_returns_the_number_of_events_not_sent(make):
    bench = make(opened=False)
    for number in range(7):
        bench.publish("a", number)
    assert bench.close() == 7


def test_publishing_after_close_neither_raises_nor_blocks(make):
    bench = make(b"a\0")
    bench.close()
    bench.publish("a", 1)
