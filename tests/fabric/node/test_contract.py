"""The contract of a node, tested with both kinds: connected to a real proxy, and in memory.

A fact that is true of one only is a defect of the other. What is particular to one is tested elsewhere: `test_node…`,
`test_memory`, `tests/system`.
"""

import asyncio
import threading
from collections import Counter

import pytest

import fabric
from fabric import (
    BadMessage,
    Closed,
    DeliveryTimeout,
    Drained,
    EndpointBusy,
    MessageTooLarge,
    NameTaken,
    NoSuchEndpoint,
    RemoteError,
    SenderNotOwned,
)
from fabric.testing import InMemoryFabric, await_until, wait_until


@pytest.fixture(params=["proxy", "memory"])
def make(request):
    """A function that makes nodes, ready (unless on a loop, with `ready=False`), of one kind or the other."""
    if request.param == "proxy":
        yield request.getfixturevalue("node")
        return
    with InMemoryFabric() as memory:
        yield memory.node


def heard(node, pattern="**"):
    """A capture that misses nothing from here on."""
    captured = node.capture(pattern)
    captured.wait_ready(everyone=True)
    return captured


def ns(events):
    return [event["n"] for event in events]


def payload_of(event):
    return {key: value for key, value in event.items() if key not in ("ts", "src", "type")}


# Events


def test_an_event_reaches_another_node(make):
    orders = heard(make("kitchen"), "orders.**")
    make("shop").publish("orders.placed", {"fruit": "apple"})
    assert orders.wait(1)[0]["fruit"] == "apple"


def test_an_event_reaches_the_publishers_own_subscribers_at_once(make):
    shop, seen = make(), []
    shop.subscribe("orders.placed", seen.append)
    shop.publish("orders.placed", {"n": 1})
    assert ns(seen) == [1]


def test_an_event_does_not_return_to_its_publisher(make):
    shop, kitchen = make("shop"), make("kitchen")
    own, other = heard(shop, "orders.**"), heard(kitchen, "orders.**")
    shop.publish("orders.placed")
    kitchen.publish("orders.done")
    other.wait(2)
    own.wait(2)
    assert Counter(own.topics) == Counter(["orders.placed", "orders.done"])


def test_a_received_event_is_not_forwarded(make):
    a, b, c = make("a"), make("b"), make("c")
    heard(b, "orders.**")
    there = heard(c, "orders.**")
    a.publish("orders.placed")
    a.publish("orders.end")
    there.wait(2)
    assert there.topics == ["orders.placed", "orders.end"]


@pytest.mark.parametrize(
    ("pattern", "topics"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", "a.z"]),
        ("a.**", ["a", "a.b", "a.b.c", "a.z"]),
        ("*.b", ["a.b"]),
        ("**.c", ["ab.c", "a.b.c"]),
        ("a.*.c", ["a.b.c"]),
        ("**", ["a", "a.b", "ab.c", "a.b.c", "a.z"]),
        ("*", ["a"]),
    ],
)
def test_a_pattern_gets_the_topics_that_it_matches_and_no_others(make, pattern, topics):
    listener, speaker = make("listener"), make("speaker")
    got, end = heard(listener, pattern), heard(listener, "the.very.end")
    for topic in ("a", "a.b", "ab.c", "a.b.c", "a.z", "the.very.end"):
        speaker.publish(topic)
    end.wait(1)
    # To `**` the comings and goings of nodes are news, too.
    assert [topic for topic in got.topics if not topic.startswith(("fabric.", "the."))] == topics


def test_events_of_one_node_arrive_in_the_order_they_were_published(make):
    got, speaker = heard(make(), "n.**"), make()
    for n in range(500):
        speaker.publish(f"n.{n % 3}", {"n": n})
    assert ns(got.wait(500)) == list(range(500))


def test_many_threads_that_publish_lose_nothing_and_keep_their_order(make):
    got, speaker = heard(make(), "n.**"), make()

    def publish(number):
        for n in range(100):
            speaker.publish(f"n.t{number}", {"thread": number, "n": n})

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = got.wait(600)
    assert all(ns(event for event in events if event["thread"] == number) == list(range(100)) for number in range(6))
    assert len(events) == 600


