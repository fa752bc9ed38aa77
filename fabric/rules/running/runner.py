"""Runs actions: each on a worker pool of its own, programs within limits and behind a circuit breaker.

    put ──▸ [ bounded queue ] ──▸ a few threads ──▸ attempt ──▸ run ──▸ program
            full: `dropped`                         raises:      breaker open:
                                                    `failures`   `suppressed`, not run

An action keeps its pool and its breaker across reloads for as long as the file defines it in the same way. Jobs that wait
for an action that was changed still run, with its old definition.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cached_property
from time import monotonic
from typing import NamedTuple

from fabric.rules.fill import without_controls
from fabric.rules.match import Planned
from fabric.rules.model import Action, Command, ExecAction, ProgramFormat, RouteAction
from fabric.rules.reading.file import Rules
from fabric.rules.running.render import arguments, command_of, variables_of
from fabric.system.message_environment import environment, value_of
from fabric.system.run_program import Ran, run
from fabric.system.worker_pool import Job, WorkerPool

logger = logging.getLogger("fabric.rules")

#: Bytes of a program's output, and of its errors.
MAX_OUTPUT = 1024 * 1024
#: Bytes at the end of its errors in which the line for the log is looked for.
MAX_LAST_LINE = 500


class ActionFailed(Exception):
    """An action failed, and that has been counted."""


class CircuitBreaker:
    """Open for `cooldown` seconds after `max_failures` consecutive failures; then one further failure opens it again.

    Any thread. Times are monotonic seconds.
    """

    def __init__(self, max_failures: int, cooldown: float) -> None:
        self._max_failures = max_failures
        self._cooldown = cooldown
        self._failures = 0
        self._open_until = 0.0
        self._lock = threading.Lock()

    def is_open(self, now: float) -> bool:
        """Whether the action is to be skipped."""
        return now < self._open_until

    def succeeded(self) -> None:
        """Count from 0 again."""
        with self._lock:
            self._failures = 0

    def failed(self, now: float) -> bool:
        """Count a failure; whether that opens it."""
        with self._lock:
            self._failures += 1
            if self._failures < self._max_failures:
                return False
            self._failures = self._max_failures - 1
            self._open_until = now + self._cooldown
            return self._cooldown > 0


class ActionState(NamedTuple):
    """Pool and breaker of one action."""

    action: Action
    pool: WorkerPool
    breaker: CircuitBreaker


class Runner:
    """The pools and breakers of all actions. Every method may be called on any thread; none blocks."""

    def __init__(self, rules: Rules, url: str | None, *, clock: Callable[[], float] = monotonic) -> None:
        """`url` is the proxy's address, for programs; `clock` returns monotonic seconds, for the cooldown of programs."""
        self.rules = rules
        self.url = url
        self.clock = clock
        self._lock = threading.Lock()
        self._states: dict[tuple[str, int], ActionState] = {}
        #: Of actions that a reload has changed, until their pools are idle.
        self._replaced: list[ActionState] = []
        self._closed = False

    def begin(self, planned: Planned) -> ActionRun:
        """A run of the planned action."""
        return ActionRun(self, planned)

    def state_of(self, planned: Planned) -> ActionState:
        """Pool and breaker of the action; new ones if there are none, or if a reload has changed it."""
        key = (planned.rule.name, planned.number)
        with self._lock:
            state = self._states.get(key)
            if state is None or state.action != planned.action:
                if state is not None:
                    self._replaced = [each for each in self._replaced if not each.pool.is_idle]
                    self._replaced.append(state)
                state = self._states[key] = _new_state(planned)
                if self._closed:
                    state.pool.close()
            return state

    def pools(self) -> list[WorkerPool]:
        """The pools of all actions that have run."""
        with self._lock:
            return [state.pool for state in (*self._states.values(), *self._replaced)]

    def close(self) -> None:
        """Drop the jobs that wait, and end running programs. Does not wait for the threads."""
        with self._lock:
            self._closed = True
        for pool in self.pools():
            pool.close()


def _new_state(planned: Planned) -> ActionState:
    action = planned.action
    limit, concurrency = 1_000, 1
    if isinstance(action, ExecAction):
        limit, concurrency = action.queue, action.concurrency
    elif isinstance(action, RouteAction):
        limit = action.queue
    command = command_of(action)
    return ActionState(
        action,
        WorkerPool(f"rules-{planned.kind}-{planned.rule.name}", limit=limit, concurrency=concurrency),
        CircuitBreaker(command.max_failures, command.cooldown) if command else CircuitBreaker(1, 0.0),
    )


