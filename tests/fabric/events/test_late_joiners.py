"""Late joiners: the last event of each topic, then live events, in order, none missing and none twice."""

import asyncio
import contextlib
import itertools
import signal
import threading

import pytest

import fabric
from fabric.events.retained import RetainedFetch
from fabric.node import node as node_module
from fabric.testing import InMemoryFabric, ProxyProcess, wait_until
from tests.fabric.node.nodes import arrive, collect

_roots = itertools.count(1)


@pytest.fixture(scope="module")
def retaining(runtime_dir):
    """A proxy that retains `state.**`."""
    with ProxyProcess(retain="state.**") as proxy:
        yield proxy


@pytest.fixture(params=["proxy", "memory"])
def make(request, fabric_node):
    """A function that makes ready nodes, at that proxy or at one in memory that retains the same."""
    if request.param == "proxy":
        proxy = request.getfixturevalue("retaining")
        yield lambda name=None: fabric_node(name, url=proxy.url)
        return
    with InMemoryFabric(retain=["state.**"]) as memory:
        yield memory.node


@pytest.fixture
def unanswered(request, make):
    """A context manager: questions asked inside it are answered after it."""

    @contextlib.contextmanager
    def hold_answers(name):
        if isinstance(memory := getattr(make, "__self__", None), InMemoryFabric):
            memory.cut(name)
            yield
            memory.heal(name)
        else:
            proxy = request.getfixturevalue("retaining")
            proxy.signal(signal.SIGSTOP)
            yield
            proxy.signal(signal.SIGCONT)

    return hold_answers


@pytest.fixture
def root():
    """A prefix for the topics of one test."""
    return f"state.t{next(_roots)}"


def publish(node, topic, *numbers):
    for n in numbers:
        node.publish(topic, {"n": n})


def facts(events):
    """(last segment of the topic, n, whether it was replayed)"""
    return [(event["type"].rpartition(".")[2], event["n"], event.get("replayed", False)) for event in events]


def wait_kept(node, topic, n):
    wait_until(lambda: [each.envelope["n"] for each in node.last(topic)] == [n], what="the proxy has it")


def test_a_late_joiner_gets_the_last_event_of_each_topic_and_then_live_events(make, root):
    publisher, late = make("publisher"), make("late")
    publish(publisher, f"{root}.a", 1, 2)
    publish(publisher, f"{root}.b", 3)
    wait_kept(late, f"{root}.b", 3)
    events = []
    late.subscribe(f"{root}.*", events.append, last=True)
    arrive(events, 2)
    publish(publisher, f"{root}.a", 4)
    arrive(events, 3)
    assert facts(events) == [("a", 2, True), ("b", 3, True), ("a", 4, False)]
    assert events[0]["src"] == "publisher"
    assert events[0]["ts"] < events[1]["ts"] < events[2]["ts"]


def test_earlier_subscribers_see_nothing_of_a_late_joiner(make, root):
    publisher, early, late = make(), make(), make()
    seen = collect(early, "**")
    here = []
    late.subscribe("**", here.append).wait_ready(everyone=True)
    publish(publisher, f"{root}.a", 1)
    arrive(seen, 1), arrive(here, 1)
    events = []
    late.subscribe(f"{root}.**", events.append, last=True)
    arrive(events, 1)
    publish(publisher, f"{root}.a", 2)
    arrive(seen, 2), arrive(here, 2), arrive(events, 2)
    ours = [[each for each in got if not each["type"].startswith("fabric.node.")] for got in (seen, here)]
    assert [facts(got) for got in ours] == [[("a", 1, False), ("a", 2, False)]] * 2
    assert len(late.bus) == 2  # the subscription to the place marks has ended


