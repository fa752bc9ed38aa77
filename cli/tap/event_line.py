"""The formats in which `fabric tap` shows an event, one line each. Pure.

fields of --format    is
{time} {iso} {ts}     when it was published: 12:38:44.123, with date and zone, in unix seconds
{topic} {type} {src}  the topic; `type` of the envelope, which a payload may set; the publisher
{delay} {delay_ms}    from publishing to arriving here: +1.2ms, 1.2
{payload} {json}      the payload's own keys, the whole envelope
{payload.a.b}         one field of the payload, empty if it has none
{size} {n}            bytes of the envelope as JSON; counted from 1
{{ }} \\t \\n           braces, tabulator, new line
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from time import localtime, strftime
from typing import Any

from cli.tap.reader import Event
from cli.terminal.text import MISSING, bare, cut, find, fit
from fabric.system.terminal import safe, to_json

#: Makes the line of an event, given its number; None if there is nothing to show.
Render = Callable[[Event, int], str | None]

#: Columns grow with their contents up to this width: one long topic must not move all the others.
MAX_COLUMN = 40
_STAMPED = ("type", "ts", "src")

_DIM, _RED, _RESET = "\x1b[2m", "\x1b[31m", "\x1b[0m"
#: The first segment of a topic chooses the colour, so related topics look alike. Red is for late events.
_COLOURS = tuple(f"\x1b[{code}m" for code in (36, 32, 33, 35, 34, 96, 92, 93, 95, 94))
#: The year 9000. `localtime` and datetime fail for later times.
_MAX_TS = 221_845_392_000
#: Seconds of delay from which on it is red.
_LATE_DELAY = 1.0


class EventLines:
    """Time, topic, src, delay and payload in columns.

    `truncate`: characters of a payload, 0: all. `palette`: topic → SGR code, for topics whose meaning the caller knows.
    """

    def __init__(self, *, colour: bool = False, truncate: int = 0, palette: Mapping[str, str] | None = None) -> None:
        self._colour = colour
        self._truncate = truncate
        self._palette = palette or {}
        self._widths = {"topic": 15, "src": 7}

    def __call__(self, event: Event, _n: int) -> str:
        """See `Render`."""
        when, late = clock(event), delay(event)
        topic, src = self._column("topic", safe(event.topic)), self._column("src", source(event))
        delayed = f"{delay_text(late):>7}"
        text = cut(to_json(payload(event)), self._truncate)
        if self._colour:
            when = f"{_DIM}{when}{_RESET}"
            topic = f"{self._shade(event.topic)}{topic}{_RESET}"
            delayed = f"{_DIM if late is None or late < _LATE_DELAY else _RED}{delayed}{_RESET}"
        return f"{when}  {topic}  {src}  {delayed}  {text}"

    def _column(self, name: str, text: str) -> str:
        width = self._widths[name]
        if len(text) > width:
            width = self._widths[name] = min(len(text), MAX_COLUMN)
        return text if len(text) > width else fit(text, width)

    def _shade(self, topic: str) -> str:
        if topic in self._palette:
            return f"\x1b[{self._palette[topic]}m"
        return _COLOURS[zlib.crc32(topic.partition(".")[0].encode()) % len(_COLOURS)]


def as_json(event: Event, _n: int) -> str:
    """The envelope, as one line of JSON."""
    return to_json(event.envelope)


def as_topic(event: Event, _n: int) -> str:
    """The topic alone."""
    return safe(event.topic)


def as_field(path: str, truncate: int = 0) -> Render:
    """One field of the envelope, a path such as `job.state`. None for events without it. Strings are bare, others JSON."""
    keys = path.split(".")

    def render(event: Event, _n: int) -> str | None:
        value = find(event.envelope, keys)
        return None if value is MISSING else cut(bare(value), truncate)

    return render


def as_template(template: str, truncate: int = 0) -> Render:
    """A line as `template` says; its fields are listed above. ValueError names an unknown one."""
    parts: list[str | _Field] = []
    at = 0
    template = template.replace("\\t", "\t").replace("\\n", "\n")
    for match in re.finditer(r"\{\{|\}\}|\{([^{}]*)\}|[{}]", template):
        parts.append(template[at : match.start()])
        at = match.end()
        if match[0] in ("{{", "}}"):
            parts.append(match[0][0])
        elif match[1] is None:
            raise ValueError(f"a single {match[0]!r}: fields are {{name}}, a brace itself is written twice")
        else:
            parts.append(_field(match[1], truncate))
    parts.append(template[at:])

    def render(event: Event, n: int) -> str:
        return "".join(part if isinstance(part, str) else part(event, n) for part in parts)

    return render


_Field = Callable[[Event, int], str]


def _field(name: str, truncate: int) -> _Field:
    if name == "payload":
        return lambda event, _n: cut(to_json(payload(event)), truncate)
    if name.startswith("payload."):
        keys = name.split(".")[1:]

        def of_payload(event: Event, _n: int) -> str:
            value = find(event.envelope, keys)
            return "" if value is MISSING else cut(bare(value), truncate)

        return of_payload
    if name in _FIELDS:
        return _FIELDS[name]
    raise ValueError(f"there is no field {{{name}}}; known are {', '.join(_FIELDS)}, payload, payload.a.b")


def payload(event: Event) -> dict[str, Any]:
    """The envelope without the stamped fields. A `type` that differs from the topic belongs to the payload."""
    own = {key: value for key, value in event.envelope.items() if key not in _STAMPED}
    if (kind := event.envelope.get("type", event.topic)) != event.topic:
        own = {"type": kind, **own}
    return own


def source(event: Event) -> str:
    """The publisher: `src` of the envelope."""
    return bare(event.envelope.get("src", "?"))


def published(event: Event) -> float | None:
    """When it was published, unix seconds; None if `ts` is no time."""
    ts = event.envelope.get("ts")
    if isinstance(ts, bool) or not isinstance(ts, int | float):
        return None
    return float(ts) if 0 <= ts < _MAX_TS else None


def clock(event: Event) -> str:
    """The time of day at which it was published; if that is not known, at which it arrived."""
    ts = published(event)
    ts = event.arrived if ts is None else ts
    return f"{_second(int(ts))}.{int(ts % 1 * 1000):03d}"


@lru_cache(maxsize=16)
def _second(ts: int) -> str:
    return strftime("%H:%M:%S", localtime(ts))


def delay(event: Event) -> float | None:
    """Seconds from publishing to arrival here; negative if the clocks of two machines differ. None if not known."""
    ts = published(event)
    return None if ts is None else event.arrived - ts


def delay_text(seconds: float | None) -> str:
    """A delay in a few characters, `?` if it is not known."""
    if seconds is None:
        return "?"
    sign, size = "-" if seconds < 0 else "+", abs(seconds)
    for limit, scale, unit in (
        (0.01, 1000, "ms"),
        (1, 1000, "ms"),
        (100, 1, "s"),
        (6_000, 1 / 60, "m"),
        (172_800, 1 / 3600, "h"),
    ):
        if size < limit:
            return f"{sign}{size * scale:.{1 if limit in (0.01, 100) else 0}f}{unit}"
    return f"{sign}{size / 86_400:.0f}d"


def _iso(event: Event, _n: int) -> str:
    ts = published(event)
    return datetime.fromtimestamp(event.arrived if ts is None else ts).astimezone().isoformat(timespec="milliseconds")


def _delay_ms(event: Event, _n: int) -> str:
    late = delay(event)
    return "" if late is None else f"{late * 1000:.3f}"


_FIELDS: dict[str, _Field] = {
    "time": lambda event, _n: clock(event),
    "iso": _iso,
    "ts": lambda event, _n: bare(event.envelope.get("ts", "")),
    "topic": as_topic,
    "type": lambda event, _n: bare(event.envelope.get("type", "")),
    "src": lambda event, _n: source(event),
    "delay": lambda event, _n: delay_text(delay(event)),
    "delay_ms": _delay_ms,
    "json": as_json,
    "size": lambda event, _n: str(event.size),
    "n": lambda _event, n: str(n),
}
