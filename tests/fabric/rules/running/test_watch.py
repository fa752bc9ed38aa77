"""Events for rules: each once, whatever patterns match it, with the topic it was published on."""

import asyncio
import threading

from fabric.bus.bus import Bus
from fabric.rules.running.watch import EventWatch


def watched(*patterns):
    bus, heard = Bus(), []
    watch = EventWatch(bus, lambda topic, envelope: heard.append(topic))
    watch.subscribe(patterns)
    return bus, watch, heard


def test_an_event_is_delivered_once_however_many_patterns_match_it():
    bus, _, heard = watched("a.**", "a.b", "**", "c")
    bus.publish("a.b")
    bus.publish("c")
    assert heard == ["a.b", "c"]


def test_the_topic_is_the_one_it_was_published_on_whatever_its_type_is():
    bus, _, heard = watched("a.*")
    bus.publish("a.b", {"type": "other"})
    bus.deliver("a.c", {"type": "other", "ts": 1, "src": "x"})
    assert heard == ["a.b", "a.c"]


def test_the_topic_is_known_on_an_event_loop():
    async def main():
        bus, _, heard = watched("a.*")
        thread = threading.Thread(target=bus.deliver, args=("a.b", {"type": "other"}))
        thread.start()
        thread.join()
        while not heard:
            await asyncio.sleep(0)
        return heard

    assert asyncio.run(main()) == ["a.b"]


def test_patterns_come_and_go():
    bus, watch, heard = watched("a", "b")
    watch.subscribe(["b", "c"])
    for topic in "abc":
        bus.publish(topic)
    assert heard == ["b", "c"]
    assert sorted(each.pattern for each in watch.subscriptions) == ["b", "c"]
    watch.close()
    watch.subscribe(["a"])
    bus.publish("b")
    assert (len(bus), heard) == (0, ["b", "c"])


def test_two_watches_on_one_bus_both_get_the_event():
    bus, _, heard = watched("a")
    other = []
    EventWatch(bus, lambda topic, envelope: other.append(topic)).subscribe(["**"])
    bus.publish("a")
    assert (heard, other) == (["a"], ["a"])
