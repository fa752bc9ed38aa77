import itertools
import threading
import time

import pytest

import fabric
from fabric.errors import AlreadyConnected, NotReady, SettingsError
from fabric.testing import wait_until


def collect(node, pattern):
    """A list that fills with what a subscription gets; everyone who publishes knows of it."""
    events = []
    node.subscribe(pattern, events.append).wait_ready(everyone=True)
    return events


def arrive(events, count):
    wait_until(lambda: len(events) >= count, what=f"{count} events arrive")
    return events


# One bus in several processes


def test_what_one_node_publishes_another_hears(node):
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


def test_only_what_matches_arrives(node):
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


def test_after_the_last_subscription_ended_nothing_is_wanted(node):
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


def test_an_event_that_orjson_refuses_costs_that_one_and_is_logged_once_a_topic(node, caplog):
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


def test_a_payload_nested_too_deep_costs_that_one_event(node):
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


def test_an_event_over_the_size_limit_costs_that_one_event(node, caplog):
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


def test_a_later_change_of_the_payload_does_not_reach_anybody(node):
    events, speaker, payload = collect(node(), "node.a"), node(), {"list": [1]}
    speaker.publish("node.a", payload)
    payload["list"].append(2)
    assert arrive(events, 1)[0]["list"] == [1]


def test_a_failing_handler_costs_neither_the_next_handler_nor_the_next_event(node, caplog):
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


def test_nothing_is_left_behind_a_burst(node):
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


# Connecting


def test_connect_returns_at_once_without_a_proxy_and_the_bus_works(lonely_url, fabric_node):
    start = time.monotonic()
    alone = fabric_node("alone", url=lonely_url, ready=False)
    assert time.monotonic() - start < 1.0
    events = []
    alone.subscribe("node.a", events.append)
    alone.publish("node.a")
    assert (len(events), alone.state) == (1, "connecting")


def test_connect_without_a_bus_joins_the_default_bus(shared_proxy, node):
    events = collect(node(), "node.a")
    with fabric.connect("mine", url=shared_proxy.url, autostart=False) as mine:
        assert mine.bus is fabric.default_bus
        mine.wait_ready()
        fabric.publish("node.a")
        assert arrive(events, 1)[0]["src"] == "mine"
    fabric.default_bus.source = None


def test_the_same_bus_and_address_is_the_same_node_closed_by_its_last_holder(node, fabric_bus):
    first, second = node("one", bus=fabric_bus), node("one", bus=fabric_bus)
    assert first is second
    first.close()
    assert second.state == "up"
    second.close()
    assert second.state == "closed"


def test_the_same_bus_and_another_address_is_an_error(node, fabric_bus, lonely_url):
    node(bus=fabric_bus)
    with pytest.raises(AlreadyConnected, match="nobody") as caught:
        node(bus=fabric_bus, url=lonely_url)
    assert "already joined" in str(caught.value)


def test_the_same_bus_under_another_name_is_an_error(node, fabric_bus):
    node("one", bus=fabric_bus)
    with pytest.raises(AlreadyConnected, match="'one', not as 'two'"):
        node("two", bus=fabric_bus)


def test_the_same_bus_with_other_settings_is_an_error(node, fabric_bus):
    node(bus=fabric_bus, max_bytes=1_000)
    with pytest.raises(AlreadyConnected, match="max_bytes"):
        node(bus=fabric_bus, max_bytes=2_000)


def test_after_close_a_bus_can_join_again(node, fabric_bus):
    node(bus=fabric_bus).close()
    again = node(bus=fabric_bus)
    events = collect(again, "node.a")
    node().publish("node.a")
    arrive(events, 1)


def test_an_unknown_setting_is_a_type_error(lonely_url):
    with pytest.raises(TypeError, match="no setting 'colour'"):
        fabric.connect(url=lonely_url, bus=fabric.Bus(), colour="red")


def test_a_wrong_address_is_a_settings_error():
    with pytest.raises(SettingsError, match="addresses look like"):
        fabric.connect(url="http://localhost", bus=fabric.Bus())


def test_the_environment_names_the_address(shared_proxy, monkeypatch):
    monkeypatch.setenv("FABRIC_URL", shared_proxy.url)
    with fabric.connect(bus=fabric.Bus()) as node:
        node.wait_ready()
        assert node.url == shared_proxy.url


def test_a_name_given_to_connect_leaves_the_buss_own_source(node):
    bus = fabric.Bus(source="bus")
    node("name", bus=bus)
    assert bus.source == "bus"


def test_nodes_have_origins_of_their_own(node):
    assert len({node().origin for _ in range(3)}) == 3


def test_a_node_says_what_it_is(node):
    single = node("me")
    assert repr(single) == f"<Node 'me' up at {single.url}>"


# Closing


def test_closing_sends_what_waits(node):
    events, speaker = collect(node(), "node.a"), node()
    for n in range(2_000):
        speaker.publish("node.a", {"n": n})
    assert speaker.close() == 0
    assert [event["n"] for event in arrive(events, 2_000)] == list(range(2_000))


