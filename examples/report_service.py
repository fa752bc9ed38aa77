"""A service that subscribes and answers: it remembers what `meter_service.py` says, and tells whoever asks.

    python examples/report_service.py                          beside python examples/meter_service.py
    fabric request report cpu                                  {"now": 12.5, "average": 9.1, "highest": 31.0, …}

`docker-compose.yml` runs both. After a restart of the proxy its subscription and its name are back by themselves; readings
that were lost on the way are told as an event, `fabric.gap`, and counted here.
"""

import signal
import threading
from collections import deque
from typing import Any

import fabric

#: Readings of each kind that are remembered.
REMEMBERED = 60


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    readings: dict[str, deque[float]] = {}
    heard = missed = 0

    def remember(reading: fabric.Envelope) -> None:
        nonlocal heard
        heard += 1
        about = reading["type"].removeprefix("meter.")
        readings.setdefault(about, deque(maxlen=REMEMBERED)).append(reading["percent"])

    def count_missed(gap: fabric.Envelope) -> None:
        nonlocal missed
        missed += gap["missed"]

    def answer(message: fabric.Message) -> dict[str, Any]:
        """What is returned is the answer; what is raised reaches the asker as RemoteError."""
        about = message.body.get("text")
        if about not in readings:
            raise LookupError(f"nothing is known about {about!r} yet")
        known = list(readings[about])
        average = round(sum(known) / len(known), 1)
        return {"now": known[-1], "average": average, "highest": max(known), "heard": heard, "missed": missed}

    with fabric.connect("report") as node:
        node.subscribe("meter.*", remember)
        node.subscribe("fabric.gap", count_missed)
        # After a crash the name may still be held by our own last life, for as long as the proxy waits for it.
        node.endpoint("report", answer, policy="replace")
        stop.wait()
    print("remembered", {about: len(known) for about, known in sorted(readings.items())}, flush=True)


if __name__ == "__main__":
    main()
