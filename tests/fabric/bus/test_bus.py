import time

import pytest

from fabric.bus.bus import Bus


def topics(events):
    return [event["type"] for event in events]


# Publishing


def test_a_subscriber_gets_what_is_published(fabric_bus, seen):
    events = seen("tui.tool.start")
    fabric_bus.publish("tui.tool.start", {"name": "grep"})
    assert [(event["type"], event["name"]) for event in events] == [("tui.tool.start", "grep")]


def test_publish_returns_none(fabric_bus):
    assert fabric_bus.publish("a") is None


def test_an_event_needs_no_payload(fabric_bus, seen):
    events = seen("a.b")
    fabric_bus.publish("a.b")
    assert sorted(events[0]) == ["src", "ts", "type"]


def test_an_event_is_stamped_with_the_time_and_its_first_segment(fabric_bus, seen):
    events = seen("tui.start")
    before = time.time()
    fabric_bus.publish("tui.start")
    assert before <= events[0]["ts"] <= time.time()
    assert (events[0]["type"], events[0]["src"]) == ("tui.start", "tui")


def test_a_bus_with_a_source_stamps_that(seen):
    bus = Bus(source="gateway")
    events = seen("tui.start", bus)
    bus.publish("tui.start")
    assert events[0]["src"] == "gateway"


def test_a_source_given_later_is_stamped_from_then_on(fabric_bus, seen):
    events = seen("tui.start")
    fabric_bus.publish("tui.start")
    fabric_bus.source = "gateway"
    fabric_bus.publish("tui.start")
    assert [event["src"] for event in events] == ["tui", "gateway"]


def test_a_relays_ts_and_src_survive(fabric_bus, seen):
    events = seen("a")
    fabric_bus.publish("a", {"ts": 12.5, "src": "elsewhere"})
    assert (events[0]["ts"], events[0]["src"]) == (12.5, "elsewhere")


def test_routing_uses_the_topic_and_not_the_payloads_type(fabric_bus, seen):
    by_topic, by_type = seen("a.b"), seen("other")
    fabric_bus.publish("a.b", {"type": "other"})
    assert (topics(by_topic), by_type) == (["other"], [])


def test_a_bad_topic_is_a_value_error(fabric_bus):
    for topic in ("", "a..b", "a.*", "**", "a b", "x" * 256):
        with pytest.raises(ValueError):
            fabric_bus.publish(topic)


@pytest.mark.parametrize("topic", [None, 1, b"a", ["a"], {}])
def test_a_topic_that_is_no_str_is_a_type_error(fabric_bus, topic):
    with pytest.raises(TypeError, match="a topic is a str"):
        fabric_bus.publish(topic)


@pytest.mark.parametrize("payload", ["text", 3, [("a", 1)]])
def test_a_payload_that_is_no_mapping_is_a_type_error_with_and_without_subscribers(fabric_bus, payload, seen):
    with pytest.raises(TypeError, match="mapping"):
        fabric_bus.publish("a", payload)
    seen("a")
    with pytest.raises(TypeError, match="mapping"):
        fabric_bus.publish("a", payload)


@pytest.mark.parametrize("topic", ["fabric", "fabric.gap", "fabric.link.up"])
def test_the_systems_own_topics_cannot_be_published(fabric_bus, topic, seen):
    events = seen("**")
    with pytest.raises(ValueError, match="the system's own"):
        fabric_bus.publish(topic)
    assert events == []


def test_a_reserved_topic_stays_refused_after_it_was_announced(fabric_bus, seen):
    seen("fabric.**")
    fabric_bus.announce("fabric.link.up")
    with pytest.raises(ValueError):
        fabric_bus.publish("fabric.link.up")


def test_an_announcement_reaches_subscribers_with_src_fabric(fabric_bus, seen):
    events = seen("fabric.**")
    fabric_bus.announce("fabric.link.up", {"node": "n"})
    assert [(event["type"], event["src"], event["node"]) for event in events] == [("fabric.link.up", "fabric", "n")]


# Matching and delivery


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("a.*", ["a.b"]),
        ("a.**", ["a", "a.b", "a.b.c"]),
        ("**", ["a", "a.b", "a.b.c", "b"]),
        ("a.**.c", ["a.b.c"]),
    ],
)
def test_patterns_choose_topics(fabric_bus, pattern, expected, seen):
    events = seen(pattern)
    for topic in ("a", "a.b", "a.b.c", "b"):
        fabric_bus.publish(topic)
    assert topics(events) == expected


@pytest.mark.parametrize("pattern", ["", "a..b", "a*", "a b"])
def test_a_bad_pattern_is_a_value_error_and_subscribes_nothing(fabric_bus, pattern):
    with pytest.raises(ValueError):
        fabric_bus.subscribe(pattern, print)
    assert len(fabric_bus) == 0


def test_a_callback_that_cannot_be_called_is_a_type_error(fabric_bus):
    with pytest.raises(TypeError, match="cannot be called"):
        fabric_bus.subscribe("a", 3)


def test_a_sync_callback_runs_in_the_publishers_stack(fabric_bus):
    order = []
    fabric_bus.subscribe("a", lambda event: order.append("callback"))
    order.append("before")
    fabric_bus.publish("a")
    order.append("after")
    assert order == ["before", "callback", "after"]


def test_callbacks_run_in_registration_order_whatever_their_patterns(fabric_bus):
    order = []
    for index, pattern in enumerate(["**", "a.b", "a.*", "**.b", "a.b", "**"]):
        fabric_bus.subscribe(pattern, lambda event, index=index: order.append(index))
    fabric_bus.publish("a.b")
    assert order == [0, 1, 2, 3, 4, 5]


def test_each_subscriber_owns_its_envelope(fabric_bus):
    first, second = [], []
    fabric_bus.subscribe("a", lambda event: (event.update(spoiled=True), event.pop("n"), first.append(event)))
    fabric_bus.subscribe("a", second.append)
    fabric_bus.publish("a", {"n": 1})
    assert first[0]["spoiled"]
    assert "spoiled" not in second[0]
    assert second[0]["n"] == 1


def test_a_subscriber_that_changes_its_envelope_does_not_change_the_payload(fabric_bus):
    payload = {"n": 1}
    fabric_bus.subscribe("a", lambda event: event.clear())
    fabric_bus.publish("a", payload)
    assert payload == {"n": 1}


def test_an_exception_reaches_neither_the_publisher_nor_the_next_subscriber(fabric_bus, caplog, seen):
    events = seen("a")
    fabric_bus.subscribe("a", lambda event: 1 / 0)
    after = seen("a")
    fabric_bus.publish("a")
    assert len(events) == len(after) == 1
    assert "'a'" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_only_subscriber_may_raise_too(fabric_bus, caplog):
    fabric_bus.subscribe("a", lambda event: 1 / 0)
    fabric_bus.publish("a")
    assert "ZeroDivisionError" in caplog.text


def test_a_keyboard_interrupt_is_not_swallowed(fabric_bus):
    def interrupt(event):
        raise KeyboardInterrupt

    fabric_bus.subscribe("a", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fabric_bus.publish("a")


def test_an_event_without_subscribers_logs_nothing(fabric_bus, caplog):
    fabric_bus.publish("a")
    assert caplog.text == ""
