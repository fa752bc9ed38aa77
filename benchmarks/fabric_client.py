"""The fabric, through its public interface: `connect`, `Bus.publish`, `Bus.subscribe`, `wait_ready`, `stats`.

Requests: `Node.endpoint` with a handler, `Node.request`, `Receipt.wait`.

Options: `loop`: subscribe inside a running event loop, so that callbacks run there; `coroutine`: callbacks are also `async
def`, so each event becomes a task (and requests are awaited); `echo`: this process subscribes to its own events.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from itertools import cycle, islice
from time import monotonic, sleep
from typing import Any, TypeVar

from benchmarks.client import ENVELOPE, PAYLOAD, TIMEOUT, Client, Event, Handle
from fabric import Bus, Message, connect

_Result = TypeVar("_Result")


class FabricClient(Client):
    """A bus of its own, connected; local delivery at both ends included."""

    event = PAYLOAD

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._bus = Bus()
        self._node = connect(url=address, bus=self._bus, autostart=False)
        self._coroutine = bool(options.get("coroutine"))
        self._loop = _loop_in_thread() if options.get("loop") or self._coroutine else None
        if echo := options.get("echo"):
            self._bus.subscribe(echo, _ignore)
        self._node.wait_ready(TIMEOUT)

    def publish(self, topic: str, event: Event) -> None:
        self._bus.publish(topic, event)

    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        if self._loop is not None:
            self._on_loop(self._subscribe_on_loop(topics, handle))
            return
        subscriptions = [self._bus.subscribe(topic, handle) for topic in topics]
        for subscription in subscriptions:
            subscription.wait_ready(TIMEOUT)

    async def _subscribe_on_loop(self, topics: Sequence[str], handle: Handle) -> None:
        async def awaited(event: Event) -> None:
            handle(event)

        callback = awaited if self._coroutine else handle
        subscriptions = [self._bus.subscribe(topic, callback) for topic in topics]
        for subscription in subscriptions:
            await subscription.ready(TIMEOUT)

    def blast(self, topics: Sequence[str], count: int) -> None:
        publish, event = self._bus.publish, self.event
        for topic in islice(cycle(topics), count):
            publish(topic, event)
        while self._node.stats()["waiting"]:
            sleep(0.001)

    def serve(self, name: str) -> None:
        if self._loop is None:
            self._node.endpoint(name, _answer).wait_ready(TIMEOUT)
        else:
            self._on_loop(self._serve_on_loop(name))

    async def _serve_on_loop(self, name: str) -> None:
        async def answer(message: Message) -> Event:
            return _answer(message)

        await self._node.endpoint(name, answer).ready(TIMEOUT)

    def request(self, name: str, count: int) -> list[float]:
        if self._loop is not None:
            return self._on_loop(self._request_on_loop(name, count), 2 * TIMEOUT + count / 1_000)
        times, request = [], self._node.request
        for _ in range(count):
            begin = monotonic()
            request(name, ENVELOPE).wait()
            times.append(monotonic() - begin)
        return times

    async def _request_on_loop(self, name: str, count: int) -> list[float]:
        times, request = [], self._node.request
        for _ in range(count):
            begin = monotonic()
            await request(name, ENVELOPE)
            times.append(monotonic() - begin)
        return times

    def counters(self) -> dict[str, int]:
        stats = self._node.stats()
        return {
            # Every event was delivered, or is counted in one of these.
            "dropped": stats["dropped"] + stats["unwanted"] + stats["unencodable"] + stats["handlers_dropped"],
            "missed": stats["missed"] + stats["joining"],
            # These should be 0, and are reported only.
            "duplicates": stats["duplicates"],
            "rejected": stats["rejected"],
            "links_lost": stats["links_lost"],
            "echoes": stats["echoes"],
        }

    def close(self) -> None:
        self._node.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _on_loop(self, work: Coroutine[Any, Any, _Result], timeout: float = TIMEOUT) -> _Result:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)


def _loop_in_thread() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def _answer(_message: Message) -> Event:
    return ENVELOPE


def _ignore(_event: Event) -> None:
    pass
