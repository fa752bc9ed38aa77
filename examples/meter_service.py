"""A service that publishes the load of this machine, read from /proc, until SIGTERM or Ctrl-C.

    python examples/meter_service.py           INTERVAL=0.2 for more events
    fabric tap 'meter.*'                       meanwhile, in another terminal

`docker-compose.yml` runs it beside `report_service.py`. FABRIC_URL is the address of the proxy, which may be started later
and restarted at any time: events wait meanwhile, and those over the limits are dropped and counted.
"""

import os
import signal
import threading
from pathlib import Path

import fabric

#: Seconds between two readings.
INTERVAL = float(os.environ.get("INTERVAL", "1"))


def read_busy() -> tuple[int, int]:
    """Ticks of all processors since the start: (busy, all)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def read_memory() -> float:
    """Per cent in use."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    facts = {words[0]: int(words[1]) for words in lines}
    return 100 - 100 * facts["MemAvailable:"] / facts["MemTotal:"]


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with fabric.connect("meter") as node:
        before = read_busy()
        while not stop.wait(INTERVAL):
            now = read_busy()
            busy = 100 * (now[0] - before[0]) / max(now[1] - before[1], 1)
            before = now
            node.publish("meter.cpu", {"percent": round(busy, 1)})
            node.publish("meter.memory", {"percent": round(read_memory(), 1)})
        unsent = node.close().events  # sends the events that wait, for 2 s at most
        facts = node.stats()
    print(f"sent {facts['sent']}, unsent {unsent}, dropped {facts['dropped']}", flush=True)


if __name__ == "__main__":
    main()
