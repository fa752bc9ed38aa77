"""Where actions run: each in a lane of its own, programs within limits, and what fails again and again rests.

An action's lane is its own from reload to reload, as long as the file says the same of it; what waits in the lane of one
that was changed is still done, as it was meant then.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from fabric.rules.fill import without_controls
from fabric.rules.match import Planned
from fabric.rules.model import Command, ExecAction, ProgramFormat, RouteAction
from fabric.rules.reading.file import Rules
from fabric.rules.running.circuit_breaker import CircuitBreaker
from fabric.rules.running.render import arguments, command_of, variables
from fabric.system.run_program import Ran, environment, run, value_of
from fabric.system.worker_pool import Job, WorkerPool

logger = logging.getLogger("fabric.rules")

#: Bytes of what a program prints, and of it what is told of a failure.
MAX_OUTPUT = 1024 * 1024
MAX_SAID = 500


class ActionFailed(Exception):
    """An action came to nothing, and that has been counted."""


class ActionState:
    """What one action has to itself."""

    def __init__(self, planned: Planned) -> None:
        action = planned.action
        limit, concurrency = 1_000, 1
        if isinstance(action, ExecAction):
            limit, concurrency = action.queue, action.concurrency
        elif isinstance(action, RouteAction):
            limit = action.queue
        self.action = action
        self.lane = WorkerPool(f"{planned.kind}-{planned.rule.name}", limit=limit, concurrency=concurrency)
        command = command_of(planned)
        self._rest = CircuitBreaker(command.max_failures, command.cooldown) if command else CircuitBreaker(1, 0.0)
        self._lock = threading.Lock()

    @property
    def rests(self) -> bool:
        """Whether its program is left alone for now."""
        with self._lock:
            return self._rest.rests(monotonic())

    def succeeded(self) -> None:
        """Its program did."""
        with self._lock:
            self._rest.succeeded()

    def failed(self) -> bool:
        """Its program did; whether it rests from now on."""
        with self._lock:
            return self._rest.failed(monotonic())


class Runner:
    """The lanes of all actions. Every method may be called on any thread; only `run` and `made` take their time."""

    def __init__(self, rules: Rules, url: str | None) -> None:
        self._rules = rules
        self._url = url
        self._lock = threading.Lock()
        self._owns: dict[tuple[str, int], ActionState] = {}
        self._gone: list[ActionState] = []
        self._closed = False

    def own(self, planned: Planned) -> ActionState:
        """What the action of `planned` has to itself."""
        key = (planned.rule.name, planned.number)
        with self._lock:
            own = self._owns.get(key)
            if own is None or own.action != planned.action:
                if own is not None:
                    self._gone = [each for each in self._gone if not each.lane.is_idle]
                    self._gone.append(own)
                own = self._owns[key] = ActionState(planned)
                if self._closed:
                    own.lane.close()
            return own

    def put(
        self, planned: Planned, do: Callable[[], None], size: int = 0, dropped: Callable[[], None] | None = None
    ) -> None:
        """Have `do` done in the action's lane; what it raises is counted. `dropped` is called if it never will be."""

        def run() -> None:
            self._rules.tally.count(planned.rule.name, "runs")
            self.attempt(planned, do)

        def lost() -> None:
            self._rules.tally.count(planned.rule.name, "dropped")
            if dropped is not None:
                dropped()

        self.own(planned).lane.put(Job(run, lost, size))

    def attempt(self, planned: Planned, do: Callable[[], object]) -> None:
        """Do it here; what it raises is counted."""
        try:
            do()
        except ActionFailed:
            pass
        except Exception as error:
            self.failed(planned, said_of(error))

    def failed(self, planned: Planned, problem: str) -> None:
        """The action came to nothing."""
        self._rules.tally.failed(planned.rule.name, f"{planned.kind}: {problem}")
        # No texts of messages here: those belong to whoever they are for.
        logger.warning("rule %r, %s: %s", planned.rule.name, planned.kind, problem)

    # Programs

    def rests(self, planned: Planned) -> bool:
        """Whether the action's program is left alone for now: then that is counted."""
        if rests := self.own(planned).rests:
            self._rules.tally.count(planned.rule.name, "suppressed")
        return rests

    def run(self, planned: Planned, command: Command, data: bytes) -> Ran:
        """Run the action's program, and wait for it. Failed if anything is wrong with it; its text says what."""
        own = self.own(planned)
        try:
            argv, told = arguments(command, planned.context()), self._environment(planned, command)
        except ValueError as error:
            # What cannot be handed over is the message's fault, and says nothing of the program.
            self.failed(planned, str(error))
            raise ActionFailed(str(error)) from None
        try:
            ran = run(
                argv,
                data,
                told,
                timeout=command.timeout,
                limit=MAX_OUTPUT,
                directory=self._rules.directory,
                cancelled=lambda: own.lane.closing,
            )
        except (OSError, ValueError) as error:
            raise self._program_failed(planned, own, command, said_of(error)) from None
        if ran.problem:
            raise self._program_failed(planned, own, command, f"{ran.problem}{_last(ran.errors)}")
        own.succeeded()
        return ran

    def made(self, planned: Planned, form: ProgramFormat, data: bytes, *, colour: bool, limit: int) -> str:
        """What a format program prints; Failed if it fails or prints nothing."""
        output = self.run(planned, form.command, data).output
        text = without_controls(output.decode(errors="replace"), colour=colour and form.colour, limit=limit)
        if not text.strip():
            raise self._program_failed(planned, self.own(planned), form.command, "printed nothing")
        return text

    def _environment(self, planned: Planned, command: Command) -> dict[bytes, bytes]:
        item = planned.item
        told = {"id": item.id, "to": item.to, "from": item.sender, "ts": item.ts, "request": item.request}
        more = {name: getattr(item, name) for name in ("type", "channel", "text", "topic", "kind")}
        found = environment(told, self._url or "", {**more, "rule": planned.rule.name})
        if not self._url:
            del found[b"FABRIC_URL"]
        for name, text in variables(command, planned.context()).items():
            found[name.encode()] = value_of(text)
        return found

    def _program_failed(self, planned: Planned, own: ActionState, command: Command, problem: str) -> ActionFailed:
        name = str(command.argv[0].parts[0])
        self.failed(planned, f"{name} {problem}")
        if own.failed():
            logger.warning(
                "%s, of rule %r, failed %d times in a row, and rests for %g s",
                *(name, planned.rule.name, command.max_failures, command.cooldown),
            )
        return ActionFailed(problem)

    # The end

    def lanes(self) -> list[WorkerPool]:
        """Of all actions that have run."""
        with self._lock:
            return [own.lane for own in (*self._owns.values(), *self._gone)]

    def close(self) -> None:
        """Begin nothing more, and end what runs; threads are not waited for."""
        with self._lock:
            self._closed = True
        for lane in self.lanes():
            lane.close()


def said_of(error: Exception) -> str:
    """An error in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be run: {error.strerror}"
    return str(error) or type(error).__name__


def _last(output: bytes) -> str:
    """The last line that a program printed."""
    lines = output[-MAX_SAID:].decode(errors="backslashreplace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last!r}" if last else ""
