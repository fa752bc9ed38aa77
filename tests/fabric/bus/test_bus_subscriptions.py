"""Subscriptions: as handles, inside callbacks, remembered; and the default bus."""

import logging

import fabric
from fabric.bus.bus import MAX_DEPTH, REMEMBERED, Bus


def seen(bus, pattern):
    """A list that fills with the envelopes a subscription gets."""
    events = []
    bus.subscribe(pattern, events.append)
    return events


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


def test_a_handle_says_what_it_is(fabric_bus):
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


def test_a_callback_may_publish(fabric_bus):
    events = seen(fabric_bus, "b")
    fabric_bus.subscribe("a", lambda event: fabric_bus.publish("b", {"n": event["n"] + 1}))
    fabric_bus.publish("a", {"n": 1})
    assert events[0]["n"] == 2


def test_subscribers_that_answer_each_other_are_cut_with_one_warning(fabric_bus, caplog):
    depth = []
    fabric_bus.subscribe("ping", lambda event: fabric_bus.publish("pong"))
    fabric_bus.subscribe("pong", lambda event: (depth.append(1), fabric_bus.publish("ping")))
    fabric_bus.publish("ping")
    assert len(depth) == MAX_DEPTH // 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_cut_that_branches_is_warned_of_once_for_each_publish(fabric_bus, caplog):
    def answer_twice(event):
        if event["n"] < MAX_DEPTH + 3:
            fabric_bus.publish("a", {"n": event["n"] + (1 if event["n"] < MAX_DEPTH - 3 else 0)})
            fabric_bus.publish("b")

    fabric_bus.subscribe("a", lambda event: fabric_bus.publish("a", {"n": event["n"] + 1}))
    fabric_bus.subscribe("b", lambda event: [fabric_bus.publish("a", {"n": 0}) for _ in range(3)])
    fabric_bus.publish("b")
    assert len(caplog.records) == 1
    fabric_bus.publish("b")
    assert len(caplog.records) == 2


def test_after_a_cut_everything_is_as_before(fabric_bus, caplog):
    handle = fabric_bus.subscribe("a", lambda event: fabric_bus.publish("a"))
    fabric_bus.publish("a")
    handle.cancel()
    caplog.clear()
    events = seen(fabric_bus, "a")
    fabric_bus.publish("a")
    assert (len(events), caplog.text) == (1, "")


# What is remembered


def test_a_subscription_made_after_a_topic_was_published_sees_the_next_one(fabric_bus):
    fabric_bus.publish("a.b")
    events = seen(fabric_bus, "a.*")
    fabric_bus.publish("a.b")
    assert len(events) == 1


def test_a_delivery_that_holds_an_old_table_cannot_write_into_the_new_one(fabric_bus):
    # What a memory that is merely cleared gets wrong: the old answer written back after the clear.
    old = fabric_bus._table
    events = seen(fabric_bus, "a")
    assert old.subscribers_of("a") == ()
    assert len(fabric_bus.subscribers_of("a")) == 1
    fabric_bus.publish("a")
    assert len(events) == 1


def test_what_is_remembered_is_bounded(fabric_bus):
    for index in range(2 * REMEMBERED + 10):
        fabric_bus.publish(f"a.n{index}")
    table = fabric_bus._table
    assert max(len(table.published), len(table.subscribers), len(fabric_bus.known_topics)) <= REMEMBERED


def test_an_ended_subscription_is_not_kept_alive_by_what_is_remembered(fabric_bus):
    handle = fabric_bus.subscribe("a", print)
    fabric_bus.publish("a")
    handle.cancel()
    assert fabric_bus.subscribers_of("a") == ()


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


def test_buses_do_not_hear_each_other(fabric_bus):
    events = seen(fabric_bus, "**")
    Bus().publish("a")
    assert events == []


def test_a_hundred_subscribers_each_get_the_event(fabric_bus):
    counts = [seen(fabric_bus, "a.*") for _ in range(100)]
    fabric_bus.publish("a.b")
    assert [len(events) for events in counts] == [1] * 100
