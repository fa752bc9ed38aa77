"""redis-py and redis-server: PUBLISH and SUBSCRIBE over a Unix socket, hiredis parsing the replies.

Fast path: `pipelined` collects 100 PUBLISHes in a pipeline without transaction, as the documentation recommends for many
commands. An application must then collect messages itself, so there is a plain row, too: one PUBLISH, one reply. The
subscriber is `for message in pubsub.listen()`. The server's limit on the backlog of a slow subscriber is lifted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import redis
from orjson import dumps, loads

from benchmarks.client import Client, Event, Handle

_PIPELINE = 100


class RedisClient(Client):
    """A connection for publishing, another for each `subscribe`."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._redis = redis.Redis(unix_socket_path=address)
        self._pipelined = bool(options.get("pipelined"))

    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        channel = self._redis.pubsub(ignore_subscribe_messages=True)
        channel.subscribe(*topics)
        threading.Thread(target=_listen, args=(channel, handle), daemon=True).start()

    def publish(self, topic: str, event: Event) -> None:
        self._redis.publish(topic, dumps(event))

    def blast(self, topics: Sequence[str], count: int) -> None:
        event = self.event
        if not self._pipelined:
            publish = self._redis.publish
            for topic in islice(cycle(topics), count):
                publish(topic, dumps(event))
            return
        pipeline = self._redis.pipeline(transaction=False)
        for number, topic in enumerate(islice(cycle(topics), count), 1):
            pipeline.publish(topic, dumps(event))
            if number % _PIPELINE == 0:
                pipeline.execute()
        pipeline.execute()


def _listen(channel: redis.client.PubSub, handle: Handle) -> None:
    for message in channel.listen():
        if message["type"] == "message":
            handle(loads(message["data"]))
