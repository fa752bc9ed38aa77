import threading

import orjson
import pytest

from cli.tap.reader import News, Reader
from fabric.events.retained import RetainedEvent


def topics(reader):
    return [event.topic for event in reader.take(0)]


def come(reader, *names, **payload):
    """As the link hands events in."""
    for name in names:
        reader.deliver(name, {"type": name, "ts": 1.0, "src": "x", **payload})


def test_an_event_is_read_once_however_many_patterns_match_it():
    reader = Reader(["a.**", "**", "a.b", "a.b"])
    come(reader, "a.b", "c")
    assert topics(reader) == ["a.b", "c"]


def test_an_event_has_the_topic_it_was_routed_by():
    reader = Reader(["**"])
    reader.deliver("ui.button", {"type": "click"})
    (event,) = reader.take(0)
    assert (event.topic, event.envelope["type"]) == ("ui.button", "click")
    assert event.size == len('{"type":"click"}')


def test_ignored_topics_are_left_out():
    reader = Reader(["**"], ["a.*", "**.debug"])
    come(reader, "a.b", "a.b.c", "x.y.debug", "debug", "a")
    assert topics(reader) == ["a.b.c", "a"]


def test_the_systems_own_topics_are_read_only_if_a_pattern_begins_with_fabric():
    come(everything := Reader(["**", "*.node.joined"]), "fabric.node.joined", "a")
    come(system := Reader(["fabric.node.*"]), "fabric.node.joined", "fabric.endpoint.lost")
    come(both := Reader(["**", "fabric.**"]), "fabric.node.joined", "a")
    assert topics(everything) == ["a"]
    assert topics(system) == ["fabric.node.joined"]
    assert topics(both) == ["fabric.node.joined", "a"]


def test_gaps_and_the_state_of_the_link_are_news():
    reader = Reader(["**"])
    reader.announce("fabric.link.up", {})
    for missed in (2, 3):
        reader.announce("fabric.gap", {"src": "web", "topic": "a.b", "missed": missed})
    assert reader.take(0) == []
    assert reader.news() == News(0, {("web", "a.b"): 5}, ("up",))
    assert reader.news() == News()


def test_news_are_events_too_if_a_pattern_matches_them():
    reader = Reader(["fabric.**"])
    reader.announce("fabric.link.up", {"node": "me"})
    (event,) = reader.take(0)
    assert (event.topic, event.envelope["node"]) == ("fabric.link.up", "me")
    assert reader.news().links == ("up",)


def test_gaps_of_ever_new_topics_are_counted_together():
    reader = Reader(["**"])
    for n in range(3_000):
        reader.announce("fabric.gap", {"src": "web", "topic": f"a.{n}", "missed": 1})
    gaps = reader.news().gaps
    assert sum(gaps.values()) == 3_000
    assert len(gaps) <= 1_001


def test_the_oldest_events_are_dropped_and_counted():
    reader = Reader(["**"], max_events=3)
    come(reader, *(f"a.{n}" for n in range(5)))
    assert topics(reader) == ["a.2", "a.3", "a.4"]
    assert reader.news().dropped == 2


def test_what_waits_is_bounded_in_bytes_but_one_event_always_fits():
    reader = Reader(["**"], max_bytes=1_000)
    come(reader, "a.1", "a.2", "a.3", text="x" * 400)
    assert topics(reader) == ["a.2", "a.3"]
    come(reader, "a.4", text="x" * 5_000)
    assert topics(reader) == ["a.4"]
    come(reader, "a.5", "a.6", text="x" * 400)
    assert topics(reader) == ["a.5", "a.6"]


def test_take_returns_up_to_a_limit():
    reader = Reader(["**"])
    come(reader, "a", "b", "c")
    assert [event.topic for event in reader.take(0, limit=2)] == ["a", "b"]
    assert topics(reader) == ["c"]


@pytest.mark.parametrize("wake", [lambda reader: come(reader, "a"), lambda reader: reader.announce("fabric.link.up")])
def test_a_wait_ends_when_an_event_or_news_come(wake):
    reader = Reader(["**"])
    waiting = threading.Thread(target=reader.take, args=[600])
    waiting.start()
    wake(reader)
    waiting.join(20)
    assert not waiting.is_alive()


def test_an_envelope_that_is_nested_too_deeply_to_be_written_is_read():
    reader = Reader(["**"])
    reader.deliver("a", {"deep": orjson.loads("[" * 500 + "]" * 500)})
    assert reader.take(0)[0].size == 0


def test_what_came_last_is_read_first_but_not_what_has_come_as_well():
    reader = Reader(["**"], ["state.ignored"])
    envelope = {"type": "state.b", "ts": 1.0, "src": "x"}
    reader.deliver("state.b", dict(envelope))
    last = [
        RetainedEvent("state.a", {"ts": 1.0, "replayed": True}),
        RetainedEvent("state.b", {**envelope, "replayed": True}),
    ]
    reader.begin_with([*last, RetainedEvent("state.ignored", {})])
    events = reader.take(0)
    assert [(event.topic, event.envelope.get("replayed")) for event in events] == [("state.a", True), ("state.b", None)]


def test_what_came_last_is_bounded_like_everything():
    reader = Reader(["**"], max_events=3)
    come(reader, "live")
    reader.begin_with([RetainedEvent(name, {}) for name in "abcd"])
    assert topics(reader) == ["c", "d", "live"]
    assert reader.news().dropped == 2


def test_subscriptions_of_others_on_its_bus_work():
    reader = Reader(["**"])
    reader.subscribe("fabric.kept", (got := []).append)
    come(reader, "fabric.kept", mark=1)
    assert [event["mark"] for event in got] == [1]
    assert topics(reader) == []