def test_type_ts_and_src_arrive_as_they_left(make):
    got, speaker = heard(make("listener"), "a"), make("speaker")
    here = speaker.capture("a")
    speaker.publish("a", {"n": 1})
    there = got.wait(1)[0]
    assert there == here[0]
    assert (there["type"], there["src"]) == ("a", "speaker")


def test_a_relays_ts_and_src_are_kept(make):
    got, speaker = heard(make(), "a"), make("relay")
    speaker.publish("a", {"src": "origin", "ts": 12.5, "type": "b"})
    assert got.wait(1)[0] == {"src": "origin", "ts": 12.5, "type": "b"}


def test_the_payload_arrives_as_json_encodes_it(make):
    got, speaker = heard(make(), "a"), make()
    payload = {"list": [1, (2, 3)], "none": None, "nan": float("nan"), "text": "ü"}
    speaker.publish("a", payload)
    payload["list"].append(4)
    event = got.wait(1)[0]
    assert payload_of(event) == {"list": [1, [2, 3]], "none": None, "nan": None, "text": "ü"}


def test_each_subscriber_has_an_envelope_of_its_own(make):
    listener, speaker = make(), make()
    first, second = [], []

    def spoil(event):
        event["n"] = "spoiled"
        first.append(event)

    listener.subscribe("a", spoil)
    listener.subscribe("a", second.append).wait_ready(everyone=True)
    speaker.publish("a", {"n": 1})
    wait_until(lambda: first and second)
    assert ns(second) == [1]


@pytest.mark.parametrize("payload", [{"x": {1, 2}}, {"x": b"bytes"}, {"x": 2**70}, {"x": "\ud800"}, {"x": object()}])
def test_an_event_that_is_no_json_is_delivered_locally_only_and_the_next_one_arrives(make, payload, caplog):
    got, speaker = heard(make(), "a"), make()
    local = speaker.capture("a")
    speaker.publish("a", payload)
    speaker.publish("a", {"n": 2})
    assert ns(got.wait(1)) == [2]
    assert len(local) == 2
    assert speaker.stats()["unencodable"] == 1
    assert "stays in this process" in caplog.text


def test_an_event_over_the_size_limit_is_delivered_locally_only(make, caplog):
    got, speaker = heard(make(), "a"), make(max_bytes=1_000)
    speaker.publish("a", {"pad": "x" * 1_000})
    speaker.publish("a", {"n": 2})
    assert ns(got.wait(1)) == [2]
    assert "over the limit" in caplog.text


@pytest.mark.parametrize("topic", ["", "a..b", ".a", "a.*", "a b", "fabric.mine", "x" * 256])
def test_a_bad_topic_raises_at_the_publisher(make, topic):
    with pytest.raises(ValueError, match="topic"):
        make().publish(topic)


def test_a_payload_that_is_no_mapping_raises_at_the_publisher(make):
    with pytest.raises(TypeError, match="mapping"):
        make().publish("a", [1])


def test_an_event_without_subscribers_is_no_loss(make):
    speaker = make()
    wait_until(lambda: not speaker.has_interest("a"))
    speaker.publish("a")
    stats = speaker.stats()
    assert (stats["sent"], stats["dropped"], stats["waiting"]) == (0, 0, 0)


# Callbacks


def test_a_remote_event_is_delivered_on_the_delivery_thread(make):
    listener, speaker, threads = make(), make(), []
    listener.subscribe("a", lambda event: threads.append(threading.current_thread().name)).wait_ready(everyone=True)
    speaker.publish("a")
    wait_until(lambda: threads)
    assert threads == ["fabric-delivery"]


def test_a_local_event_is_delivered_in_the_publishers_stack(make):
    node, threads = make(), []
    node.subscribe("a", lambda event: threads.append(threading.current_thread()))
    node.publish("a")
    assert threads == [threading.current_thread()]


def test_after_a_callback_that_fails_the_next_callback_and_the_next_event_are_delivered(make, caplog):
    listener, speaker = make(), make()
    listener.subscribe("a", lambda event: 1 / 0)
    got = heard(listener, "a")
    speaker.publish("a")
    speaker.publish("a")
    got.wait(2)
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_can_answer(make):
    asker, answerer = make("asker"), make("answerer")
    answers = heard(asker, "answer")
    questions = answerer.subscribe("question", lambda event: answerer.publish("answer", {"n": event["n"] + 1}))
    questions.wait_ready(everyone=True)
    asker.publish("question", {"n": 1})
    assert ns(answers.wait(1)) == [2]


