"""The work that a node completes when it closes: handlers, messages, events. With a real proxy."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import fabric
from fabric import Drained, NoSuchEndpoint
from fabric.testing import wait_until


def test_a_report_is_true_if_nothing_was_abandoned():
    assert Drained(handled=3, flushed=9)
    assert not Drained(unhandled=1)
    assert Drained(events=1, unhandled=2, unsettled=3).abandoned == 6


def test_a_report_reads_as_a_sentence():
    assert str(Drained(3, 9)) == "3 messages handled, 9 events sent"
    assert str(Drained(3, 9, 1, 2, 0)).endswith("given up: 1 events, 2 unhandled and 0 unsettled messages")


def test_handlers_finish_what_is_in_their_inbox(node):
    worker, sender = node("worker"), node("sender")
    begun, go_on, handled = threading.Event(), threading.Event(), []

    def handle(message):
        begun.set()
        go_on.wait(10)
        handled.append(message["n"])

    worker.endpoint("drained-inbox", lambda message: handle(message.body))
    for number in range(5):
        sender.send("drained-inbox", {"n": number}).wait()
    assert begun.wait(5)
    threading.Timer(0.1, go_on.set).start()
    report = worker.close(10)
    assert (handled, report.handled, report.abandoned) == ([0, 1, 2, 3, 4], 5, 0)


def test_while_a_node_drains_it_takes_no_new_messages(node):
    worker, sender = node("worker"), node("sender")
    begun, go_on = threading.Event(), threading.Event()

    def handle(message):
        begun.set()
        go_on.wait(10)

    worker.endpoint("drained-name", handle)
    sender.send("drained-name", {}).wait()
    assert begun.wait(5)
    closing = threading.Thread(target=worker.close, args=(10,))
    closing.start()
    try:
        wait_until(lambda: "drained-name" not in [row["endpoint"] for row in sender.endpoints()])
        with pytest.raises(NoSuchEndpoint):
            sender.send("drained-name", {}).wait()
    finally:
        go_on.set()
        closing.join()


def test_the_answer_to_a_request_that_was_being_handled_arrives(node):
    worker, asker = node("worker"), node("asker")
    begun, go_on = threading.Event(), threading.Event()

    def handle(message):
        begun.set()
        go_on.wait(10)
        return "answer"

    worker.endpoint("drained-request", handle)
    receipt = asker.request("drained-request", {}, timeout=10)
    assert begun.wait(5)
    threading.Timer(0.05, go_on.set).start()
    assert worker.close(10).handled == 1
    assert receipt.wait() == "answer"


def test_async_handlers_finish(node):
    async def main():
        worker, sender = node("worker", ready=False), node("sender", ready=False)
        await worker.ready()
        await sender.ready()
        handled = []

        async def handle(message):
            await asyncio.sleep(0.01)
            handled.append(message.body["n"])

        await worker.endpoint("drained-async", handle).ready()
        for number in range(3):
            await sender.send("drained-async", {"n": number})
        report = await worker.aclose(10)
        return handled, report

    handled, report = asyncio.run(main())
    assert (handled, report.handled, report.unhandled) == ([0, 1, 2], 3, 0)


def test_messages_that_a_handler_does_not_finish_in_time_are_reported(node):
    worker, sender = node("worker"), node("sender")
    go_on = threading.Event()
    worker.endpoint("drained-late", lambda message: go_on.wait(20))
    for _ in range(3):
        sender.send("drained-late", {}).wait()
    report = worker.close(0.1)
    go_on.set()
    assert (report.handled, report.unhandled) == (0, 3)


def test_a_handler_that_closes_its_own_node_does_not_wait_for_itself(node):
    worker, sender = node("worker"), node("sender")
    reports = []
    worker.endpoint("drained-self", lambda message: reports.append(worker.close(20)))
    sender.send("drained-self", {}).wait()
    wait_until(lambda: reports)
    assert reports[0].unsettled == 0


def test_messages_without_an_acknowledgement_are_reported(lonely_url, fabric_node):
    alone = fabric_node("alone", url=lonely_url, ready=False)
    alone.send("nobody", {}, timeout=30)
    assert alone.close(0.05).unsettled == 1


def test_waiting_events_are_sent_and_counted(node):
    got, speaker = [], node()
    node().subscribe("drained.event", got.append).wait_ready(everyone=True)
    for number in range(500):
        speaker.publish("drained.event", {"n": number})
    before = speaker.stats()["sent"]
    report = speaker.close()
    assert report.flushed <= 500
    assert report.flushed + before >= 500
    wait_until(lambda: len(got) == 500)


def test_a_command_that_is_asked_to_end_twice_ends_at_once(lonely_url):
    """`fabric listen` without its proxy: its close would wait for the link."""
    code = textwrap.dedent(
        """
        import sys, cli.main, fabric
        def command():
            node = fabric.connect("mute", url=sys.argv[1], autostart=False, close_timeout=30, bus=fabric.Bus())
            node.publish("never.sent", {})
            import time
            try:
                print("ready", flush=True)
                time.sleep(60)
            finally:
                print("closing", flush=True)
                node.close()
        cli.main.run = command
        cli.main.main()
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code, lonely_url], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# Publishing only if there is room


