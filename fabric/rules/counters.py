"""Counts by rule: matches, runs, failures, drops. Any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import time
from typing import Any

_COUNTS = ("matched", "runs", "failures", "dropped", "suppressed")
#: Characters of the last error.
_MAX_ERROR = 500


class Counters:
    """Counts by rule. They only grow; a reload keeps those of the rules that it keeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[str, dict[str, Any]] = {}
        #: Messages that no rule matched, with those that the default handled.
        self.unmatched = 0

    def keep(self, names: Iterable[str]) -> None:
        """Set the names of the rules; counts of others are forgotten."""
        with self._lock:
            self._rules = {name: self._rules.get(name) or _fresh() for name in names}

    def count(self, rule: str, count: str) -> None:
        """Add one to `matched`, `runs` (actions begun), `dropped` (queue full) or `suppressed` (circuit breaker open)."""
        with self._lock:
            if (counts := self._rules.get(rule)) is not None:  # None: a reload removed the rule while its action ran
                counts[count] += 1

    def failed(self, rule: str, error: str) -> None:
        """Count a failed action, and keep its error."""
        with self._lock:
            if (counts := self._rules.get(rule)) is not None:
                counts["failures"] += 1
                counts["last_error"], counts["last_error_ts"] = error[:_MAX_ERROR], time()

    def was_unmatched(self) -> None:
        """Count a message that no rule matched."""
        with self._lock:
            self.unmatched += 1

    def stats(self) -> dict[str, dict[str, Any]]:
        """Rule → its counts, and `last_error` with `last_error_ts` (unix seconds), both None without an error."""
        with self._lock:
            return {name: dict(counts) for name, counts in self._rules.items()}


def _fresh() -> dict[str, Any]:
    return {**dict.fromkeys(_COUNTS, 0), "last_error": None, "last_error_ts": None}
