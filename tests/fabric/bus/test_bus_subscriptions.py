"""Subscriptions: as handles, inside callbacks, with the topic; and the default bus."""

import asyncio
import threading

import pytest

import fabric
from fabric.bus.bus import Bus
from fabric.testing import await_until

# Handles


def test_each_subscribe_is_a_distinct_handle_also_for_the_same_callback(fabric_bus):
    events = []
    first, second = fabric_bus.subscribe("a", events.append), fabric_bus.subscribe("a", events.append)
    fabric_bus.publish("a")
    assert first is not second
    assert len(events) == 2


def test_unsubscribe_ends_that_one_only(fabric_bus):
    events = []
    first = fabric_bus.subscribe("a", events.append)
    fabric_bus.subscribe("a", events.append)
    fabric_bus.unsubscribe(first)
    fabric_bus.publish("a")
    assert len(events) == 1


def test_unsubscribe_is_idempotent(fabric_bus):
    handle = fabric_bus.subscribe("a", print)
    assert [fabric_bus.unsubscribe(handle), fabric_bus.unsubscribe(handle), handle.cancel()] == [True, False, False]


def test_another_buss_subscription_is_not_ended(fabric_bus):
    other = Bus()
    handle = other.subscribe("a", print)
    assert not fabric_bus.unsubscribe(handle)
    assert handle.active


def test_a_subscription_is_a_context_manager(fabric_bus):
    events = []
    with fabric_bus.subscribe("a", events.append) as handle:
        fabric_bus.publish("a")
        assert handle.active
    fabric_bus.publish("a")
    assert len(events) == 1
    assert not handle.active


def test_the_decorator_subscribes_and_leaves_the_function_as_it_is(fabric_bus):
    events = []

    def callback(event):
        events.append(event)

    assert fabric_bus.on("a.*")(callback) is callback
    fabric_bus.publish("a.b")
    assert len(events) == 1


def test_len_counts_subscriptions_and_clear_drops_them(fabric_bus):
    for pattern in ("a", "a", "**"):
        fabric_bus.subscribe(pattern, print)
    assert len(fabric_bus) == 3
    fabric_bus.clear()
    assert (len(fabric_bus), list(fabric_bus)) == (0, [])


def test_a_bus_without_subscribers_is_true(fabric_bus):
    assert fabric_bus


def test_a_bus_iterates_over_its_subscriptions_in_registration_order(fabric_bus):
    handles = [fabric_bus.subscribe(pattern, print) for pattern in ("b", "**", "a", "b")]
    assert list(fabric_bus) == handles


def test_the_repr_of_a_subscription_has_its_pattern_callback_and_state(fabric_bus):
    handle = fabric_bus.subscribe("a.*", print)
    assert repr(handle) == "<Subscription 'a.*' -> print>"
    handle.cancel()
    assert repr(handle).endswith("ended>")


def test_waiting_for_a_subscription_of_an_unconnected_bus_returns_at_once(fabric_bus):
    fabric_bus.subscribe("a", print).wait_ready(0.0)


# Inside callbacks


def test_a_subscriber_added_during_a_publish_does_not_see_that_event(fabric_bus):
    late = []
    fabric_bus.subscribe("a", lambda event: fabric_bus.subscribe("a", late.append))
    fabric_bus.publish("a")
    assert late == []
    fabric_bus.publish("a")
    assert len(late) == 1


def test_a_subscriber_removed_during_a_publish_does_not_see_the_next_event(fabric_bus):
    events = []
    handle = None
    fabric_bus.subscribe("a", lambda event: handle.cancel())
    handle = fabric_bus.subscribe("a", events.append)
    fabric_bus.publish("a")
    before = len(events)
    fabric_bus.publish("a")
    assert len(events) == before


def test_a_callback_may_end_itself(fabric_bus):
    events = []

    def once(event):
        events.append(event)
        handle.cancel()

    handle = fabric_bus.subscribe("a", once)
    fabric_bus.publish("a")
    fabric_bus.publish("a")
    assert len(events) == 1


def test_a_callback_may_publish(fabric_bus, seen):
    events = seen("b")
    fabric_bus.subscribe("a", lambda event: fabric_bus.publish("b", {"n": event["n"] + 1}))
    fabric_bus.publish("a", {"n": 1})
    assert events[0]["n"] == 2


# Cached matches


def test_a_subscription_made_after_a_topic_was_published_sees_the_next_one(fabric_bus, seen):
    fabric_bus.publish("a.b")
    events = seen("a.*")
    fabric_bus.publish("a.b")
    assert len(events) == 1


def test_an_ended_subscription_does_not_match_any_more(fabric_bus):
    handle = fabric_bus.subscribe("a", print)
    fabric_bus.publish("a")
    handle.cancel()
    assert fabric_bus.subscribers_of("a") == ()


# The fabric's own subscribers


@pytest.mark.parametrize("is_local", [True, False])
def test_a_callback_with_topic_gets_the_topic_that_the_event_was_published_on(fabric_bus, is_local):
    events = []
    fabric_bus._subscribe("ui.*", lambda topic, event: events.append((topic, event["type"])), with_topic=True)
    (fabric_bus.publish if is_local else fabric_bus.deliver)("ui.button", {"type": "click"})
    assert events == [("ui.button", "click")]


def test_a_callback_with_topic_and_one_without_get_an_envelope_each(fabric_bus, seen):
    own = []
    fabric_bus._subscribe("a", lambda topic, event: (event.clear(), own.append(topic)), with_topic=True)
    events = seen("a")
    fabric_bus.publish("a", {"n": 1})
    assert (own, events[0]["n"]) == (["a"], 1)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_callback_with_topic_that_was_subscribed_in_a_loop_runs_there(fabric_bus, is_async):
    async def main():
        got = []

        def note(topic, event):
            got.append((topic, event["n"], threading.current_thread()))

        async def note_async(topic, event):
            note(topic, event)

        fabric_bus._subscribe("a.*", note_async if is_async else note, with_topic=True)
        await asyncio.to_thread(fabric_bus.deliver, "a.b", {"n": 1})
        await await_until(lambda: got)
        return got

    assert asyncio.run(main()) == [("a.b", 1, threading.current_thread())]


def test_a_callback_with_topic_that_raises_is_logged(fabric_bus, caplog):
    fabric_bus._subscribe("a", lambda topic, event: 1 / 0, with_topic=True)
    fabric_bus.publish("a")
    fabric_bus.deliver("a", {})
    assert caplog.text.count("ZeroDivisionError") == 2


# The default bus


def test_the_module_level_functions_act_on_the_default_bus():
    events = []
    with fabric.subscribe("test.module", events.append) as handle:
        fabric.publish("test.module", {"n": 1})
        fabric.default_bus.publish("test.module", {"n": 2})
        assert fabric.unsubscribe(handle)
    assert [event["n"] for event in events] == [1, 2]


def test_the_module_level_decorator_acts_on_the_default_bus():
    events = []
    before = len(fabric.default_bus)
    fabric.on("test.module")(events.append)
    try:
        fabric.publish("test.module")
    finally:
        list(fabric.default_bus)[-1].cancel()
    assert (len(events), len(fabric.default_bus)) == (1, before)


def test_an_event_of_one_bus_does_not_reach_another(fabric_bus, seen):
    events = seen("**")
    Bus().publish("a")
    assert events == []


def test_a_hundred_subscribers_each_get_the_event(fabric_bus, seen):
    counts = [seen("a.*") for _ in range(100)]
    fabric_bus.publish("a.b")
    assert [len(events) for events in counts] == [1] * 100