def test_waiting_to_be_ready_inside_a_callback_is_refused(make):
    listener, speaker, errors = make(), make(), []

    def wait(event):
        try:
            listener.wait_ready(1)
        except RuntimeError as error:
            errors.append(error)

    listener.subscribe("a", wait).wait_ready(everyone=True)
    speaker.publish("a")
    wait_until(lambda: errors)
    assert "inside a callback" in str(errors[0])


def test_an_ended_subscription_gets_nothing_more(make):
    listener, speaker = make(), make()
    ended, going_on = listener.capture("a"), heard(listener, "a")
    ended.cancel()
    speaker.publish("a")
    going_on.wait(1)
    assert len(ended) == 0


def test_after_the_last_subscription_ended_other_nodes_have_no_interest(make):
    listener, speaker = make(), make()
    subscription = listener.subscribe("a", print)
    subscription.wait_ready(everyone=True)
    assert speaker.has_interest("a")
    subscription.cancel()
    wait_until(lambda: not speaker.has_interest("a"))


def test_a_decorated_function_gets_remote_events(make):
    listener, speaker, seen = make(), make(), []

    @listener.on("a.*")
    def hear(event):
        seen.append(event)

    wait_until(lambda: speaker.has_interest("a.b"))
    speaker.publish("a.b", {"n": 1})
    wait_until(lambda: seen)
    assert ns(seen) == [1]


def test_events_can_be_iterated_over(make):
    listener, speaker = make(), make()
    with listener.events("a", timeout=5) as events:
        events.subscription.wait_ready(everyone=True)
        for n in range(3):
            speaker.publish("a", {"n": n})
        assert [next(events)["n"] for _ in range(3)] == [0, 1, 2]


def test_an_async_subscriber_runs_on_the_loop_it_was_registered_in(make):
    speaker = make("speaker")

    async def main():
        listener, seen = make("listener", ready=False), []

        async def hear(event):
            await asyncio.sleep(0)
            seen.append((event["n"], asyncio.get_running_loop() is loop))

        loop = asyncio.get_running_loop()
        await listener.subscribe("a", hear).ready(everyone=True)
        for n in range(5):
            speaker.publish("a", {"n": n})
        await await_until(lambda: len(seen) == 5)
        await listener.aclose()
        return seen

    assert asyncio.run(main()) == [(n, True) for n in range(5)]


def test_a_plain_callback_that_was_registered_on_a_loop_runs_there(make):
    speaker = make("speaker")

    async def main():
        listener, threads = make("listener", ready=False), []
        subscription = listener.subscribe("a", lambda event: threads.append(threading.current_thread()))
        await subscription.ready(everyone=True)
        await asyncio.to_thread(speaker.publish, "a")
        await await_until(lambda: threads)
        await listener.aclose()
        return threads == [threading.current_thread()]

    assert asyncio.run(main())


# Being ready


def test_a_node_that_is_ready_is_up(make):
    node = make("me")
    node.wait_ready()
    assert (node.state, node.name) == ("up", "me")


def test_a_link_that_comes_up_is_an_event(make):
    bus, seen = fabric.Bus(), []
    bus.subscribe("fabric.link.*", seen.append)
    node = make("me", bus=bus)
    wait_until(lambda: seen)
    assert (seen[0]["type"], seen[0]["node"], seen[0]["url"]) == ("fabric.link.up", "me", node.url)


def test_after_the_barrier_no_publisher_is_missed(make):
    speakers = [make(f"s{n}") for n in range(3)]
    listener = make("listener")
    for n in range(20):
        got = heard(listener, f"n.{n}")
        for speaker in speakers:
            speaker.publish(f"n.{n}")
        got.wait(3)


