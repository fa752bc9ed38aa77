"""Workers and servers: processes started here, and ended by their handles, whatever happens.

A worker is asked line by line on its stdin and answers on its stdout, both JSON; it ends when its stdin does, so that
even a harness that is killed leaves none. Servers know no such thing: they are ended by `close`, which every way out of
a `with` takes, and by `end_all`, for those that a signal kept from getting there. Each process has a session of its own:
Ctrl-C reaches the harness, which ends the others in order.
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
#: Seconds that a process may need to start, and to answer a question that involves no measuring.
START = 30.0

#: All that were started and not closed.
_running: set[Process] = set()
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ProcessFailed(Exception):
    """A worker or server ended, said that it failed, or said nothing in time."""


class Process:
    """Something that runs until `close`. Its output goes to a file, which is shown when it fails."""

    def __init__(self, name: str, command: Sequence[str | Path], directory: Path) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        # Whoever runs the benchmarks may have settings of their own.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FABRIC_")}
        environment["XDG_CONFIG_HOME"] = str(directory)
        with self._log.open("wb") as log, _no_interruption():
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
        """Seconds of CPU it has used, over all of its threads, in nanosecond steps."""
        used = 0
        for task in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # a thread that ended in between
                used += int(task.read_text().split()[0])
        return used / 1e9

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until it is so; ProcessFailed when it ends before, or takes too long."""
        until = monotonic() + START
        while not condition():
            if self._process.poll() is not None or monotonic() > until:
                raise self.failed("did not start")
            sleep(0.01)

    def failed(self, problem: str) -> ProcessFailed:
        """The error that says so, with what it logged last."""
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
        """Ask, and do not wait."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orjson.dumps([question, arguments]) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.failed(f"was gone when asked to {question}") from None

    def answer(self, within: float = START) -> Any:
        """What it answers. ProcessFailed if that is an error, or does not come in time."""
        assert self._process.stdout is not None
        until = monotonic() + within
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(until - monotonic(), 0))
            if not ready:
                # It writes where each of its threads stands, which its log then ends with.
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

    def ask(self, question: str, within: float = START, **arguments: Any) -> Any:
        """Ask, and wait for the answer."""
        self.begin(question, **arguments)
        return self.answer(within)


def end_all() -> None:
    """Close what is left: an exception can come between the start of a process and the `with` that would end it."""
    for process in list(_running):
        process.close()


@contextmanager
def _no_interruption() -> Iterator[None]:
    """Signals that would raise here do so at the end: a child whose handle was lost on the way would go on for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for missed in came:
            signal.raise_signal(missed)
