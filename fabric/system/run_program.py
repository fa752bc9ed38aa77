"""Runs somebody's program for a message: the message on its stdin, its facts in the environment, within limits.

    argv, never a shell ──▸ a session and a process group of its own ──▸ ended in one of three ways:
        by itself                      what it left in its group is killed
        timeout, or we are ending      TERM to the group, KILL to it `GRACE` seconds later

A program may do anything: never read its input, write a gigabyte, fork, ignore signals, leave its output open. None of
that makes `run` take longer than its timeout and the grace, or need more memory than its limit. What it starts and
wants to outlive it, it starts in a session of its own (`setsid`).
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import IO, Any, NamedTuple

import orjson

#: Seconds between being asked to end (TERM) and being made to (KILL).
GRACE = 2.0
#: Bytes of one environment variable; execve takes 128 KiB, and whoever wants all of a text finds it on stdin.
MAX_VALUE = 32 * 1024
#: Seconds between looks at what sends no wake-up.
_LOOK = 0.1
#: Seconds that a thread waits for the one that started it; it takes microseconds.
_BEGIN_TIMEOUT = 10.0
_CHUNK = 64 * 1024


class ProgramFailed(Exception):
    """A program that should answer a message failed. An asker sees the name of this class in its `RemoteError`."""


class Ran(NamedTuple):
    """How a program ended. `status` is its exit status, negative: the signal that ended it."""

    status: int
    output: bytes
    errors: bytes
    #: Some of either was over the limit, and is missing.
    cut: bool
    timed_out: bool
    seconds: float

    @property
    def problem(self) -> str:
        """What was wrong with it, in a few words; empty if nothing was."""
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
) -> Ran:
    """Run it with `data` on its stdin. OSError if it cannot be started.

    `limit` is how many bytes of its output, and of its errors, are kept; the rest is read and forgotten. When
    `cancelled()` is true it is ended as if its time were over. `cancelled` may be called on another thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return _run(argv, data, environment, timeout, limit, directory, cancelled)
    return _run_beside(
        lambda left: _run(argv, data, environment, timeout, limit, directory, lambda: bool(left) or cancelled())
    )


def _run_beside(work: Callable[[list[bool]], Ran]) -> Ran:
    """Call `work(left)` on another thread; `left` fills when this one has been interrupted.

    On the main thread a signal handler may raise at any point, also between the fork and the first line that knows the
    program. On another thread none runs. Bare locks, because an exception in the `with` of a Condition can keep it locked.
    """
    left: list[bool] = []
    done: list[Ran | BaseException] = []
    may_begin, has_ended = threading.Lock(), threading.Lock()

    def run_work() -> None:
        if not may_begin.acquire(timeout=_BEGIN_TIMEOUT):
            return  # interrupted before anybody could wait for us
        try:
            done.append(work(left))
        except BaseException as error:
            done.append(error)
        finally:
            has_ended.release()

    may_begin.acquire()
    has_ended.acquire()
    _thread.start_new_thread(run_work, ())
    try:
        may_begin.release()
        # Looks up now and then: a signal that the kernel gave to another thread does not end a wait here.
        while not has_ended.acquire(timeout=_LOOK):
            pass
    except BaseException:
        left.append(True)
        if may_begin.locked() and not done:
            may_begin.release()
        while not done:
            has_ended.acquire(timeout=_LOOK)
        raise
    [outcome] = done
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _run(
    argv: Sequence[str],
    data: bytes,
    environment: Mapping[bytes, bytes],
    timeout: float | None,
    limit: int,
    directory: str | None,
    cancelled: Callable[[], bool],
) -> Ran:
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
            pipes.serve(monotonic() + GRACE, _never)
    finally:
        status = _end(process)
        pipes.read_rest()
        pipes.close()
    return Ran(status, bytes(pipes.output), bytes(pipes.errors), pipes.cut, timed_out, monotonic() - started)


