"""How a command ends: the exit codes, and the one place where errors become them.

    0  done                 3  no proxy answers            130  Ctrl-C cut it short
    1  failed               4  nobody there                143  SIGTERM, after a clean end
    2  wrong usage          5  timed out

Where Ctrl-C is the ordinary way to end a command (a tap without limits, the demo, the proxy), it is 0. A reader that
went away (`| head`) has had enough, which is no failure.
"""

from __future__ import annotations

import os
import sys

import click

from cli.terminal.text import safe
from fabric.errors import DeliveryTimeout, FabricError, NoSuchEndpoint, NotConnected, NotReady, SettingsError

DONE, FAILED, USAGE, NO_PROXY, NOBODY, TIMED_OUT = range(6)
INTERRUPTED = 130
TERMINATED = 143

#: First match counts; a FabricError that is not here has failed.
_CODES: tuple[tuple[type[FabricError], int], ...] = (
    (SettingsError, USAGE),
    (NotReady, NO_PROXY),
    (NotConnected, NO_PROXY),
    (NoSuchEndpoint, NOBODY),
    (DeliveryTimeout, TIMED_OUT),
    (FabricError, FAILED),
)


class Failure(Exception):
    """A command ends with `code`, having told the user `text`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def ended_by(error: BaseException) -> int:
    """Tell the user about `error`, in a sentence and never with a traceback; the exit code it stands for."""
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
        complain(safe(str(error)))  # names and sentences of other programs are in it
        return next(code for kind, code in _CODES if isinstance(error, kind))
    if isinstance(error, OSError):
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        return FAILED
    if os.environ.get("FABRIC_DEBUG"):
        raise error
    complain(f"this should not happen: {type(error).__name__}: {error} (FABRIC_DEBUG=1 shows where)")
    return FAILED


def complain(text: str) -> None:
    """One line on stderr."""
    click.echo(f"fabric: {text}", err=True)


def mute() -> None:
    """Nobody reads our output any more: what is still in buffers goes nowhere, without complaint."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
