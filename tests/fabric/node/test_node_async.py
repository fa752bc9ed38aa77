"""A node inside an asyncio program."""

import asyncio
import threading

import pytest

import fabric
from fabric.errors import NotReady
from fabric.testing import await_until


@pytest.fixture
def speaker(node):
    """Publishes from outside the loop."""
    return node("speaker")


def connect(url):
    return fabric.connect("listener", url=url, bus=fabric.Bus(), autostart=False)


def test_connect_ready_and_close_can_be_awaited(shared_proxy):
    async def main():
        async with connect(shared_proxy.url) as node:
            await node.ready()
            state = node.state
        return state, node.state

    assert asyncio.run(main()) == ("up", "closed")


def test_aclose_returns_how_many_could_not_be_sent(lonely_url):
    async def main():
        node = connect(lonely_url)
        node.publish("node.a")
        return await node.aclose(0.05)

    assert asyncio.run(main()).events == 1


def test_ready_without_a_proxy_ends_with_not_ready(lonely_url):
    async def main():
        async with connect(lonely_url) as node:
            with pytest.raises(NotReady):
                await node.ready(0.05)

    asyncio.run(main())


@pytest.mark.parametrize("verb", ["wait_ready", "subscription"])
def test_blocking_methods_raise_on_the_thread_of_the_loop(shared_proxy, verb):
    async def main():
        async with connect(shared_proxy.url) as node:
            wait = node.wait_ready if verb == "wait_ready" else node.subscribe("node.a", print).wait_ready
            with pytest.raises(RuntimeError, match="running event loop"):
                wait()

    asyncio.run(main())


@pytest.mark.parametrize("is_async", [False, True])
def test_remote_events_are_delivered_on_the_loop_of_their_subscriber(shared_proxy, speaker, is_async):
    async def main():
        threads = []

        def note(event):
            threads.append((threading.current_thread(), asyncio.get_running_loop()))

        async def note_async(event):
            note(event)

        async with connect(shared_proxy.url) as node:
            await node.subscribe("node.a", note_async if is_async else note).ready(everyone=True)
            speaker.publish("node.a")
            await await_until(lambda: threads)
        return threads == [(threading.current_thread(), asyncio.get_running_loop())]

    assert asyncio.run(main())


def test_an_async_subscriber_registered_before_the_loop_runs_on_the_loop_that_connected(shared_proxy, speaker):
    bus, events = fabric.Bus(), []

    async def note(event):
        events.append(asyncio.get_running_loop())

    handle = bus.subscribe("node.a", note)

    async def main():
        async with fabric.connect(url=shared_proxy.url, bus=bus, autostart=False):
            await handle.ready(everyone=True)
            speaker.publish("node.a")
            await await_until(lambda: events)
        return events == [asyncio.get_running_loop()]

    assert asyncio.run(main())


def test_remote_events_keep_their_order_on_the_loop(shared_proxy, speaker):
    async def main():
        seen = []
        async with connect(shared_proxy.url) as node:
            await node.subscribe("node.**", lambda event: seen.append(event["n"])).ready(everyone=True)
            await asyncio.to_thread(lambda: [speaker.publish(f"node.t{n % 3}", {"n": n}) for n in range(5_000)])
            await await_until(lambda: len(seen) == 5_000)
        return seen == list(range(5_000))

    assert asyncio.run(main())


def test_events_that_are_published_on_a_loop_arrive(node, shared_proxy):
    events = []
    node().subscribe("node.a", events.append).wait_ready(everyone=True)

    async def main():
        async with connect(shared_proxy.url) as speaker:
            for n in range(10):
                speaker.publish("node.a", {"n": n})
            await await_until(lambda: len(events) == 10)

    asyncio.run(main())
    assert [event["n"] for event in events] == list(range(10))


def test_events_can_be_iterated_over_asynchronously(shared_proxy, speaker):
    async def main():
        async with connect(shared_proxy.url) as node, node.events("node.a") as events:
            await events.subscription.ready(everyone=True)
            for n in range(3):
                speaker.publish("node.a", {"n": n})
            return [(await anext(events))["n"] for _ in range(3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_many_nodes_can_become_ready_at_once(shared_proxy):
    async def main():
        nodes = [connect(shared_proxy.url) for _ in range(10)]
        await asyncio.gather(*(node.ready() for node in nodes))
        states = {node.state for node in nodes}
        await asyncio.gather(*(node.aclose() for node in nodes))
        return states

    assert asyncio.run(main()) == {"up"}
