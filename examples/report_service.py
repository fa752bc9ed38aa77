"""A service that subscribes and answers: it stores the readings of `meter_service.py`, and answers requests for them.

    python examples/report_service.py                          beside python examples/meter_service.py
    fabric request report cpu                                  {"now": 12.5, "average": 9.1, "highest": 31.0, …}

`docker-compose.yml` runs both. After a restart of the proxy its subscription and its name are restored automatically.
Readings that were lost are reported by the event `fabric.gap`, and counted here.
"""

import signal
import threading
from collections import deque
from typing import Any

import fabric

#: Readings of each kind that are stored.
HISTORY_SIZE = 60


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    readings: dict[str, deque[float]] = {}
    heard = missed = 0

    def store(reading: fabric.Envelope) -> None:
        nonlocal heard
        heard += 1
        about = reading["type"].removeprefix("meter.")
        readings.setdefault(about, deque(maxlen=HISTORY_SIZE)).append(reading["percent"])

    def count_missed(gap: fabric.Envelope) -> None:
        nonlocal missed
        missed += gap["missed"]

    def answer(message: fabric.Message) -> dict[str, Any]:
        """The return value is the answer; an exception reaches the asker as RemoteError."""
        about = message.body.get("text")
        if about not in readings:
            raise LookupError(f"nothing is known about {about!r} yet")
        known = list(readings[about])
        average = round(sum(known) / len(known), 1)
        return {"now": known[-1], "average": average, "highest": max(known), "heard": heard, "missed": missed}

    with fabric.connect("report") as node:
        node.subscribe("meter.*", store)
        node.subscribe("fabric.gap", count_missed)
        # After a crash of this service the proxy holds the name for its old process until the timeout.
        node.endpoint("report", answer, policy="replace")
        stop.wait()
    print("remembered", {about: len(known) for about, known in sorted(readings.items())}, flush=True)


if __name__ == "__main__":
    main()
