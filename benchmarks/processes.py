"""Workers and servers: processes that are started here and always ended, by their handles.

A worker reads questions from its stdin and writes answers to its stdout, one JSON value a line. It ends when its stdin is
closed, also if the harness is killed. Servers do not: they are ended by `close`, at the end of a `with`, and by `end_all`,
if a signal came before the `with`. Each process has a session of its own, so Ctrl-C reaches the harness only, which ends
the others in order.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import orjson

ROOT = Path(__file__).absolute().parent.parent
#: Seconds for a process to start, and to answer a question that measures nothing.
TIMEOUT = 30.0

#: Processes that are started and not closed.
_running: set[Process] = set()
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ProcessFailed(Exception):
    """A worker or server ended, reported an error, or did not answer in time."""


class Process:
    """A process that runs until `close`. Its output goes to a file, which is part of the error if it fails."""

    def __init__(self, name: str, command: Sequence[str | Path], directory: Path) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        # Without the settings of the user who runs the benchmarks.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FABRIC_")}
        environment["XDG_CONFIG_HOME"] = str(directory)
        with self._log.open("wb") as log, _deferred_signals():
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=self._stdout(log.fileno()),
                stderr=log,
                start_new_session=True,
            )
            _running.add(self)

    def _stdout(self, log: int) -> int:
        return log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds of all its threads, in nanosecond steps."""
        used = 0
        for task in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # a thread that ended in between
                used += int(task.read_text().split()[0])
        return used / 1e9

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition. ProcessFailed if the process ends before, or after the timeout."""
        until = monotonic() + TIMEOUT
        while not condition():
            if self._process.poll() is not None or monotonic() > until:
                raise self.failed("did not start")
            sleep(0.01)

    def failed(self, problem: str) -> ProcessFailed:
        """The error for `problem`, with the end of its log."""
        status = self._process.poll()
        state = "still runs" if status is None else f"exited with {status}"
        log = self._log.read_text(errors="replace").strip()
        return ProcessFailed(f"{self.name} {problem} ({state})\n{log[-4_000:]}".rstrip())

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        _running.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Worker(Process):
    """A process that runs `benchmarks.worker`. One question at a time: `ask`, or `begin` and later `answer`."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name, [sys.executable, "-m", "benchmarks.worker"], directory)
        self._read = b""

    def _stdout(self, log: int) -> int:
        return subprocess.PIPE

    def begin(self, question: str, **arguments: Any) -> None:
        """Send a question, and do not wait."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orjson.dumps([question, arguments]) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.failed(f"was gone when asked to {question}") from None

    def answer(self, within: float = TIMEOUT) -> Any:
        """Wait for the answer. ProcessFailed if it is an error, or does not arrive `within` seconds."""
        assert self._process.stdout is not None
        until = monotonic() + within
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(until - monotonic(), 0))
            if not ready:
                # SIGABRT makes it write the stacks of its threads to the end of its log.
                self._process.send_signal(signal.SIGABRT)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(2.0)
                raise self.failed(f"did not answer within {within:g} s")
            part = os.read(self._process.stdout.fileno(), 65_536)
            if not part:
                self._process.wait()
                raise self.failed("ended")
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        answer = orjson.loads(line)
        if "error" in answer:
            raise ProcessFailed(f"{self.name}: {answer['error']}")
        return answer["answer"]

    def ask(self, question: str, within: float = TIMEOUT, **arguments: Any) -> Any:
        """Send a question, and wait for the answer."""
        self.begin(question, **arguments)
        return self.answer(within)


def end_all() -> None:
    """Close all processes: an exception can come between the start of one and the `with` that would end it."""
    for process in list(_running):
        process.close()


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Defer signals to the end of the block: an exception inside could lose the handle of a child, which would run on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    deferred: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: deferred.append(number)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in deferred:
            signal.raise_signal(late)
