"""Watch this machine: one process measures, a second one raises alerts, this one prints the events of both.

    python examples/system_watch.py            Ctrl-C ends all three
    fabric tap 'watch.**'                      meanwhile, in another terminal

`fabric demo` does more of the same.
"""

import os
import subprocess
import sys
import time
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


def measure() -> None:
    """The first process: publishes its readings."""
    with fabric.connect("measure") as node:
        before = read_busy()
        while os.getppid() == STARTED_BY:
            time.sleep(INTERVAL)
            now = read_busy()
            busy = 100 * (now[0] - before[0]) / max(now[1] - before[1], 1)
            before = now
            node.publish("watch.cpu", {"percent": round(busy, 1), "load": round(os.getloadavg()[0], 2)})
            node.publish("watch.memory", {"percent": round(read_memory(), 1)})


def alert() -> None:
    """The second process: raises an alert when a reading exceeds the moving average, and clears it afterwards."""
    averages: dict[str, float] = {}
    raised: set[str] = set()
    with fabric.connect("alert") as node, node.events("watch.*", timeout=5 * INTERVAL + 5) as events:
        for event in events:
            what, percent = event["type"].removeprefix("watch."), event["percent"]
            average = averages.setdefault(what, percent)
            averages[what] = 0.9 * average + 0.1 * percent
            if percent > 1.2 * average and what not in raised:
                raised.add(what)
                node.publish("watch.alert.raised", {"what": what, "percent": percent, "average": round(average, 1)})
            elif percent <= average and what in raised:
                raised.discard(what)
                node.publish("watch.alert.cleared", {"what": what, "percent": percent})


def show() -> None:
    """The foreground process: starts the other two, and prints all events."""
    with fabric.connect("show") as node, node.events("watch.**") as events:
        events.subscription.wait_ready()
        # In sessions of their own: Ctrl-C reaches this process only, which ends them.
        start = [sys.executable, __file__]
        parts = [
            subprocess.Popen([*start, part, str(os.getpid())], start_new_session=True) for part in ("alert", "measure")
        ]
        try:
            for event in events:
                print({key: value for key, value in event.items() if key != "ts"}, flush=True)
        except KeyboardInterrupt:
            pass  # the usual way to stop
        finally:
            for part in parts:
                part.terminate()
                part.wait()


if __name__ == "__main__":
    STARTED_BY = int(sys.argv[2]) if sys.argv[2:] else 0
    {"measure": measure, "alert": alert}.get(sys.argv[1] if sys.argv[1:] else "", show)()
