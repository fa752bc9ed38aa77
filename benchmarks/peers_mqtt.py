"""paho-mqtt and mosquitto: MQTT over a Unix socket, QoS 0.

Fast path: `loop_start`, whose thread writes the messages that `publish` queued and runs the callbacks; one callback for all
messages (`on_message`), without filters per topic. The broker's limit on queued messages is lifted; paho has none.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from orjson import dumps, loads
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.client import TIMEOUT, Client, Event, Handle


class MqttClient(Client):
    """One connection. A topic's dots become slashes."""

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, transport="unix")
        self._subscribed = threading.Event()
        connected = threading.Event()
        self._mqtt.on_connect = lambda *_: connected.set()
        self._mqtt.on_subscribe = lambda *_: self._subscribed.set()
        self._mqtt.connect(address)
        self._mqtt.loop_start()
        if not connected.wait(TIMEOUT):
            raise TimeoutError("mosquitto did not answer")

    def subscribe(self, topics: Sequence[str], handle: Handle) -> None:
        def heard(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
            handle(loads(message.payload))

        self._mqtt.on_message = heard
        self._mqtt.subscribe([(_name(topic), 0) for topic in topics])
        if not self._subscribed.wait(TIMEOUT):
            raise TimeoutError("mosquitto did not confirm a subscription")

    def publish(self, topic: str, event: Event) -> None:
        self._mqtt.publish(_name(topic), dumps(event))

    def blast(self, topics: Sequence[str], count: int) -> None:
        publish, event = self._mqtt.publish, self.event
        for name in islice(cycle([_name(topic) for topic in topics]), count):
            last = publish(name, dumps(event))
        last.wait_for_publish()

    def close(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


def _name(topic: str) -> str:
    return topic.replace(".", "/")