def test_try_publish_publishes_if_there_is_room(node):
    speaker, got = node(), []
    node().subscribe("tried", got.append).wait_ready(everyone=True)
    assert speaker.try_publish("tried", {"n": 1})
    wait_until(lambda: got)


def test_try_publish_is_false_without_room_and_publishes_nothing(lonely_url, fabric_node):
    alone = fabric_node(url=lonely_url, ready=False, outbox_events=3)
    here = []
    alone.subscribe("tried", here.append)
    assert [alone.try_publish("tried", {"n": number}) for number in range(5)] == [True, True, True, False, False]
    assert [event["n"] for event in here] == [0, 1, 2]
    assert alone.stats()["dropped"] == 0


def test_try_publish_can_wait_for_room(fabric_proxy, fabric_node):
    fabric_proxy.stop()
    speaker = fabric_node(ready=False, outbox_events=1)
    assert speaker.try_publish("tried", {"n": 1})
    assert not speaker.try_publish("tried", {"n": 2}, timeout=0.05)
    threading.Timer(0.1, fabric_proxy.start).start()
    assert speaker.try_publish("tried", {"n": 3}, timeout=20)


def test_try_publish_does_not_wait_on_an_event_loop(lonely_url, fabric_node):
    alone = fabric_node(url=lonely_url, ready=False, outbox_events=1)
    alone.publish("tried")

    async def main():
        with pytest.raises(RuntimeError, match="event loop"):
            alone.try_publish("tried", timeout=1)
        return alone.try_publish("tried")

    assert asyncio.run(main()) is False


# Which events go when the outbox is full


@pytest.mark.parametrize(("policy", "arrived"), [("drop_oldest", [3, 4]), ("drop_newest", [0, 1])])
def test_the_policy_of_the_outbox_decides_which_events_are_dropped(fabric_proxy, fabric_node, policy, arrived):
    got, speaker = [], fabric_node(outbox_events=2, outbox_policy=policy)
    listener = fabric_node()
    listener.subscribe("kept.*", lambda event: got.append(event["n"])).wait_ready(everyone=True)
    fabric_proxy.kill()
    wait_until(lambda: speaker.state == "down")
    for number in range(5):
        speaker.publish("kept.topic", {"n": number})
    wait_until(lambda: speaker.stats()["dropped"] == 3)
    fabric_proxy.start(settle=0.3)
    wait_until(lambda: len(got) == 2)
    assert got == arrived


def test_with_policy_latest_only_the_last_event_of_each_topic_waits(fabric_proxy, fabric_node):
    got, speaker = [], fabric_node(outbox_policy="latest")
    fabric_node().subscribe("kept.*", lambda event: got.append((event["type"], event["n"]))).wait_ready(everyone=True)
    fabric_proxy.kill()
    wait_until(lambda: speaker.state == "down")
    for number in range(10):
        speaker.publish(f"kept.{number % 2}", {"n": number})
    wait_until(lambda: speaker.stats()["superseded"] == 8)
    fabric_proxy.start(settle=0.3)
    wait_until(lambda: len(got) == 2)
    assert got == [("kept.0", 8), ("kept.1", 9)]
    assert speaker.stats()["dropped"] == 0


# Which events go when handlers are slow


def test_with_inbox_policy_drop_oldest_a_slow_handler_gets_the_newest_events(node):
    speaker, listener = node(), node("listener", inbox_bytes=20_000, inbox_policy="drop_oldest")
    entered, go_on, got = threading.Event(), threading.Event(), []

    def handle(event):
        got.append(event["n"])
        entered.set()
        go_on.wait(10)

    listener.subscribe("flood", handle).wait_ready(everyone=True)
    speaker.publish("flood", {"n": 0})
    assert entered.wait(5)
    for number in range(1, 2_000):
        speaker.publish("flood", {"n": number, "pad": "x" * 100})
    speaker.wait_ready()
    go_on.set()
    wait_until(lambda: got[-1] == 1_999)
    stats = listener.stats()
    assert len(got) + stats["inbox_dropped"] + stats["missed"] == 2_000
    assert stats["inbox_dropped"] > 0
    assert got == sorted(got)


def test_an_unknown_policy_is_refused():
    with pytest.raises(fabric.SettingsError, match=r"outbox_policy.*drop_oldest"):
        fabric.connect(bus=fabric.Bus(), url="ipc:///nowhere", outbox_policy="random")
