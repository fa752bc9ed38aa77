"""The exit codes of commands, and the one place that turns errors into them.

    0  done                 3  no proxy answers            130  interrupted by Ctrl-C
    1  failed               4  nobody there                143  SIGTERM, after a clean end
    2  wrong usage          5  timed out

Where Ctrl-C is the ordinary way to end a command (a tap without limits, the demo, the proxy), the code is 0. So it is
when the reader of stdout has gone (`| head`).
"""

from __future__ import annotations

import os
import sys

import click

from fabric.errors import DeliveryTimeout, FabricError, NoSuchEndpoint, NotConnected, NotReady, SettingsError
from fabric.system.terminal import safe

DONE, FAILED, USAGE, NO_PROXY, NOBODY, TIMED_OUT = range(6)
INTERRUPTED = 130
TERMINATED = 143

#: The first match counts. The last row is for every other FabricError.
_CODES: tuple[tuple[type[FabricError], int], ...] = (
    (SettingsError, USAGE),
    (NotReady, NO_PROXY),
    (NotConnected, NO_PROXY),
    (NoSuchEndpoint, NOBODY),
    (DeliveryTimeout, TIMED_OUT),
    (FabricError, FAILED),
)


class Failure(Exception):
    """Ends a command with the exit code `code`, after `text` was printed on stderr."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def ended_by(error: BaseException) -> int:
    """Print `error` as one sentence on stderr, without a traceback, and return its exit code.

    With FABRIC_DEBUG set, an error that is a defect of ours is raised instead.
    """
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        mute()
        return DONE
    if isinstance(error, Failure):
        complain(str(error))
        return error.code
    if isinstance(error, FabricError):
        complain(safe(str(error)))  # it contains names and sentences of other programs
        return next(code for kind, code in _CODES if isinstance(error, kind))
    if isinstance(error, OSError):
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        return FAILED
    if os.environ.get("FABRIC_DEBUG"):
        raise error
    complain(f"this should not happen: {type(error).__name__}: {error} (FABRIC_DEBUG=1 shows where)")
    return FAILED


def complain(text: str) -> None:
    """Print one line on stderr, marked as an error."""
    click.echo(f"fabric: {text}", err=True)


def mute() -> None:
    """Point stdout at /dev/null: its reader has gone, and flushing the rest must not fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
