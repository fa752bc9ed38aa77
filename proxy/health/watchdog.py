"""Watches over the planes for the main loop: takes the self_check, and tells the service manager and the log what it found.

    state       entered when                                          is said
    starting    at first                                              nothing: events-in is bound late (`settle`)
    serving     both planes answered one result                         READY=1 once; WATCHDOG=1 after each good result
    suffering   a plane has been silent for `SILENCE_TIMEOUT`       STATUS and a warning name it; no WATCHDOG=1
    serving     both answer again                                     STATUS, a line in the log, WATCHDOG=1

The watchdog is fed from here and from nowhere else, so a plane that hangs ends the process as surely as a main loop that
hangs: that is what makes a supervisor's restart the answer to both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from fabric.config.settings import Address
from proxy.health.self_check import CheckResult, SelfCheck
from proxy.health.systemd import SystemdNotifier

logger = logging.getLogger("fabric.proxy")

#: Seconds between results, and how long one waits for its answers.
CHECK_INTERVAL = 1.0
#: Seconds between looks until the planes have answered first; and how long the main loop may be away from its other work.
STARTUP_INTERVAL = 0.05
MAX_WAIT = 0.5
#: Seconds of silence that are worth a warning. A machine that swaps is late by a second.
SILENCE_TIMEOUT = 3.0
#: By whether events and messages are silent.
_PROBLEMS = {
    (True, True): "neither plane answers",
    (True, False): "the event plane does not answer",
    (False, True): "the message plane does not answer",
}


class Watchdog:
    """`turn` again and again, on one thread, then `close`. `bound` says whether both planes listen."""

    def __init__(
        self, address: Address, notify: SystemdNotifier, *, bound: Callable[[], bool], summary: Callable[[], str]
    ) -> None:
        self.self_check = SelfCheck(address)
        self._systemd = notify
        self._bound = bound
        self._summary = summary
        # A third, so that one late result does not end a proxy that lives.
        self._interval = min(CHECK_INTERVAL, notify.watchdog / 3) if notify.watchdog else CHECK_INTERVAL
        self._silence_timeout = min(SILENCE_TIMEOUT, notify.watchdog / 2) if notify.watchdog else SILENCE_TIMEOUT
        self._due = 0.0
        self._ready = False
        #: Since when both planes have not answered; None: they do.
        self._silent_since: float | None = None
        #: What was complained of.
        self._problem = ""

    def tick(self) -> float:
        """Take the self_check if it is time; the seconds until it wants to be called again."""
        if not self._bound():
            return STARTUP_INTERVAL
        if monotonic() >= self._due:
            begun = monotonic()
            result = self.self_check.check(self._interval if self._ready else STARTUP_INTERVAL)
            if result.good:
                self._answered()
            else:
                self._unanswered(result, begun)
            self._due = begun + (self._interval if self._ready else 0.0)
        return min(MAX_WAIT, max(self._due - monotonic(), 0.0))

    def close(self) -> None:
        """The end has begun."""
        self._systemd.stopping()
        self.self_check.close()

    def _answered(self) -> None:
        self._silent_since = None
        if self._problem:
            logger.info("both planes answer again")
            self._problem = ""
        # What is said first is what `systemctl status` shows when the start has returned.
        self._systemd.status(self._summary())
        if not self._ready:
            self._ready = True
            self._systemd.ready()
        self._systemd.alive()

    def _unanswered(self, result: CheckResult, begun: float) -> None:
        if self._silent_since is None:
            self._silent_since = begun
        if monotonic() - self._silent_since < (self._silence_timeout if self._ready else SILENCE_TIMEOUT):
            return
        problem = _PROBLEMS[result.events is None, result.messages is None]
        self._systemd.status(problem)
        if problem != self._problem:
            self._problem = problem
            logger.warning(problem)
