"""The counts of `fabric tap --stats`, and their table. Pure: time comes in as an argument, in monotonic seconds."""

from __future__ import annotations

from collections import deque

import orjson

from cli.tap.reader import Event
from cli.terminal import numbers
from cli.terminal.table import table
from fabric.system.terminal import safe

#: Topics that are counted separately; the others are counted together.
MAX_TOPICS = 10_000
OTHERS = "(other topics)"
#: Seconds over which a live rate is measured.
WINDOW = 5.0
_HEADER = ("TOPIC", "COUNT", "/S", "BYTES", "AGE")
#: Least widths of the columns: they should not move with every event.
_WIDTHS = (20, 10, 9, 9, 7)
#: Columns that a topic keeps, however narrow the terminal.
_MIN_NAME = 5


class _Row:
    __slots__ = ("bytes", "count", "earlier", "last")

    def __init__(self, before: float) -> None:
        self.count = 0
        self.bytes = 0
        self.last = 0.0
        #: (time, count) at the last drawings, for the live rate. The first is (`before`, 0).
        self.earlier: deque[tuple[float, int]] = deque([(before, 0)])


class CountsTable:
    """Counts of events by topic since `started`."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._rows: dict[str, _Row] = {}

    def add(self, event: Event, now: float) -> None:
        """Count an event."""
        topic = event.topic
        if (row := self._rows.get(topic)) is None:
            topic = topic if len(self._rows) < MAX_TOPICS else OTHERS
            row = self._rows.setdefault(topic, _Row(max(self._started, now - WINDOW)))
        row.count += 1
        row.bytes += event.size
        row.last = now

    def live(self, now: float, columns: int, lines: int) -> list[str]:
        """The rows that fit, the most events first, with the rates of the last `WINDOW` seconds."""
        rates = {topic: self._rate(row, now) for topic, row in self._rows.items()}
        room = max(lines - 3, 1)  # header, total, cursor
        return self._show(now, columns, rates, room if len(rates) <= room else room - 1)

    def final(self, now: float, columns: int) -> list[str]:
        """All rows, with the average rates since `started`."""
        return self._show(now, columns, self._averages(now), len(self._rows))

    def as_json(self, now: float) -> list[str]:
        """All rows, one JSON object each."""
        averages = self._averages(now)
        return [
            safe(
                orjson.dumps(
                    {
                        "topic": topic,
                        "count": row.count,
                        "rate": round(averages[topic], 3),
                        "bytes": row.bytes,
                        "age": round(now - row.last, 3),
                    }
                ).decode()
            )
            for topic, row in self._sorted()
        ]

    def _sorted(self) -> list[tuple[str, _Row]]:
        return sorted(self._rows.items(), key=lambda item: (-item[1].count, item[0]))

    def _averages(self, now: float) -> dict[str, float]:
        elapsed = max(now - self._started, 0.001)
        return {topic: row.count / elapsed for topic, row in self._rows.items()}

    def _rate(self, row: _Row, now: float) -> float:
        while len(row.earlier) > 1 and row.earlier[1][0] <= now - WINDOW:
            row.earlier.popleft()
        then, count = row.earlier[0]
        row.earlier.append((now, row.count))
        return (row.count - count) / max(now - then, 0.001)

    def _show(self, now: float, columns: int, rates: dict[str, float], room: int) -> list[str]:
        rows = self._sorted()
        shown = [_cells(topic, row.count, rates[topic], row.bytes, now - row.last) for topic, row in rows[:room]]
        count, size = sum(row.count for _, row in rows), sum(row.bytes for _, row in rows)
        title = f"{len(rows):,} topic{'' if len(rows) == 1 else 's'}"
        total = _cells(title, count, sum(rates.values()), size, now - self._started)
        # One column stays free: some terminals break a line that ends in the last one.
        *lines, last = table(_HEADER, [*shown, total], columns - 1, widths=_WIDTHS, first=_MIN_NAME, gap=1)
        return [*lines, f"… and {len(rows) - room:,} more", last] if len(rows) > room else [*lines, last]


def _cells(topic: str, count: int, rate: float, size: int, age: float) -> tuple[str, ...]:
    return safe(topic), numbers.count(count), numbers.rate(rate), numbers.size(size), numbers.ago(age)