class _Pipes:
    """Feeds a program and reads it, without ever waiting for only one of both."""

    def __init__(self, process: subprocess.Popen[bytes], data: bytes, limit: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.output = bytearray()
        self.errors = bytearray()
        self.cut = False
        self._pid = process.pid
        self._limit = limit
        self._rest = memoryview(data)
        self._in: IO[bytes] = process.stdin
        self._into = {process.stdout.fileno(): self.output, process.stderr.fileno(): self.errors}
        self._files: list[IO[bytes]] = [process.stdin, process.stdout, process.stderr]
        self._poll = select.poll()
        for file in self._files:
            os.set_blocking(file.fileno(), False)
        for descriptor in self._into:
            self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._in.fileno(), select.POLLOUT)
        self._end = _watch(process.pid)
        if self._end is not None:
            self._poll.register(self._end, select.POLLIN)

    def serve(self, until: float | None, cancelled: Callable[[], bool]) -> bool:
        """Go on until the program has ended: True. False when it is time for it to end."""
        while not _has_ended(self._pid):
            left = _LOOK if until is None else min(until - monotonic(), _LOOK)
            if left <= 0 or cancelled():
                return False
            # Without a descriptor that tells of its end, a look every now and then.
            self._step(left if self._end is not None else min(left, 0.01))
        return True

    def read_rest(self) -> None:
        """What is in the pipes now; somebody outside the group may still hold them, and is not waited for."""
        for descriptor in list(self._into):
            while self._read(descriptor):
                pass

    def close(self) -> None:
        """Let go of the pipes."""
        for file in self._files:
            file.close()
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def _step(self, wait: float) -> None:
        for descriptor, _ in self._poll.poll(wait * 1_000 + 1):
            if descriptor in self._into:
                self._read(descriptor)
            elif descriptor != self._end:
                self._write()

    def _read(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._poll.unregister(descriptor)
            del self._into[descriptor]
            return False
        kept = self._into[descriptor]
        room = self._limit - len(kept)
        kept += data[:room]
        self.cut = self.cut or len(data) > room
        # A program that writes without end must not keep us from looking at the clock.
        return len(kept) < self._limit

    def _write(self) -> None:
        try:
            self._rest = self._rest[os.write(self._in.fileno(), self._rest[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not read all of it, which is its own business
            self._rest = memoryview(b"")
        if not self._rest:
            self._poll.unregister(self._in.fileno())
            self._in.close()


def _end(process: subprocess.Popen[bytes]) -> int:
    # Not waited for yet: until then nobody else can have its number, nor its group's.
    _signal_group(process.pid, signal.SIGKILL)
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:  # inside the kernel, on a disk that is gone; reaped by a later Popen
        return -signal.SIGKILL


def _watch(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # an older kernel, or a sandbox that has none
        return None


def _has_ended(pid: int) -> bool:
    # WNOWAIT: it stays a zombie, and its number taken, until its group was killed.
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # all gone; or it became somebody else's (setuid)
        pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# What a program says, and is told


def answer_of(output: bytes) -> Any:
    """What a program printed, as an answer: JSON if it is that, else the text without its last line end."""
    if not output.strip():
        return None
    try:
        return orjson.loads(output)
    except ValueError:
        return output.decode(errors="replace").removesuffix("\n")


def environment(message: Mapping[str, Any], url: str, more: Mapping[str, Any] | None = None) -> dict[bytes, bytes]:
    """Our own environment, and the facts of `message` (`id`, `to`, `from`, `ts`, `body`, …) as `FABRIC_*`.

    FABRIC_ID TO FROM TS                 as stamped by the proxy
    FABRIC_TEXT TYPE CHANNEL             of its body, empty if that has none
    FABRIC_HOLDERS REQUEST               how many got it (hooks only); 1 if somebody waits for an answer
    FABRIC_URL                           the proxy's address, so that `fabric send` in the program goes there
    and each of `more`                   FABRIC_<its name>, in place of one above if that has the same name

    Values are somebody else's words: never put them into a shell's command line unquoted. They have no NUL, and end after
    `MAX_VALUE` bytes; numbers and objects are JSON.
    """
    body = message.get("body")
    facts = {name: message.get(name) for name in ("id", "to", "from", "ts", "holders", "request")}
    facts |= {name: body.get(name) if isinstance(body, dict) else None for name in ("type", "channel", "text")}
    facts |= more or {}
    return {
        **os.environb,
        **{b"FABRIC_" + name.upper().encode(): value_of(fact) for name, fact in facts.items()},
        b"FABRIC_URL": value_of(url),
    }


def value_of(fact: Any) -> bytes:
    """`fact` as the value of an environment variable, or as an argument: without NUL, of at most `MAX_VALUE` bytes."""
    if fact is None:
        return b""
    if fact is True or fact is False:
        return b"1" if fact else b""
    if isinstance(fact, str):
        data = fact.encode(errors="replace")
    else:
        try:
            data = orjson.dumps(fact)
        except TypeError:  # nested deeper than can be written
            data = b""
    data = data.replace(b"\0", b"")
    return data if len(data) <= MAX_VALUE else data[:MAX_VALUE].decode(errors="ignore").encode()