class ActionRun:
    """One run of a planned action. Every method may be called on any thread; only `run` and `format` block."""

    def __init__(self, runner: Runner, planned: Planned) -> None:
        self.planned = planned
        self._runner = runner
        self._name = planned.rule.name
        self._counters = runner.rules.tally

    @cached_property
    def _state(self) -> ActionState:
        # Looked up once: after a reload that changes the action, a job that waits belongs to the old one.
        return self._runner.state_of(self.planned)

    def put(self, work: Callable[[], None], size: int = 0, dropped: Callable[[], None] | None = None) -> None:
        """Call `work` on the action's pool; an exception is counted. If it is dropped, `dropped` is called instead.

        `size` is the number of bytes that `work` holds.
        """

        def run() -> None:
            self.count("runs")
            self.attempt(work)

        def lost() -> None:
            self.count("dropped")
            if dropped is not None:
                dropped()

        self._state.pool.put(Job(run, lost, size))

    def count(self, count: str) -> None:
        """Add one to a count of the rule; see `Counters.count`."""
        self._counters.count(self._name, count)

    def attempt(self, work: Callable[[], object]) -> None:
        """Call `work` here; an exception is counted, unless it is ActionFailed."""
        try:
            work()
        except ActionFailed:
            pass
        except Exception as error:
            self.failed(text_of_error(error))

    def failed(self, problem: str) -> None:
        """Count and log a failure of the action."""
        self._counters.failed(self._name, f"{self.planned.kind}: {problem}")
        # Without the text of the message: it belongs to its receiver.
        logger.warning("rule %r, %s: %s", self._name, self.planned.kind, problem)

    # Programs

    def is_suppressed(self) -> bool:
        """Whether the breaker of the action's program is open; if so, that is counted."""
        if is_open := self._state.breaker.is_open(self._runner.clock()):
            self.count("suppressed")
        return is_open

    def run(self, command: Command, data: bytes) -> Ran:
        """Run the action's program with `data` on its stdin, and wait for its end. ActionFailed says what went wrong."""
        state = self._state
        try:
            argv, variables = arguments(command, self.planned.context()), self._environment(command)
        except ValueError as error:
            # The message cannot be passed to the program: no failure of the program.
            self.failed(str(error))
            raise ActionFailed(str(error)) from None
        try:
            ran = run(
                argv,
                data,
                variables,
                timeout=command.timeout,
                limit=MAX_OUTPUT,
                directory=self._runner.rules.directory,
                cancelled=lambda: state.pool.closing,
            )
        except (OSError, ValueError) as error:
            raise self._program_failed(command, text_of_error(error)) from None
        if ran.problem:
            raise self._program_failed(command, f"{ran.problem}{_last_line(ran.errors)}")
        state.breaker.succeeded()
        return ran

    def format(self, form: ProgramFormat, data: bytes, *, colour: bool, limit: int) -> str:
        """The output of a format program, without controls. ActionFailed if it fails or prints nothing."""
        output = self.run(form.command, data).output
        text = without_controls(output.decode(errors="replace"), colour=colour and form.colour, limit=limit)
        if not text.strip():
            raise self._program_failed(form.command, "printed nothing")
        return text

    def _environment(self, command: Command) -> dict[bytes, bytes]:
        item, url = self.planned.item, self._runner.url
        message = {"id": item.id, "to": item.to, "from": item.sender, "ts": item.ts, "request": item.request}
        more = {name: getattr(item, name) for name in ("type", "channel", "text", "topic", "kind")}
        found = environment(message, url or "", {**more, "rule": self._name})
        if not url:
            del found[b"FABRIC_URL"]
        for name, text in variables_of(command, self.planned.context()).items():
            found[name.encode()] = value_of(text)
        return found

    def _program_failed(self, command: Command, problem: str) -> ActionFailed:
        program = str(command.argv[0].parts[0])
        self.failed(f"{program} {problem}")
        if self._state.breaker.failed(self._runner.clock()):
            logger.warning(
                "%s, of rule %r, failed %d times in a row, and rests for %g s",
                *(program, self._name, command.max_failures, command.cooldown),
            )
        return ActionFailed(problem)


def text_of_error(error: Exception) -> str:
    """An error in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be run: {error.strerror}"
    return str(error) or type(error).__name__


def _last_line(output: bytes) -> str:
    lines = output[-MAX_LAST_LINE:].decode(errors="backslashreplace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last!r}" if last else ""
