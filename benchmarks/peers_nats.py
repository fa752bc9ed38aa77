"""nats-py and nats-server: core NATS, tcp loopback (the server speaks no Unix sockets).

Fast path: `publish` without reply or headers inside the event loop; nats-py collects the messages of one iteration of the
loop and writes them at once. Callback subscription (the iterator is slower). Limits on pending messages are lifted at both
ends, so that no message is dropped for slowness. Subject validation stays on: the library's documentation advises against
turning it off, and calls the gain minimal. uvloop changes nothing measurable.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from itertools import cycle, islice
from time import monotonic, sleep
from typing import Any, TypeVar

import nats
from nats.aio.msg import Msg
from orjson import dumps, loads

from benchmarks.client import PROBE_INTERVAL, QUIET_PERIOD, TIMEOUT, Client, Event, Handle

_Result = TypeVar("_Result")


class NatsClient(Client):
    """One connection, on an event loop in a thread of its own; the main thread only waits."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._nats = self._run(nats.connect(address, allow_reconnect=False))

    def _run(self, work: Coroutine[Any, Any, _Result], timeout: float | None = None) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        async def heard(message: Msg) -> None:
            handle(loads(message.data))

        self._run(self._subscribe(topics, heard), TIMEOUT)

    async def _subscribe(self, topics: Sequence[str], heard: Any) -> None:
        for topic in topics:
            await self._nats.subscribe(topic, cb=heard, pending_msgs_limit=0, pending_bytes_limit=0)
        await self._nats.flush()

    def publish(self, topic: str, event: Event) -> None:
        self._run(self._nats.publish(topic, dumps(event)), TIMEOUT)

    def blast(self, topics: Sequence[str], count: int) -> None:
        self._run(self._blast(topics, count))

    async def _blast(self, topics: Sequence[str], count: int) -> None:
        publish, event = self._nats.publish, self.event
        for topic in islice(cycle(topics), count):
            await publish(topic, dumps(event))
        await self._nats.flush(timeout=60)

    def answer(self, topic: str, reply: str) -> None:
        async def heard(message: Msg) -> None:
            loads(message.data)
            await self._nats.publish(reply, dumps(self.event))

        self._run(self._subscribe([topic], heard), TIMEOUT)

    def ping(self, topic: str, reply: str, count: int) -> list[float]:
        return self._run(self._ping(topic, reply, count), 2 * TIMEOUT + count / 1_000)

    async def _ping(self, topic: str, reply: str, count: int) -> list[float]:
        times: list[float] = []
        first, done = asyncio.Event(), asyncio.Event()
        pinging, sent = False, 0.0

        async def heard(message: Msg) -> None:
            nonlocal sent
            loads(message.data)
            now = monotonic()
            if not pinging:
                first.set()
                return
            times.append(now - sent)
            if len(times) == count:
                done.set()
                return
            sent = monotonic()
            await self._nats.publish(topic, dumps(self.event))

        await self._subscribe([reply], heard)
        while not first.is_set():
            await self._nats.publish(topic, dumps(self.event))
            await asyncio.sleep(PROBE_INTERVAL)
        await asyncio.sleep(QUIET_PERIOD)
        pinging, sent = True, monotonic()
        await self._nats.publish(topic, dumps(self.event))
        await asyncio.wait_for(done.wait(), TIMEOUT + count / 1_000)
        return times

    def pace(self, topic: str, rate: float, count: int) -> None:
        self._run(self._pace(topic, rate, count))

    async def _pace(self, topic: str, rate: float, count: int) -> None:
        publish, event = self._nats.publish, self.event
        begin = monotonic()
        for number in range(count):
            ahead = begin + number / rate - monotonic()
            if ahead > 0:
                sleep(ahead)  # asyncio's own sleep is rounded up to a millisecond, which increases the latency
            await publish(topic, dumps({**event, "at": monotonic()}))
            await asyncio.sleep(0)  # lets the flusher run
        await self._nats.flush()

    def serve(self, name: str) -> None:
        async def heard(message: Msg) -> None:
            loads(message.data)
            await message.respond(dumps(self.event))

        self._run(self._subscribe([name], heard), TIMEOUT)

    def request(self, name: str, count: int) -> list[float]:
        return self._run(self._request(name, count), 2 * TIMEOUT + count / 1_000)

    async def _request(self, name: str, count: int) -> list[float]:
        times, request, event = [], self._nats.request, self.event
        for _ in range(count):
            begin = monotonic()
            loads((await request(name, dumps(event), timeout=5)).data)
            times.append(monotonic() - begin)
        return times

    def close(self) -> None:
        self._run(self._nats.close(), TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