def test_joining_while_events_are_published_loses_and_repeats_none(make, root):
    """Whenever a node joins, the numbers it sees of a topic are consecutive, and only the first may be replayed."""
    topics = [f"{root}.{name}" for name in "abc"]
    publisher, late = make(), make()
    ended = threading.Event()

    def work():
        for n in itertools.count(1):
            for topic in topics:
                publisher.publish(topic, {"n": n})
            if ended.wait(0.000_2):
                publisher.publish(f"{root}.end", {"n": n})
                return

    thread = threading.Thread(target=work)
    joined = []
    thread.start()
    try:
        wait_until(lambda: len(late.last(f"{root}.*")) == len(topics))
        for _ in range(15):
            events = []
            joined.append(events)
            late.subscribe(f"{root}.*", events.append, last=True, recover=True)
            arrive(events, 30)
    finally:
        ended.set()
        thread.join()
    assert late.stats()["missed"] == 0
    for events in joined:
        wait_until(lambda events=events: events[-1]["type"] == f"{root}.end")
        for topic in topics:
            mine = [event for event in events if event["type"] == topic]
            numbers = [event["n"] for event in mine]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert not any("replayed" in event for event in mine[1:])


def test_a_node_gets_its_own_events_once(make, root):
    node = make("self")
    publish(node, f"{root}.before", 1)
    wait_kept(node, f"{root}.before", 1)
    events = []
    node.subscribe(f"{root}.*", events.append, last=True)
    node.publish(f"{root}.after", {"n": 2, "pair": (1, 2)})
    arrive(events, 2)
    node.subscribe(f"{root}.*", (again := []).append, last=True)
    arrive(again, 2)
    assert facts(events) == [("before", 1, True), ("after", 2, False)]
    assert facts(again) == [("before", 1, True), ("after", 2, True)]


def test_a_node_can_ask_for_the_last_events(make, root):
    publisher, late = make("publisher"), make("late")
    publish(publisher, f"{root}.a", 1, 2)
    publish(publisher, f"{root}.b", 3)
    wait_kept(late, f"{root}.b", 3)
    last = late.last(f"{root}.*")
    assert [(topic, envelope["n"], envelope["src"], envelope["replayed"]) for topic, envelope in last] == [
        (f"{root}.a", 2, "publisher", True),
        (f"{root}.b", 3, "publisher", True),
    ]
    assert late.last(f"{root}.*", live=True) == last


def test_topics_that_are_not_retained_come_live_only(make, root):
    publisher, late = make(), make()
    seen = collect(late, "other.**")
    publish(publisher, f"other.{root}", 1)
    publish(publisher, f"{root}.a", 2)
    arrive(seen, 1)
    wait_kept(late, f"{root}.a", 2)
    assert late.last("other.**") == []
    assert [each.topic for each in late.last(f"**.{root.rpartition('.')[2]}.**")] == [f"{root}.a"]


def test_last_works_with_recover_and_history(make, root):
    publisher, late = make("publisher"), make("late")
    publish(publisher, f"{root}.a", 1)
    wait_kept(late, f"{root}.a", 1)
    events = []
    late.subscribe("**", events.append, last=True, history=True, recover=True)
    wait_until(lambda: any(event["type"] == f"{root}.a" for event in events))
    assert {event["name"] for event in events if event.get("history")} >= {"publisher", "late"}
    assert facts([event for event in events if event["type"] == f"{root}.a"]) == [("a", 1, True)]


def test_an_iteration_can_begin_with_the_last_events(make, root):
    publisher, late = make(), make()
    publish(publisher, f"{root}.a", 1)
    wait_kept(late, f"{root}.a", 1)
    with late.events(f"{root}.*", last=True) as events:
        assert facts([events.get(10)]) == [("a", 1, True)]
        publish(publisher, f"{root}.a", 2)
        assert facts([events.get(10)]) == [("a", 2, False)]


def test_async_subscribers_and_iterations_get_the_last_events_on_their_loop(make, root):
    publisher, late = make(), make()
    publish(publisher, f"{root}.a", 1)
    wait_kept(late, f"{root}.a", 1)

    async def join():
        events, threads = asyncio.Queue(), set()

        async def on_event(event):
            threads.add(threading.get_ident())
            await events.put(event)

        late.subscribe(f"{root}.*", on_event, last=True)
        async with late.events(f"{root}.*", last=True) as stream:
            first = [await asyncio.wait_for(events.get(), 10), await stream.aget(10)]
            publish(publisher, f"{root}.a", 2)
            second = [await asyncio.wait_for(events.get(), 10), await stream.aget(10)]
        assert threads == {threading.get_ident()}
        return facts(first + second)

    assert asyncio.run(join()) == [("a", 1, True), ("a", 1, True), ("a", 2, False), ("a", 2, False)]


