import itertools
import threading

from fabric.testing import wait_until
from tests.fabric.node.nodes import arrive, collect

# One bus in several processes


def test_an_event_of_one_node_reaches_a_subscriber_of_another(node):
    events = collect(node("listener"), "node.a")
    node("speaker").publish("node.a", {"n": 1})
    assert [event["n"] for event in arrive(events, 1)] == [1]


def test_ts_and_src_arrive_as_they_left(node):
    speaker, remote, local = node("speaker"), collect(node("listener"), "node.a"), []
    speaker.subscribe("node.a", local.append)
    speaker.publish("node.a", {"deep": {"list": [1, None, 1.5, "ü"]}})
    assert arrive(remote, 1) == local
    assert remote[0]["src"] == "speaker"


def test_a_relays_ts_and_src_survive_the_way(node):
    events = collect(node(), "node.a")
    node("relay").publish("node.a", {"ts": 12.5, "src": "elsewhere"})
    assert (arrive(events, 1)[0]["ts"], events[0]["src"]) == (12.5, "elsewhere")


def test_a_node_without_name_stamps_the_topics_first_segment(node):
    events = collect(node(), "node.a")
    node().publish("node.a")
    assert arrive(events, 1)[0]["src"] == "node"


def test_routing_uses_the_topic_and_not_the_payloads_type(node):
    events = collect(node(), "node.**")
    node().publish("node.a", {"type": "other"})
    assert arrive(events, 1)[0]["type"] == "other"


def test_events_of_one_origin_arrive_in_order_whatever_their_topics(node):
    events, speaker = collect(node(), "node.**"), node()
    for n in range(5_000):
        speaker.publish(f"node.t{n % 7}", {"n": n})
    assert [event["n"] for event in arrive(events, 5_000)] == list(range(5_000))


def test_only_matching_events_arrive(node):
    listener, speaker = node(), node()
    events = collect(listener, "node.eu")
    for topic in ("node.europe", "node", "node.eu.de", "other", "node.eu"):
        speaker.publish(topic)
    assert [event["type"] for event in arrive(events, 1)] == ["node.eu"]
    assert listener.stats()["delivered"] == 1


def test_two_nodes_that_subscribe_to_everything_do_not_echo(node):
    nodes = [node(f"n{n}") for n in range(3)]
    seen = [collect(each, "**") for each in nodes]
    for each in nodes:
        each.publish("node.a", {"from": each.name})
    marks = [collect(each, "node.end") for each in nodes]
    for each in nodes:
        each.publish("node.end")
    for events in marks:
        arrive(events, 3)
    for events in seen:
        assert sorted(event["from"] for event in events if event["type"] == "node.a") == ["n0", "n1", "n2"]


def test_a_nodes_own_events_come_back_and_are_dropped_there(node):
    single = node()
    events = collect(single, "node.a")
    single.publish("node.a")
    wait_until(lambda: single.stats()["echoes"] == 1)
    assert len(events) == 1
    assert single.stats()["delivered"] == 0


def test_overlapping_patterns_deliver_once_to_each_subscription(node):
    listener, speaker = node(), node()
    seen = [collect(listener, pattern) for pattern in ("node.a", "node.*", "node.**", "**", "*.a", "node.a")]
    speaker.publish("node.a", {"n": 1})
    speaker.publish("node.a", {"n": 2})
    for events in seen:
        assert [event["n"] for event in arrive(events, 2) if event["type"] == "node.a"] == [1, 2]


def test_each_subscriber_owns_a_remote_event(node):
    listener = node()
    listener.subscribe("node.a", lambda event: event.clear())
    events = collect(listener, "node.a")
    node().publish("node.a", {"n": 1})
    assert arrive(events, 1)[0]["n"] == 1


def test_one_of_two_patterns_with_the_same_prefix_can_end(node):
    listener, speaker = node(), node()
    first = listener.subscribe("node.*", lambda event: None)
    events = collect(listener, "node.*")
    first.cancel()
    listener.wait_ready()
    speaker.publish("node.a")
    assert len(arrive(events, 1)) == 1


def test_after_the_last_subscription_ended_there_is_no_interest(node):
    listener, speaker = node(), node()
    handle = listener.subscribe("node.a", lambda event: None)
    handle.wait_ready(everyone=True)
    assert speaker.has_interest("node.a")
    handle.cancel()
    wait_until(lambda: not speaker.has_interest("node.a"))
    speaker.publish("node.a")
    assert speaker.stats()["sent"] == 0


def test_the_systems_own_events_stay_in_their_process(node):
    listener = node()
    events = collect(listener, "fabric.link.**")
    node()
    listener.wait_ready()
    assert events == []