@pytest.mark.parametrize("verb", ["wait_ready", "members", "capture", "subscription"])
def test_blocking_methods_raise_on_the_thread_of_a_loop(make, verb):
    node = make()

    async def main():
        block = {
            "wait_ready": node.wait_ready,
            "members": node.members,
            "capture": node.capture("a").wait,
            "subscription": node.subscribe("a", print).wait_ready,
        }[verb]
        with pytest.raises(RuntimeError, match="running event loop"):
            block()

    asyncio.run(main())


# Messages


def test_a_message_arrives_with_its_sender(make):
    holder, sender = make("holder"), make("sender")
    inbox = holder.endpoint("inbox")
    sender.endpoint("me")
    receipt = sender.send("inbox", {"text": "hi"}, type="greeting", channel="c1", sender="me")
    assert receipt.wait() == 1
    message = inbox.receive(5)
    assert (message["to"], message.sender, message.body) == (
        "inbox",
        "me",
        {"text": "hi", "type": "greeting", "channel": "c1"},
    )
    assert (message["type"], message.id, receipt.state) == ("message", receipt.id, "delivered")
    assert not message.is_request


def test_a_sender_without_endpoint_is_anonymous(make):
    holder, sender = make("holder"), make("sender")
    inbox = holder.endpoint("inbox")
    sender.send("inbox", {}).wait()
    assert inbox.receive(5).sender == "anonymous:sender"


def test_a_node_can_message_its_own_endpoint(make):
    node = make()
    inbox = node.endpoint("inbox")
    node.send("inbox", {"n": 1}).wait()
    assert inbox.receive(5).body == {"n": 1}


def test_messages_of_one_sender_are_handled_in_order(make):
    holder, sender, seen = make(), make(), []
    holder.endpoint("inbox", lambda message: seen.append(message.body["n"]))
    for receipt in [sender.send("inbox", {"n": n}) for n in range(100)]:
        receipt.wait()
    wait_until(lambda: len(seen) == 100)
    assert seen == list(range(100))


def test_a_handlers_value_is_the_answer(make):
    holder, asker = make(), make()
    holder.endpoint("adder", lambda message: {"sum": message.body["a"] + message.body["b"]})
    receipt = asker.request("adder", {"a": 1, "b": 2})
    assert (receipt.wait(), receipt.state) == ({"sum": 3}, "replied")


def test_an_inbox_can_answer_later(make):
    holder, asker = make(), make()
    inbox = holder.endpoint("inbox")
    receipt = asker.request("inbox", {})
    assert inbox.receive(5).reply([1, None])
    assert receipt.wait() == [1, None]


def test_an_async_handler_answers_from_its_loop(make):
    asker = make("asker")

    async def main():
        holder = make("holder", ready=False)

        async def handle(message):
            await asyncio.sleep(0)
            return message.body["n"] + 1

        await holder.endpoint("adder", handle).ready()
        answer = await asker.request("adder", {"n": 1})
        await holder.aclose()
        return answer

    assert asyncio.run(main()) == 2


def test_what_a_handler_raises_reaches_the_asker(make, caplog):
    holder, asker = make(), make()
    holder.endpoint("broken", lambda message: message.body["missing"])
    with pytest.raises(RemoteError) as caught:
        asker.request("broken", {}).wait()
    assert (caught.value.type, caught.value.to) == ("KeyError", "broken")
    assert "failed on message" in caplog.text


def test_a_message_to_an_unknown_name_fails_at_once_with_similar_names(make):
    holder, sender = make(), make()
    holder.endpoint("worker")
    with pytest.raises(NoSuchEndpoint) as caught:
        sender.send("wroker", {}).wait()
    assert caught.value.similar == ("worker",)


def test_a_full_inbox_is_busy(make):
    holder, sender = make(), make()
    holder.endpoint("inbox", max_inbox=1)
    sender.send("inbox", {}).wait()
    with pytest.raises(EndpointBusy):
        sender.send("inbox", {}).wait()


def test_a_request_without_an_answer_ends_at_its_deadline(make):
    holder, asker = make(), make()
    inbox = holder.endpoint("inbox")
    with pytest.raises(DeliveryTimeout):
        asker.request("inbox", {}, timeout=0.1).wait()
    assert len(inbox) == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"x": {1}}, BadMessage),
        ({"x": float("nan")}, BadMessage),
        ([1], BadMessage),
        ({1: 2}, BadMessage),
        ({"x": "x" * 10 * 1024 * 1024}, MessageTooLarge),
    ],
)
def test_a_body_that_cannot_be_carried_is_refused_at_the_sender(make, body, error):
    with pytest.raises(error):
        make().send("inbox", body)


