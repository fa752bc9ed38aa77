"""What rules did, counted. Any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import time
from typing import Any

_COUNTS = ("matched", "runs", "failures", "dropped", "suppressed")
#: Characters of an error that are kept.
_MAX_ERROR = 500


class Counters:
    """Counts by rule; they only grow, and outlive a reload."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[str, dict[str, Any]] = {}
        #: Messages that no rule matched; the default may have taken care of them.
        self.unmatched = 0

    def keep(self, names: Iterable[str]) -> None:
        """These are the rules from now on; the counts of others are forgotten."""
        with self._lock:
            self._rules = {name: self._rules.get(name) or _fresh() for name in names}

    def count(self, rule: str, what: str) -> None:
        """One more: `matched`, `runs` (actions begun), `dropped` (its queue was full) or `suppressed` (it rests)."""
        with self._lock:
            if (counts := self._rules.get(rule)) is not None:  # None: it went with a reload while this ran
                counts[what] += 1

    def failed(self, rule: str, error: str) -> None:
        """An action came to nothing."""
        with self._lock:
            if (counts := self._rules.get(rule)) is not None:
                counts["failures"] += 1
                counts["last_error"], counts["last_error_ts"] = error[:_MAX_ERROR], time()

    def was_unmatched(self) -> None:
        """A message that no rule matched."""
        with self._lock:
            self.unmatched += 1

    def stats(self) -> dict[str, dict[str, Any]]:
        """Rule → its counts, and `last_error` with `last_error_ts` (unix seconds), None if there was none."""
        with self._lock:
            return {name: dict(counts) for name, counts in self._rules.items()}


def _fresh() -> dict[str, Any]:
    return {**dict.fromkeys(_COUNTS, 0), "last_error": None, "last_error_ts": None}