def test_an_event_that_orjson_refuses_is_counted_and_logged_once_a_topic(node, caplog):
    listener, speaker, local = node(), node(), []
    events = collect(listener, "node.**")
    speaker.subscribe("node.**", local.append)
    for bad in ({1, 2}, b"bytes", object(), 1 << 70, {1: "key"}, "\ud800"):
        speaker.publish("node.a", {"bad": bad})
    speaker.publish("node.a", {"good": 1})
    assert [event["good"] for event in arrive(events, 1)] == [1]
    assert len(local) == 7
    assert speaker.stats()["unencodable"] == 6
    assert len([record for record in caplog.records if "stays in this process" in record.getMessage()]) == 1


def test_an_event_that_is_nested_too_deeply_is_counted_and_the_next_one_arrives(node):
    listener, speaker = node(), node()
    events = collect(listener, "node.a")
    deep = []
    for _ in range(10_000):
        deep = [deep]
    speaker.publish("node.a", {"deep": deep})
    speaker.publish("node.a", {"n": 1})
    assert arrive(events, 1)[0]["n"] == 1
    assert speaker.stats()["unencodable"] == 1
    while deep:  # freed without recursion
        deep = deep[0]


def test_an_event_over_the_size_limit_is_counted_and_the_next_one_arrives(node, caplog):
    listener, speaker = node(), node(max_bytes=10_000)
    events = collect(listener, "node.a")
    speaker.publish("node.a", {"pad": "x" * 10_000})
    speaker.publish("node.a", {"n": 1})
    assert arrive(events, 1)[0]["n"] == 1
    assert speaker.stats()["unencodable"] == 1
    assert "over the limit" in caplog.text


def test_an_event_of_a_megabyte_arrives(node):
    events = collect(node(), "node.a")
    node().publish("node.a", {"pad": "x" * 1_000_000})
    assert len(arrive(events, 1)[0]["pad"]) == 1_000_000


def test_a_later_change_of_the_payload_does_not_change_the_event(node):
    events, speaker, payload = collect(node(), "node.a"), node(), {"list": [1]}
    speaker.publish("node.a", payload)
    payload["list"].append(2)
    assert arrive(events, 1)[0]["list"] == [1]


def test_after_a_handler_that_fails_the_next_handler_and_the_next_event_are_delivered(node, caplog):
    listener, speaker = node(), node()
    listener.subscribe("node.a", lambda event: 1 / 0)
    events = collect(listener, "node.a")
    speaker.publish("node.a")
    speaker.publish("node.a")
    assert len(arrive(events, 2)) == 2
    assert "ZeroDivisionError" in caplog.text


def test_many_threads_that_publish_lose_nothing_and_keep_their_order(node):
    events, speaker = collect(node(), "node.**"), node()

    def publish(number):
        for n in range(500):
            speaker.publish(f"node.t{number}", {"thread": number, "n": n})

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrive(events, 4_000)
    for number in range(8):
        assert [event["n"] for event in events if event["thread"] == number] == list(range(500))


def test_after_a_burst_the_outbox_is_empty(node):
    events, speaker = collect(node(), "node.a"), node()
    for burst in range(1, 30):
        for _ in range(burst * 7):
            speaker.publish("node.a")
        total = sum(7 * size for size in range(1, burst + 1))
        wait_until(lambda total=total: len(events) == total, what="the burst arrives with nothing published after it")


def test_a_callback_can_answer_over_the_fabric(node):
    asker, answerer = node("asker"), node("answerer")
    answers = collect(asker, "node.answer")
    answerer.subscribe(
        "node.question", lambda event: answerer.publish("node.answer", {"n": event["n"] + 1})
    ).wait_ready(everyone=True)
    asker.publish("node.question", {"n": 1})
    assert arrive(answers, 1)[0]["n"] == 2


def test_a_callback_can_subscribe(node):
    listener, speaker, late = node(), node(), []
    added = threading.Event()

    def add(event):
        listener.subscribe("node.b", late.append)
        added.set()

    listener.subscribe("node.a", add).wait_ready(everyone=True)
    speaker.publish("node.a")
    assert added.wait(5)
    wait_until(lambda: speaker.has_interest("node.b"))
    speaker.publish("node.b")
    arrive(late, 1)


def test_events_of_several_publishers_are_all_there(node):
    events = collect(node(), "node.**")
    speakers = [node(f"s{n}") for n in range(4)]
    for n, speaker in itertools.product(range(200), speakers):
        speaker.publish("node.a", {"n": n})
    arrive(events, 800)
    for speaker in speakers:
        assert [event["n"] for event in events if event["src"] == speaker.name] == list(range(200))
