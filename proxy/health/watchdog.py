"""Checks the planes for the main loop, and reports the result to the service manager and the log.

    state       entered when                                    reported
    starting    initially                                       nothing: events-in is bound late (`settle`)
    serving     both planes answered one check                  READY=1 once; WATCHDOG=1 after each good check
    suffering   a plane has been silent for `SILENCE_TIMEOUT`   STATUS and a warning name it; no WATCHDOG=1
    serving     both answer again                               STATUS, a line in the log, WATCHDOG=1

WATCHDOG=1 is sent only here. So a plane that hangs leads to a restart as surely as a main loop that hangs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from fabric.config.address import Address
from proxy.health.self_check import CheckResult, SelfCheck
from proxy.health.systemd import SystemdNotifier

logger = logging.getLogger("fabric.proxy")

#: Seconds between two checks, and the timeout of a check.
CHECK_INTERVAL = 1.0
#: Seconds between two checks until the planes have first answered; and the longest wait of the main loop between ticks.
STARTUP_INTERVAL = 0.05
MAX_WAIT = 0.5
#: Seconds of silence before a warning. A machine that swaps is late by a second.
SILENCE_TIMEOUT = 3.0
#: (events silent, messages silent) → the problem.
_PROBLEMS = {
    (True, True): "neither plane answers",
    (True, False): "the event plane does not answer",
    (False, True): "the message plane does not answer",
}


class Watchdog:
    """Call `tick` repeatedly on one thread, then `close`. `bound`: whether both planes listen; `summary`: the STATUS."""

    def __init__(
        self, address: Address, notify: SystemdNotifier, *, bound: Callable[[], bool], summary: Callable[[], str]
    ) -> None:
        self.self_check = SelfCheck(address)
        self._systemd = notify
        self._bound = bound
        self._summary = summary
        # A third of the manager's timeout, so that one late result does not end a proxy that works.
        self._interval = min(CHECK_INTERVAL, notify.watchdog / 3) if notify.watchdog else CHECK_INTERVAL
        self._silence_timeout = min(SILENCE_TIMEOUT, notify.watchdog / 2) if notify.watchdog else SILENCE_TIMEOUT
        self._due = 0.0
        self._ready = False
        #: When the silence of a plane began, monotonic; None: both answer.
        self._silent_since: float | None = None
        #: The problem that was reported; empty: none.
        self._problem = ""

    def tick(self) -> float:
        """Check the planes if a check is due; the seconds until the next call."""
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
        """Report that the proxy is stopping, and close the sockets."""
        self._systemd.stopping()
        self.self_check.close()

    def _answered(self) -> None:
        self._silent_since = None
        if self._problem:
            logger.info("both planes answer again")
            self._problem = ""
        # STATUS before READY: it is what `systemctl status` shows right after the start.
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
