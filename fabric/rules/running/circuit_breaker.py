"""What fails again and again is left alone for a while: after `max_failures` in a row, for `cooldown` seconds."""

from __future__ import annotations


class CircuitBreaker:
    """One action's. Times are monotonic seconds. Callers hold a lock, or are the only ones."""

    def __init__(self, max_failures: int, cooldown: float) -> None:
        self._max_failures = max_failures
        self._cooldown = cooldown
        self._failures = 0
        self._until = 0.0

    def rests(self, now: float) -> bool:
        """Whether it is to be left alone."""
        return now < self._until

    def succeeded(self) -> None:
        """The failures before it are forgotten."""
        self._failures = 0

    def failed(self, now: float) -> bool:
        """Once more; whether it rests from now on."""
        self._failures += 1
        if self._failures < self._max_failures:
            return False
        # One more try when the rest is over: if that fails, it rests again.
        self._failures = self._max_failures - 1
        self._until = now + self._cooldown
        return self._cooldown > 0
