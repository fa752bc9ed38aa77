"""`fabric check`: the health of a proxy, for monitoring: one line, an exit code, and an end in time.

    main thread                     daemon thread
    waits until the deadline   ◂─── connects, probes both planes (`proxy.health.self_check`), asks for the record
    prints the verdict, or the facts known by then
    ends the process if the other thread is stuck

Some calls have no timeout: resolving a name, connecting to a host that drops packets, ending a context. They stay behind in
their thread. It is a thread and not an alarm, because a signal is not handled before such a call returns.
"""

from __future__ import annotations

import os
import threading
from time import monotonic

import click

from cli.doctor.verdict import FORMATS, Level, Verdict, exit_code, judged
from cli.exits import ended_by
from cli.options import timeout_option, url_option
from cli.query import address_of
from cli.terminal.output import Output
from fabric.config.address import Address
from fabric.errors import FabricError, SettingsError
from proxy import client
from proxy.health.self_check import CheckResult, SelfCheck
from proxy.stats import ProxyStats

#: Seconds for everything but the start of the interpreter, so that the command takes less than 2.
TIMEOUT = 1.5
#: The share of them after which an answer is given up, so that there is time to find the cause.
_ANSWER_SHARE = 0.8
#: Seconds for closing the sockets, after the line was printed.
_CLOSE_TIMEOUT = 0.2


@click.command(short_help="Is it alive? For health checks and monitoring.")
@url_option
@timeout_option(TIMEOUT, "End after S seconds, whatever happens.")
@click.option("--max-lost", type=click.IntRange(min=0), metavar="N", help="Unhealthy if more than N events were lost.")
@click.option(
    "--format",
    "how",
    type=click.Choice(list(FORMATS)),
    default="text",
    help="How it is said. Only prometheus takes more than one line.  [default: text]",
)
def check(url: str | None, timeout: float, max_lost: int | None, how: str) -> int:
    """Prove that the proxy is alive, say so in one line, and end within 2 seconds whatever happens. Something goes in where
    events go in and must come out where they come out, and a message is answered: a socket that only takes connections is
    not enough. It joins nothing, starts nothing, and keeps no proxy from ending when it is idle.

    \b
    Ends with
      0   both planes answered
      1   something is there but does not answer, or more than --max-lost
          events were lost since the proxy's start
      3   no proxy: nothing listens, or it cannot be reached
    and with --format nagios: 0 OK, 1 WARNING (--max-lost), 2 CRITICAL (all
    else), 3 UNKNOWN (wrong settings)

    \b
    Examples:
      fabric check
      fabric check --url tcp://127.0.0.1:7400 --timeout 0.5
      fabric check --format nagios --max-lost 0
      fabric check --format prometheus > /var/lib/node_exporter/fabric.prom

    In a Dockerfile: HEALTHCHECK --timeout=5s CMD ["fabric", "check"]
    """
    started = monotonic()
    try:
        address = address_of(url)
    except SettingsError as error:
        if how != "nagios":
            raise
        return _say(Verdict(Level.UNKNOWN, url or "", str(error), state="unknown"), how)
    check_thread = _CheckThread(address, started + timeout * _ANSWER_SHARE, max_lost)
    verdict = check_thread.wait(started + timeout)
    code = _say(verdict._replace(took=monotonic() - started), how)
    if not check_thread.has_ended(_CLOSE_TIMEOUT):
        os._exit(code)  # the stuck thread cannot be ended otherwise
    return code


def _say(verdict: Verdict, how: str) -> int:
    code = exit_code(verdict, how)
    try:
        Output().write(f"{FORMATS[how](verdict)}\n")
    except OSError as error:  # the line cannot be written; the exit code counts
        ended_by(error)
    return code


class _CheckThread:
    """A thread that checks the proxy, and its results so far."""

    def __init__(self, address: Address, deadline: float, max_lost: int | None) -> None:
        self._address = address
        self._started = monotonic()
        self._deadline = deadline
        self._max_lost = max_lost
        self._found = threading.Event()
        self._verdict: Verdict | None = None
        self._listens = False
        self._check = CheckResult()
        self._thread = threading.Thread(target=self._run, name="fabric-check", daemon=True)
        self._thread.start()

    def wait(self, deadline: float) -> Verdict:
        """The verdict; if there is none by the deadline (monotonic), one from the facts so far."""
        self._found.wait(max(deadline - monotonic(), 0.0))
        return self._verdict or self._too_late()

    def has_ended(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the thread; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self_check: SelfCheck | None = None
        try:
            client.check(self._address, _round(self._left()))
            self._listens = True
            self_check = SelfCheck(self._address)
            self._check = self_check.check(self._left())
            if self._check.good and (second := self_check.check(self._left())).good:
                self._check = second  # the first one includes connecting
            self._verdict = self._judge(self._check)
        except client.NoAnswer as error:
            level = Level.CRITICAL if isinstance(error, client.NotAnswering) else Level.DOWN
            self._verdict = self._wrong(level, str(error), error.state)
        except FabricError as error:
            self._verdict = self._wrong(Level.CRITICAL, str(error), "not answering")
        except Exception as error:
            self._verdict = self._wrong(Level.CRITICAL, f"this should not happen: {error!r}", "unknown")
        self._found.set()
        if self_check is not None:
            self_check.close()

    def _judge(self, result: CheckResult) -> Verdict:
        if result.events is None or result.messages is None:
            client.check(self._address, _round(self._left()))  # raises if it has ended meanwhile
            raise client.NotAnswering(self._address.url, _silent(result, monotonic() - self._started))
        stats: ProxyStats = client.stats(self._address, _round(self._left()))
        return judged(self._address.url, result.events, result.messages, stats, self._max_lost)

    def _left(self) -> float:
        # Never 0: an answer that has arrived already must be read.
        return max(self._deadline - monotonic(), 0.05)

    def _wrong(self, level: Level, why: str, state: str) -> Verdict:
        return Verdict(level, self._address.url, why, state, self._check.events, self._check.messages)

    def _too_late(self) -> Verdict:
        seconds = monotonic() - self._started
        if not self._listens:
            why = f"cannot reach {self._address.url}: no connection within {seconds:.1f} s, nor an address for its host"
            return self._wrong(Level.DOWN, why, client.NotReachable.state)
        why = f"something listens at {self._address.url}, but {_silent(self._check, seconds)}"
        return self._wrong(Level.CRITICAL, why, client.NotAnswering.state)


def _round(seconds: float) -> float:
    # It is printed.
    return max(round(seconds, 1), 0.1)


def _silent(result: CheckResult, seconds: float) -> str:
    within = f"within {seconds:.1f} s"
    if result.events is None and result.messages is None:
        return f"neither plane answered {within}: it is stopped or stuck, or it is no proxy"
    if result.events is None:
        return f"no event came through {within}; messages are answered"
    if result.messages is None:
        return f"no message was answered {within}; events come through"
    return f"it did not say how it is {within}"
