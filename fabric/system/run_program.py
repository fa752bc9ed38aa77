"""Runs a program of the user within limits of time and memory, with bytes on its stdin.

    argv, without a shell ──▸ a session and a process group of its own
        ──program exits──────────────▸ KILL to the processes that it left in its group
        ──timeout, or `cancelled()`──▸ TERM to the group ──`grace` seconds──▸ KILL to the group

The program may do anything: never read its input, write a gigabyte, fork, ignore signals, leave its output open. In none of
these cases does `run` take longer than timeout plus grace period, or hold more than `limit` bytes of each output. A process
that is to outlive the program must be started in a session of its own (`setsid`).

The environment and the input of programs that act on messages: `fabric.system.message_environment`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import IO, NamedTuple

#: The grace period: seconds between TERM and KILL.
GRACE = 2.0
#: Seconds between checks of conditions that send no wake-up.
_POLL_INTERVAL = 0.1
#: The same for the exit of the program, where the kernel offers no descriptor for it.
_EXIT_POLL_INTERVAL = 0.01
_CHUNK_SIZE = 64 * 1024


class Ran(NamedTuple):
    """The result of a program. `status` is its exit status; negative: the number of the signal that ended it."""

    status: int
    output: bytes
    errors: bytes
    #: Output or errors exceeded the limit, and their rest is missing.
    cut: bool
    timed_out: bool
    seconds: float

    @property
    def problem(self) -> str:
        """The failure in a few words; empty for exit status 0."""
        if self.timed_out:
            return f"was ended after {self.seconds:.1f} s"
        if self.status < 0:
            return f"was killed by {_signal_name(-self.status)}"
        return f"ended with exit status {self.status}" if self.status else ""


def _never() -> bool:
    return False


def run(
    argv: Sequence[str],
    data: bytes,
    environment: Mapping[bytes, bytes],
    *,
    timeout: float | None = None,
    limit: int,
    directory: str | None = None,
    cancelled: Callable[[], bool] = _never,
    grace: float | None = None,
) -> Ran:
    """Run the program with `data` on its stdin, in `directory`, and wait for its end. OSError if it cannot be started.

    `limit` bytes of its output, and of its errors, are kept; the rest is read and discarded. When `cancelled()` is true the
    program is ended as after its timeout. `grace`: seconds between TERM and KILL, `GRACE` if None.

    Not on the main thread of a process whose signal handlers raise: an exception between the fork and the first statement
    that knows the process would leave it running.
    """
    grace = GRACE if grace is None else grace
    started = monotonic()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=environment,
        cwd=directory,
        start_new_session=True,
    )
    pipes = _Pipes(process, data, limit)
    try:
        timed_out = not pipes.serve(None if timeout is None else started + timeout, cancelled)
        if timed_out:
            _signal_group(process.pid, signal.SIGTERM)
            pipes.serve(monotonic() + grace, _never)
    finally:
        status = _kill_and_reap(process)
        pipes.read_rest()
        pipes.close()
    return Ran(status, bytes(pipes.output), bytes(pipes.errors), pipes.cut, timed_out, monotonic() - started)


class _Pipes:
    """The pipes of a running program: writes its input and reads its output at once, without blocking on either."""

    def __init__(self, process: subprocess.Popen[bytes], data: bytes, limit: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.output = bytearray()
        self.errors = bytearray()
        self.cut = False
        self._pid = process.pid
        self._limit = limit
        self._input = memoryview(data)
        self._stdin: IO[bytes] = process.stdin
        self._buffers = {process.stdout.fileno(): self.output, process.stderr.fileno(): self.errors}
        self._files: list[IO[bytes]] = [process.stdin, process.stdout, process.stderr]
        self._poll = select.poll()
        for file in self._files:
            os.set_blocking(file.fileno(), False)
        for descriptor in self._buffers:
            self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._stdin.fileno(), select.POLLOUT)
        self._exit_descriptor = _open_pidfd(process.pid)
        if self._exit_descriptor is not None:
            self._poll.register(self._exit_descriptor, select.POLLIN)

    def serve(self, until: float | None, cancelled: Callable[[], bool]) -> bool:
        """Transfer data until the program has ended: True. False when `until` (monotonic) is over, or it was cancelled."""
        while not _has_ended(self._pid):
            left = _POLL_INTERVAL if until is None else min(until - monotonic(), _POLL_INTERVAL)
            if left <= 0 or cancelled():
                return False
            self._step(left if self._exit_descriptor is not None else min(left, _EXIT_POLL_INTERVAL))
        return True

    def read_rest(self) -> None:
        """Read the present content of the pipes. Does not wait for a process outside the group that keeps them open."""
        for descriptor in list(self._buffers):
            while self._read(descriptor):
                pass

    def close(self) -> None:
        """Close the pipes."""
        for file in self._files:
            file.close()
        if self._exit_descriptor is not None:
            os.close(self._exit_descriptor)
            self._exit_descriptor = None

    def _step(self, wait: float) -> None:
        for descriptor, _ in self._poll.poll(wait * 1_000 + 1):
            if descriptor in self._buffers:
                self._read(descriptor)
            elif descriptor != self._exit_descriptor:
                self._write()

    def _read(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, _CHUNK_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self._poll.unregister(descriptor)
            del self._buffers[descriptor]
            return False
        buffer = self._buffers[descriptor]
        free = self._limit - len(buffer)
        buffer += data[:free]
        self.cut = self.cut or len(data) > free
        # A full buffer ends the loop of `read_rest`: the output of a program that writes for ever has no end.
        return len(buffer) < self._limit

    def _write(self) -> None:
        try:
            self._input = self._input[os.write(self._stdin.fileno(), self._input[:_CHUNK_SIZE]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the program closed its stdin without reading all of it, which is no failure
            self._input = memoryview(b"")
        if not self._input:
            self._poll.unregister(self._stdin.fileno())
            self._stdin.close()


def _kill_and_reap(process: subprocess.Popen[bytes]) -> int:
    # Before the wait: until the program is reaped no other process can get its pid, nor its process group's id.
    _signal_group(process.pid, signal.SIGKILL)
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:  # blocked in the kernel, on a disk that is gone; a later Popen reaps it
        return -signal.SIGKILL


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # an older kernel, or a sandbox without pidfd
        return None


def _has_ended(pid: int) -> bool:
    # WNOWAIT: it stays a zombie, so that its pid stays taken until its group has been killed.
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # no process is left, or it runs as another user (setuid)
        pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