@pytest.mark.parametrize("name", ["", "*", "anonymous:me", "a b", "x" * 256])
def test_an_invalid_name_is_refused(make, name):
    with pytest.raises(ValueError, match="name"):
        make().endpoint(name)


def test_sending_from_an_endpoint_of_another_node_is_refused(make):
    with pytest.raises(SenderNotOwned):
        make().send("inbox", {}, sender="not-mine")


def test_a_receipt_can_be_awaited(make):
    holder, sender = make(), make()
    holder.endpoint("inbox")

    async def main():
        return await sender.send("inbox", {})

    assert asyncio.run(main()) == 1


def test_waiting_for_a_receipt_on_a_loop_is_refused(make):
    holder, sender = make(), make()
    holder.endpoint("inbox")

    async def main():
        receipt = sender.request("inbox", {}, timeout=0.2)
        with pytest.raises(RuntimeError, match="running event loop"):
            receipt.wait()
        with pytest.raises(DeliveryTimeout):
            await receipt

    asyncio.run(main())


def test_a_broadcast_reaches_every_endpoint_but_the_senders(make):
    nodes = [make(f"n{n}") for n in range(3)]
    inboxes = [node.endpoint(f"inbox-{n}") for n, node in enumerate(nodes)]
    assert nodes[0].send("*", {"n": 1}, sender="inbox-0").wait() == 2
    assert [len(inbox) for inbox in inboxes] == [0, 1, 1]


def test_a_request_to_all_endpoints_is_refused(make):
    with pytest.raises(ValueError, match="many answers"):
        make().request("*", {})


# Names


def test_a_taken_name_is_refused_and_its_holder_named(make):
    first, second = make("first"), make("second")
    first.endpoint("name")
    with pytest.raises(NameTaken, match="first"):
        second.endpoint("name").wait_ready()


def test_replace_takes_the_name_from_its_holder(make):
    first, second, sender = make(), make(), make()
    old = first.endpoint("name")
    new = second.endpoint("name", policy="replace")
    wait_until(lambda: old.state == "lost")
    sender.send("name", {}).wait()
    assert len(new) == 1


def test_suffix_registers_the_next_free_name(make):
    nodes = [make() for _ in range(3)]
    names = [node.endpoint("name", policy="suffix").name for node in nodes]
    assert names == ["name", "name-2", "name-3"]


def test_share_gives_each_message_to_one_of_them_in_turn(make):
    members = [make().endpoint("group", policy="share") for _ in range(3)]
    sender = make()
    for _ in range(6):
        sender.send("group", {}).wait()
    assert [len(member) for member in members] == [2, 2, 2]


def test_an_unknown_policy_is_refused(make):
    with pytest.raises(ValueError, match="policy is one of"):
        make().endpoint("name", policy="steal")


def test_a_closed_endpoint_releases_its_name(make):
    first, second = make(), make()
    with first.endpoint("name"):
        pass
    wait_until(lambda: not [facts for facts in second.endpoints() if facts["node"] == first.name])
    second.endpoint("name").wait_ready()


def test_every_node_can_list_the_members(make):
    first, second = make("first"), make("second")
    endpoint = first.endpoint("name")
    [facts] = [facts for facts in second.endpoints() if facts["endpoint"] == "name"]
    assert (facts["node"], facts["session"], facts["origin"]) == ("first", endpoint.session, first.origin.hex())
    assert {"first", "second"} <= {facts["node"] for facts in second.members().nodes}


def test_the_list_of_members_can_be_awaited(make):
    node = make("me")

    async def main():
        return await node.amembers()

    assert "me" in {facts["node"] for facts in asyncio.run(main()).nodes}


def test_joining_and_leaving_are_events(make):
    news = heard(make("watcher"), "fabric.node.*")
    make("passer-by").close()
    wait_until(
        lambda: {"fabric.node.joined", "fabric.node.left"} <= {e["type"] for e in news if e["name"] == "passer-by"}
    )


