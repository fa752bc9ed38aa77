"""The alerts of `fabric demo`. Pure: measured values go in, alerts come out.

There is no fixed threshold, because the machine is not known. The *usual* value is the mean of the last values. An alert is
raised when a value is above it by more than the standard deviation, and cleared when the value is back at the mean. The
mean moves: on a machine that stays busy, busy becomes the usual.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import fmean, pstdev
from typing import Any

#: Number of last values, and the least number of them that have a usual value.
WINDOW = 20
MIN_VALUES = 3
#: A rise by less than this share of the usual value raises nothing, however steady the values were.
MIN_RISE = 0.02

#: topic → its watched values: key, name, unit.
WATCHED = {
    "machine.cpu": (("busy", "cpu", "%"), ("switches", "task switches", "/s")),
    "machine.memory": (("used_mb", "memory", "MB"),),
}


class WatchedValue:
    """One value over time."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)
        #: When the alert was raised, monotonic seconds; None while there is none.
        self.since: float | None = None
        #: Seconds that the last alert lasted.
        self.lasted = 0.0
        self.usual = 0.0

    def judge(self, value: float, now: float) -> str | None:
        """Take a value in; `raised` or `cleared` if it changes the alert. `now` is monotonic seconds."""
        values = self._values
        verdict = None
        if len(values) >= MIN_VALUES:
            self.usual = fmean(values)
            spread = max(pstdev(values), MIN_RISE * self.usual)
            if self.since is None:
                if value > self.usual + spread:
                    self.since, verdict = now, "raised"
            elif value <= self.usual:
                self.lasted, verdict = now - self.since, "cleared"
                self.since = None
        values.append(value)
        return verdict


class Alarm:
    """Turns measurements into alerts."""

    def __init__(self) -> None:
        self._levels: dict[str, WatchedValue] = {}

    def alerts(self, topic: str, measured: Mapping[str, Any], now: float) -> list[tuple[str, dict[str, Any]]]:
        """Take a measurement in; topics and payloads of the alerts to publish. `now` is monotonic seconds."""
        alerts = []
        for key, what, unit in WATCHED.get(topic, ()):
            if what not in self._levels:
                self._levels[what] = WatchedValue()  # the first value shows our own start, and is ignored
                continue
            level, value = self._levels[what], measured[key]
            verdict = level.judge(value, now)
            if verdict is not None:
                alert = _alert(level, verdict, what, value, unit)
                if what == "cpu" and verdict == "raised":
                    alert["busiest"] = measured["busiest"]
                alerts.append((f"alert.{verdict}", alert))
        return alerts


def _alert(level: WatchedValue, verdict: str, what: str, value: float, unit: str) -> dict[str, Any]:
    usual = f"{level.usual:,.1f}" if unit == "%" else f"{level.usual:,.0f}"
    alert: dict[str, Any] = {"what": what, "says": f"{value:,} {unit}, {usual} is usual here"}
    if verdict == "cleared":
        alert["lasted"] = round(level.lasted, 1)
    return alert