def test_a_subscription_that_has_ended_gets_no_earlier_events(make, unanswered, root):
    publisher, late = make(), make("late")
    publish(publisher, f"{root}.a", 1)
    wait_kept(late, f"{root}.a", 1)
    ended = []
    with unanswered("late"):
        late.subscribe(f"{root}.*", ended.append, last=True).cancel()
    late.subscribe(f"{root}.*", (events := []).append, last=True)
    arrive(events, 1)
    wait_until(lambda: not history_threads())
    assert ended == []


def history_threads():
    return [thread for thread in threading.enumerate() if thread.name == "fabric-history"]


def test_a_restarted_proxy_has_no_last_events_until_new_ones_come(fabric_node):
    with ProxyProcess(retain="state.**") as proxy:
        publisher, late = fabric_node(url=proxy.url), fabric_node(url=proxy.url)
        publish(publisher, "state.a", 1)
        wait_kept(late, "state.a", 1)
        proxy.restart(settle=0.0)
        wait_until(lambda: late.last("state.**", 10) == [])
        publisher.wait_ready(10)
        publish(publisher, "state.a", 2)
        wait_kept(late, "state.a", 2)


def test_at_a_proxy_that_retains_nothing_all_events_are_live(node, root):
    publisher, late = node(), node()
    assert late.last("**") == []
    assert late.last("**", live=True) == []
    events = []
    late.subscribe(f"{root}.*", events.append, last=True).wait_ready(10, everyone=True)
    publish(publisher, f"{root}.a", 1)
    assert facts(arrive(events, 1)) == [("a", 1, False)]


def test_without_a_proxy_local_events_are_delivered_after_the_timeout(monkeypatch, fabric_node, lonely_url):
    monkeypatch.setattr(node_module, "HISTORY_TIMEOUT", 0.05)
    node = fabric_node(url=lonely_url, ready=False)
    events = []
    node.subscribe("state.*", events.append, last=True)
    publish(node, "state.a", 1)
    assert facts(arrive(events, 1)) == [("a", 1, False)]
    with pytest.raises(fabric.NotReady):
        node.last("state.*", 0.05)


def test_a_bad_pattern_or_callback_is_refused_at_once(make):
    node = make()
    for wrong in ("a..b", "b*", ""):
        with pytest.raises(ValueError, match="pattern"):
            node.subscribe(wrong, print, last=True)
        with pytest.raises(ValueError, match="pattern"):
            node.last(wrong)
    with pytest.raises(TypeError, match="cannot be called"):
        node.subscribe("a", 5, last=True)
    assert len(node.bus) == 0


def test_asking_blocks_and_so_is_refused_on_a_loop(make):
    node = make()

    async def ask():
        with pytest.raises(RuntimeError):
            node.last("state.*")
        return await asyncio.to_thread(node.last, "state.none")

    assert asyncio.run(ask()) == []
    assert len(node.bus) == 0


def test_at_a_proxy_that_refuses_the_question_all_events_are_live(monkeypatch):
    """An older proxy refuses the question; see `test_session`."""
    monkeypatch.setattr(node_module, "RetainedFetch", Refusing)
    with InMemoryFabric() as memory:
        node = memory.node("late")
        events = []
        node.subscribe("a", events.append, last=True)
        node.publish("a", {"n": 1})
        assert facts(arrive(events, 1)) == [("a", 1, False)]
        wait_until(lambda: len(node.bus) == 1)


class Refusing(RetainedFetch):
    def fetch(self, ask, deadline):
        raise fabric.Refused("the proxy", "unknown_verb", "")


def test_a_restarted_fabric_in_memory_has_no_last_events_either():
    with InMemoryFabric(retain="state.*") as memory:
        node = memory.node("late")
        publish(node, "state.a", 1)
        assert facts([each.envelope for each in node.last()]) == [("a", 1, True)]
        memory.restart()
        assert node.last() == []
    with pytest.raises(ValueError, match="pattern"):
        InMemoryFabric(retain=["b*"])
