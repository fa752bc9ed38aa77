"""What `fabric demo` raises alerts about. Pure: values go in, alerts come out.

Nobody knows what is much on a machine he has never seen. So *usual* is what was measured lately, and an alert says that
something is above that, by more than it usually varies. It is cleared when the value is back at the usual, which moves:
a machine that stays busy is usually busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import fmean, pstdev
from typing import Any

#: Values that are `lately`, and how many it takes to call something usual.
WINDOW = 20
MIN_VALUES = 3
#: Less than this share above the usual is no news, however steady it was.
MIN_RISE = 0.02

#: topic → its values that are watched: key, what it is called, unit.
WATCHED = {
    "machine.cpu": (("busy", "cpu", "%"), ("switches", "task switches", "/s")),
    "machine.memory": (("used_mb", "memory", "MB"),),
}


class WatchedValue:
    """One value over time."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)
        #: When it was raised; None: it is not.
        self.since: float | None = None
        #: Seconds that it was raised for, the last time.
        self.lasted = 0.0
        self.usual = 0.0

    def judge(self, value: float, now: float) -> str | None:
        """`raised` or `cleared`, if this value changes anything."""
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
    """Turns what was measured into alerts."""

    def __init__(self) -> None:
        self._levels: dict[str, WatchedValue] = {}

    def alerts(self, topic: str, measured: Mapping[str, Any], now: float) -> list[tuple[str, dict[str, Any]]]:
        """Topics and payloads of the alerts that follow from `measured`."""
        alerts = []
        for key, what, unit in WATCHED.get(topic, ()):
            if what not in self._levels:
                self._levels[what] = WatchedValue()  # the first value is of ourselves starting, and not counted
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