def test_registering_and_releasing_a_name_are_events(make):
    news, node = heard(make("watcher"), "fabric.endpoint.*"), make("other")
    node.endpoint("name").close()
    wait_until(lambda: len([event for event in news if event["name"] == "name"]) >= 2)
    assert [event["type"] for event in news if event["name"] == "name"] == [
        "fabric.endpoint.joined",
        "fabric.endpoint.left",
    ]


def test_history_begins_with_the_present_members(make):
    make("early").endpoint("name")
    seen = []
    make("late").subscribe("fabric.endpoint.joined", seen.append, history=True)
    wait_until(lambda: [event for event in seen if event["name"] == "name"])
    assert next(event for event in seen if event["name"] == "name")["history"] is True


# Leaving


def test_events_that_were_published_before_closing_arrive(make):
    got, speaker = heard(make(), "a"), make()
    for n in range(100):
        speaker.publish("a", {"n": n})
    assert speaker.close().abandoned == 0
    assert ns(got.wait(100)) == list(range(100))


def test_methods_of_a_closed_node_raise_and_its_bus_works_alone(make):
    other, node = make(), make()
    got, local = heard(other, "a"), node.capture("a")
    node.close()
    assert (node.state, node.close()) == ("closed", Drained())
    node.publish("a")
    other.publish("a", {"n": 1})
    assert len(local) == 1
    assert ns(got.wait(1)) == [1]
    with pytest.raises(Closed):
        node.send("inbox", {})


def test_the_endpoints_of_a_closed_node_are_gone(make):
    holder, sender = make(), make()
    inbox = holder.endpoint("inbox")
    holder.close()
    assert inbox.state == "closed"
    with pytest.raises(NoSuchEndpoint):
        sender.send("inbox", {}).wait()


def test_a_message_that_waits_when_its_node_closes_fails_with_closed(make):
    holder, asker = make(), make()
    holder.endpoint("inbox")
    receipt = asker.request("inbox", {}, timeout=30)
    wait_until(lambda: receipt.state == "delivered")
    asker.close(timeout=0.01)
    with pytest.raises(Closed):
        receipt.wait()


def test_a_node_is_a_context_manager(make):
    with make() as node:
        assert node.state == "up"
    assert node.state == "closed"


def test_stats_have_the_same_names(make):
    node = make()
    assert set(node.stats()) >= {"node", "url", "state", "origin", "sent", "delivered", "waiting", "dropped", "missed"}
    assert set(node.stats()["messages"]) >= {"pending", "endpoints", "sent", "received"}


def test_the_counts_of_sent_and_delivered_events_agree(make):
    listener, speaker = make(), make()
    got = heard(listener, "a")
    for n in range(200):
        speaker.publish("a", {"n": n})
    got.wait(200)
    assert (speaker.stats()["sent"], listener.stats()["delivered"]) == (200, 200)
    assert (listener.stats()["missed"], listener.stats()["duplicates"], speaker.stats()["dropped"]) == (0, 0, 0)


# Capturing


def test_a_capture_records_local_and_remote_events(make):
    listener, speaker = make("listener"), make("speaker")
    captured = heard(listener, "a.**")
    listener.publish("a.here")
    speaker.publish("a.there")
    captured.wait(2)
    assert captured.topics == ["a.here", "a.there"]


def test_a_capture_can_be_awaited(make):
    speaker = make("speaker")

    async def main():
        async with make("listener", ready=False) as listener:
            with listener.capture("a") as captured:
                await captured.ready()
                await asyncio.to_thread(speaker.publish, "a", {"n": 1})
                return ns(await captured.await_(1))

    assert asyncio.run(main()) == [1]


# Log records


def test_a_log_record_is_an_event_at_another_node(make):
    import logging

    got, node = heard(make(), "log.warning.**"), make("app")
    handler = fabric.logging_handler(node=node)
    log = logging.getLogger("contract")
    log.addHandler(handler)
    try:
        log.warning("careful, %s", "you")
    finally:
        log.removeHandler(handler)
    event = got.wait(1)[0]
    assert (event["type"], event["message"], event["src"]) == ("log.warning.contract", "careful, you", "app")
