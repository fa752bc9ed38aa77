"""The verdict of `fabric check`, and its formats: text, JSON, Prometheus, Nagios. Pure.

level      exit code  Nagios     when
OK         0          0          both planes answered
WARNING    1          1          they did, but more was lost than `--max-lost`
CRITICAL   1          2          something listens and does not answer
DOWN       3          2          nothing listens, or it cannot be reached
UNKNOWN    2          3          the settings are wrong, so the address is not known
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from cli.exits import DONE, FAILED, NO_PROXY, USAGE
from cli.terminal import numbers
from fabric.system.terminal import safe, to_json
from proxy.stats import ProxyStats


class Level(Enum):
    """The level: its word, its exit code, and the exit code of a Nagios plugin."""

    OK = ("ok", DONE, 0)
    WARNING = ("unhealthy", FAILED, 1)
    CRITICAL = ("unhealthy", FAILED, 2)
    DOWN = ("down", NO_PROXY, 2)
    UNKNOWN = ("unknown", USAGE, 3)

    def __init__(self, word: str, code: int, plugin: int) -> None:
        self.word = word
        self.code = code
        self.plugin = plugin


#: The names of a plugin's states, by exit code.
_NAGIOS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


class Verdict(NamedTuple):
    """The result of a check. None stands for an unknown fact."""

    level: Level
    url: str
    #: One sentence.
    why: str
    #: As `fabric proxy status` has it: up, not running, not reachable, not answering.
    state: str = "up"
    #: Seconds of a round trip through each plane; None if it did not answer.
    events: float | None = None
    messages: float | None = None
    #: Seconds that the whole check took.
    took: float = 0.0
    stats: ProxyStats | None = None


def judged(url: str, events: float, messages: float, stats: ProxyStats, max_lost: int | None) -> Verdict:
    """The verdict on a proxy whose planes both answered. `events`, `messages`: seconds of their round trips."""
    lost = stats.lost
    heard = f"events {numbers.took(events)}, messages {numbers.took(messages)}"
    facts = f"up {numbers.duration(stats.uptime)}, {numbers.plural(stats.nodes, 'node')}, {lost:,} lost"
    if max_lost is not None and lost > max_lost:
        why = f"{url} answers, but {numbers.plural(lost, 'event')} were lost since its start, more than {max_lost:,}"
        return Verdict(Level.WARNING, url, why, events=events, messages=messages, stats=stats)
    why = f"{url} answers ({heard}), {facts}"
    return Verdict(Level.OK, url, why, events=events, messages=messages, stats=stats)


def as_text(verdict: Verdict) -> str:
    """One line for people and logs."""
    return f"{verdict.level.word}: {safe(verdict.why)}"


def as_json(verdict: Verdict) -> str:
    """One line of JSON; unknown facts are null."""
    stats = verdict.stats
    facts: dict[str, Any] = {
        "ok": verdict.level is Level.OK,
        "state": verdict.state,
        "url": verdict.url,
        "why": verdict.why,
        "events": verdict.events,
        "messages": verdict.messages,
        "took": round(verdict.took, 4),
    }
    for name in ("pid", "host", "version", "uptime", "nodes", "endpoints", "lost"):
        facts[name] = getattr(stats, name) if stats is not None else None
    return to_json(facts)


def as_nagios(verdict: Verdict) -> str:
    """One line of a monitoring plugin, with performance data."""
    text = safe(verdict.why).replace("|", "/")  # `|` ends the text
    data = [f"{name}={seconds:.6f}s;;;0" for name, seconds in _round_trips(verdict)]
    data.append(f"took={verdict.took:.3f}s;;;0")
    if (stats := verdict.stats) is not None:
        data += [f"nodes={stats.nodes};;;0", f"endpoints={stats.endpoints};;;0", f"lost={stats.lost}c;;;0"]
        data.append(f"rate={stats.plane.rate:.1f};;;0")
    return f"FABRIC {_NAGIOS[verdict.level.plugin]} - {text} | {' '.join(data)}"


def as_prometheus(verdict: Verdict) -> str:
    """The text format, for a textfile collector: health, duration, round trips, losses."""
    url = safe(verdict.url).replace("\\", r"\\").replace('"', r"\"")
    label = f'{{url="{url}"}}'
    well = float(verdict.level is Level.OK)
    trips = [(f'{{plane="{name}",url="{url}"}}', seconds) for name, seconds in _round_trips(verdict)]
    families = [
        ("healthy", "Whether both planes answered, and no limit was passed.", [(label, well)]),
        ("duration_seconds", "How long the check took.", [(label, verdict.took)]),
        ("round_trip_seconds", "How long the way through a plane took; absent if nothing came back.", trips),
    ]
    if (stats := verdict.stats) is not None:
        families.append(("lost_events", "Events lost since the proxy's start.", [(label, float(stats.lost))]))
    lines = []
    for name, about, samples in families:
        if samples:
            lines += [f"# HELP fabric_check_{name} {about}", f"# TYPE fabric_check_{name} gauge"]
            lines += [f"fabric_check_{name}{labels} {value:.9g}" for labels, value in samples]
    return "\n".join(lines)


FORMATS: dict[str, Callable[[Verdict], str]] = {
    "text": as_text,
    "json": as_json,
    "prometheus": as_prometheus,
    "nagios": as_nagios,
}


def exit_code(verdict: Verdict, how: str) -> int:
    """The exit code of the command: Nagios has codes of its own."""
    return verdict.level.plugin if how == "nagios" else verdict.level.code


def _round_trips(verdict: Verdict) -> list[tuple[str, float]]:
    found = (("events", verdict.events), ("messages", verdict.messages))
    return [(name, seconds) for name, seconds in found if seconds is not None]
