"""A full-screen terminal, restored to its former state in whatever way the command ends.

    with Screen(out) as screen:
        while not screen.ended:
            screen.draw(lines)
            keys = screen.wait(1.0)

While it is entered: the alternate screen, no cursor, no echo, keys are read as they are typed. Ctrl-C, Ctrl-\\, SIGTERM
and SIGHUP set `ended` and wake `wait`, so that there is one way out. Ctrl-Z restores the terminal before it stops the
process, and enters it again when the process is continued; a change of size wakes `wait`. The signal handlers neither write
nor raise, except while `draw` writes: a terminal that takes no output must not block the process forever.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import termios
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from cli.terminal.output import Output

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
#: Seconds that a terminal has to take the last bytes. A stopped one (Ctrl-S) takes none.
_WRITE_TIMEOUT = 1.0
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OTHER_SIGNALS = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
_HANGUP_ERRORS = (errno.EIO, errno.EPIPE, errno.ENXIO)


class _Ended(BaseException):
    """One of the signals that end the command arrived during `draw`."""


class Screen:
    """See the module. On the main thread only: Python runs signal handlers there."""

    def __init__(self, out: Output) -> None:
        #: The signal that ended it, 0 while none has. A terminal that has gone counts as SIGHUP.
        self.ended = 0
        self._out = out
        self._keyboard = 0 if sys.stdin is not None and os.isatty(0) else None
        self._modes: list[Any] | None = None
        self._is_active = self._is_drawing = self._must_stop = self._must_redraw = False
        self._handlers: dict[int, Any] = {}
        self._wakeup_pipe = (-1, -1)
        self._wakeup_fd = -1

    def __enter__(self) -> Screen:
        reading, writing = os.pipe()
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
        self._wakeup_pipe = (reading, writing)
        self._wakeup_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (*_END_SIGNALS, *_OTHER_SIGNALS):
            self._handlers[number] = signal.signal(number, self._on_signal)
        try:
            self._enter()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        self._close()
        return kind is _Ended  # the signal came just after the last byte of `draw`

    def _close(self) -> None:
        self._leave()
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_fd)
        for descriptor in self._wakeup_pipe:
            os.close(descriptor)

    def draw(self, lines: Sequence[str]) -> None:
        """Show `lines` from the top, and clear the rest. They are safe, and no wider than the terminal."""
        # Each line is cleared before it is written: after the last column the cursor stands on the last character.
        text = "\x1b[H" + "\r\n".join(f"\x1b[K{line}" for line in lines)
        if len(lines) < self._out.size()[1]:
            text += "\r\n\x1b[J"
        try:
            self._is_drawing = True
            self._out.write(text)
        except _Ended:
            pass
        except OSError as error:
            if error.errno not in _HANGUP_ERRORS:
                raise
            self.ended = self.ended or signal.SIGHUP
        finally:
            self._is_drawing = False

    def wait(self, timeout: float, also: int | None = None) -> str:
        """The keys pressed within `timeout` seconds.

        Ends early, without keys, if the descriptor `also` is readable, after a signal, or when a drawing is due.
        """
        if self._must_stop:
            self._suspend()
        if self._must_redraw:
            self._must_redraw = False
            self._reenter()
            return ""
        if self.ended:
            return ""
        watched = [self._wakeup_pipe[0], *(one for one in (self._keyboard, also) if one is not None)]
        readable, _, _ = select.select(watched, [], [], max(timeout, 0.0))
        if self._wakeup_pipe[0] in readable:
            os.read(self._wakeup_pipe[0], 4_096)
        return self._read() if self._keyboard is not None and self._keyboard in readable else ""

    def _read(self) -> str:
        assert self._keyboard is not None
        try:
            data = os.read(self._keyboard, 1_024)
        except OSError:
            data = b""
        if not data:
            self.ended = self.ended or signal.SIGHUP
        return data.decode(errors="replace")

    # Entering and leaving

    def _enter(self) -> None:
        if self._keyboard is not None:
            self._modes = termios.tcgetattr(self._keyboard)
        self._is_active = True
        self._set_modes()
        self._out.write(_ENTER)

    def _set_modes(self) -> None:
        if self._keyboard is None or self._modes is None:
            return
        modes = [*self._modes[:6], list(self._modes[6])]
        modes[0] &= ~termios.IXON  # Ctrl-S must not stop the output at the end
        modes[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)  # ISIG stays: Ctrl-C, Ctrl-Z are signals
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        _set(self._keyboard, modes)

    def _leave(self) -> None:
        if not self._is_active:
            return
        self._is_active = False
        try:
            _, writable, _ = select.select([], [sys.stdout.fileno()], [], _WRITE_TIMEOUT)
            if writable:
                self._out.write(_LEAVE)
        except OSError:
            pass  # the terminal has gone
        if self._keyboard is not None and self._modes is not None:
            try:
                _set(self._keyboard, self._modes)
            except termios.error:
                pass

    def _suspend(self) -> None:
        self._must_stop = False
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # The process is stopped here, until it is continued.
        signal.signal(signal.SIGTSTP, self._on_signal)
        if not self.ended:
            self._enter()

    def _reenter(self) -> None:
        """After a change of size, or a SIGSTOP, which no handler sees: a shell may have changed the modes meanwhile."""
        self._set_modes()
        self._out.write("\x1b[?25l\x1b[2J")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in _END_SIGNALS:
            self.ended = self.ended or number
            if self._is_drawing:
                raise _Ended
        elif number == signal.SIGTSTP:
            self._must_stop = True
        else:
            self._must_redraw = True


def _set(descriptor: int, modes: list[Any]) -> None:
    while True:
        try:
            # TCSANOW: pending output may never be taken.
            return termios.tcsetattr(descriptor, termios.TCSANOW, modes)
        except termios.error as error:
            if error.args[0] != errno.EINTR:  # the call stops a background process; EINTR when continued
                raise
