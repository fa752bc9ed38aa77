"""Runs a program for each message (`--exec`), one after the other.

    main thread                        worker thread
    message ──▸ a queue ─────────────▸ `fabric.system.run_program.run`
    waits   ◂── a queue ◂───────────── its result, or its error

The program does not run on the main thread: there a signal handler (Ctrl-C, SIGTERM) may raise at any point, also
between the fork and the assignment of its result. When the main thread leaves the block, in whatever way, the worker
ends the program, and the main thread waits for that. The queues are SimpleQueues, because an exception inside the `with`
of a Condition can leave it locked.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

import orjson

from cli.exits import FAILED, Failure, complain
from cli.terminal.output import Output
from fabric.messages.message import Message
from fabric.node.node import Node
from fabric.system.message_environment import ProgramFailed, answer_of, environment
from fabric.system.run_program import Ran, run
from fabric.system.terminal import safe

#: Bytes of a program's stderr that are shown.
MAX_ERRORS = 64 * 1024
#: Seconds between checks for a signal: one that the kernel gave to another thread does not end a wait of this one.
_POLL_INTERVAL = 0.2


def resolved(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command line with the path of its program. Failure if there is none: before the first message is accepted."""
    if not argv:
        return ()
    if (program := shutil.which(os.path.expanduser(argv[0]))) is None:
        raise Failure(FAILED, f"there is no program {argv[0]!r} that can be run")
    return (os.path.abspath(program), *argv[1:])


class ProgramHandler:
    """A handler of messages that runs the program `argv` for each, ended after `timeout` seconds. A context manager.

    The program's output answers a request; for any other message it is written to `out`. A failure is printed on stderr,
    and fails the request.
    """

    def __init__(self, argv: tuple[str, ...], timeout: float | None, node: Node, out: Output) -> None:
        self._argv = argv
        self._timeout = timeout
        self._node = node
        self._out = out
        self._worker = _Worker()

    def __enter__(self) -> ProgramHandler:
        self._worker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._worker.end()

    def __call__(self, message: Message) -> None:
        """Run it, and wait for its end."""
        try:
            answer = self._run(message)
        except (ProgramFailed, OSError) as error:
            complain(f"{safe(self._argv[0])}, on message {message.id} from {safe(message.sender)}: {safe(str(error))}")
            message.fail(error)
            return
        if message.is_request:
            message.reply(answer_of(answer))
        elif answer:
            self._out.write(answer.decode(errors="backslashreplace"))

    def _run(self, message: Message) -> bytes:
        facts = {**message, "request": message.is_request}
        data, told, limit = _encoded(facts) + b"\n", environment(facts, self._node.url), self._node.settings.max_bytes

        def work() -> Ran:
            return run(
                self._argv, data, told, timeout=self._timeout, limit=limit, cancelled=lambda: self._worker.is_ending
            )

        ran = self._worker.call(work)
        if ran.errors:
            sys.stderr.write(ran.errors[:MAX_ERRORS].decode(errors="backslashreplace"))
            sys.stderr.flush()
        if ran.problem:
            last = ran.errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise ProgramFailed(f"{ran.problem}: {last}" if last else ran.problem)
        if ran.cut:
            raise ProgramFailed(f"printed more than {limit:,} bytes")
        return ran.output


class _Worker:
    """A thread that makes the calls of the main thread, which waits for each."""

    def __init__(self) -> None:
        #: Whether the current call should end.
        self.is_ending = False
        self._calls: SimpleQueue[Callable[[], Ran] | None] = SimpleQueue()
        self._results: SimpleQueue[Ran | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fabric-exec", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(self, function: Callable[[], Ran]) -> Ran:
        """Call `function` on the worker, and return or raise its result."""
        self._calls.put(function)
        while True:
            try:
                result = self._results.get(timeout=_POLL_INTERVAL)
            except Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            return result

    def end(self) -> None:
        """End the current call, make no more calls, and wait for the thread."""
        self.is_ending = True
        self._calls.put(None)
        while self._thread.is_alive():
            self._thread.join(_POLL_INTERVAL)

    def _work(self) -> None:
        while (function := self._calls.get()) is not None and not self.is_ending:
            try:
                self._results.put(function())
            except BaseException as error:
                self._results.put(error)


def _encoded(facts: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(facts)
    except TypeError as error:  # orjson reads deeper nesting than it writes
        raise ProgramFailed(f"the message cannot be handed on: {error}") from None