def test_closing_without_a_proxy_returns_how_many_could_not_be_sent(lonely_url, fabric_node, caplog):
    alone = fabric_node("alone", url=lonely_url, ready=False)
    for _ in range(5):
        alone.publish("node.a")
    assert alone.close(0.05) == 5
    assert "5 events unsent" in caplog.text


def test_closing_does_not_wait_longer_than_its_timeout(lonely_url, fabric_node):
    alone = fabric_node(url=lonely_url, ready=False)
    alone.publish("node.a")
    start = time.monotonic()
    alone.close(0.1)
    assert time.monotonic() - start < 1.5


def test_closing_an_idle_node_is_quick(node):
    single = node()
    start = time.monotonic()
    single.close()
    assert time.monotonic() - start < 1.0


def test_closing_twice_is_closing_once(node):
    single = node()
    assert (single.close(), single.close()) == (0, 0)


def test_after_close_the_local_bus_goes_on(node):
    single, events = node(), []
    single.subscribe("node.a", events.append)
    single.close()
    single.publish("node.a")
    assert len(events) == 1


def test_a_callback_can_close_its_node(node):
    listener, speaker = node(), node()
    listener.subscribe("node.a", lambda event: listener.close()).wait_ready(everyone=True)
    speaker.publish("node.a")
    wait_until(lambda: listener.state == "closed")


def test_closing_while_events_pour_in_does_not_hang(node):
    listener, speaker, stop = node(), node(), threading.Event()
    events = collect(listener, "node.a")

    def pour():
        while not stop.is_set():
            speaker.publish("node.a")

    thread = threading.Thread(target=pour)
    thread.start()
    arrive(events, 100)
    listener.close()
    stop.set()
    thread.join()
    assert listener.state == "closed"


def test_a_slow_callback_delays_close_but_does_not_hang_it(node):
    listener, speaker = node(), node()
    inside, leave = threading.Event(), threading.Event()
    listener.subscribe("node.a", lambda event: (inside.set(), leave.wait(5))).wait_ready(everyone=True)
    speaker.publish("node.a")
    assert inside.wait(5)
    threading.Timer(0.1, leave.set).start()
    listener.close()
    assert listener.state == "closed"


# Waiting


def test_waiting_without_a_proxy_ends_with_not_ready(lonely_url, fabric_node):
    alone = fabric_node("alone", url=lonely_url, ready=False)
    with pytest.raises(NotReady, match=r"'alone' was not ready after 0\.05 s.*fabric proxy --url") as caught:
        alone.wait_ready(0.05)
    assert (caught.value.url, caught.value.waited) == (lonely_url, 0.05)


def test_waiting_for_a_subscription_without_a_proxy_names_its_pattern(lonely_url, fabric_node):
    handle = fabric_node(url=lonely_url, ready=False).subscribe("node.*", print)
    with pytest.raises(NotReady, match=r"the subscription to 'node\.\*'"):
        handle.wait_ready(0.05)


def test_waiting_inside_a_callback_of_a_remote_event_raises(node):
    listener, errors = node(), []

    def wait(event):
        try:
            listener.wait_ready()
        except RuntimeError as error:
            errors.append(str(error))

    listener.subscribe("node.a", wait).wait_ready(everyone=True)
    node().publish("node.a")
    arrive(errors, 1)
    assert "inside a callback" in errors[0]


def test_a_subscription_that_is_ready_misses_nothing(node):
    listener, speaker = node(), node()
    for n in range(30):
        events = collect(listener, f"node.r{n}")
        speaker.publish(f"node.r{n}")
        arrive(events, 1)


def test_a_one_shot_publisher_is_heard(node):
    events = collect(node(), "node.a")
    for n in range(1, 11):
        with node(ready=False) as shot:
            shot.publish("node.a", {"n": n})
    assert [event["n"] for event in arrive(events, 10)] == list(range(1, 11))


# Counting


def test_the_counters_name_every_fate(node):
    stats = node().stats()
    fates = {"sent", "delivered", "waiting", "dropped", "unwanted", "unencodable", "missed", "joining", "duplicates"}
    assert fates | {"node", "url", "state", "origin", "rejected", "echoes", "gaps"} <= stats.keys()


def test_counters_count(node):
    listener, speaker = node(), node()
    events = collect(listener, "node.a")
    for _ in range(100):
        speaker.publish("node.a")
        speaker.publish("node.unwanted")
    arrive(events, 100)
    assert listener.stats()["delivered"] == 100
    wait_until(lambda: speaker.stats()["sent"] == 100)
    assert {name: speaker.stats()[name] for name in ("waiting", "dropped", "unencodable")} == {
        "waiting": 0,
        "dropped": 0,
        "unencodable": 0,
    }


def test_opening_and_closing_leaves_no_descriptor(node):
    import os

    node().close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        node().close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_events_of_several_publishers_are_all_there(node):
    events = collect(node(), "node.**")
    speakers = [node(f"s{n}") for n in range(4)]
    for n, speaker in itertools.product(range(200), speakers):
        speaker.publish("node.a", {"n": n})
    arrive(events, 800)
    for speaker in speakers:
        assert [event["n"] for event in events if event["src"] == speaker.name] == list(range(200))
