"""`python -m proxy`: run a proxy in the foreground; with `--background` as `connect` and `fabric proxy start` do it.

Exit status: 0 ended when it was asked to, 1 could not start, 2 wrong arguments. With `--background` it is 0 as soon as
the proxy serves, and `TAKEN` if another one holds the address.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from fabric.embedded import LOG_NAME, TAKEN, private_directory
from fabric.errors import AddressInUse, FabricError, ProxyError
from fabric.settings import load
from proxy.server import Server
from proxy.settings import ProxySettings

#: A proxy that nobody uses any more ends after so many seconds, if it was started in the background.
BACKGROUND_IDLE_EXIT = 60.0

_HELP = {
    "url": "where to listen: tcp://127.0.0.1:7400 or ipc:///run/fabric",
    "settle": "seconds that publishers wait after a start (0.3)",
    "idle_exit": "end when nobody has been here for so many seconds (0: never)",
    "log_file": "log to this file instead of stderr, and put it aside when it is full",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m proxy", description="The process in the middle of a fabric.", allow_abbrev=False
    )
    parser.add_argument("--background", action="store_true", help="detach, do not settle, and end when unused")
    for field in fields(ProxySettings):
        option = "--" + field.name.replace("_", "-")
        if field.name == "hooks":
            parser.add_argument(
                "--hook", action="append", dest="hooks", help="run this program for each message; repeatable"
            )
        elif field.default is False:
            parser.add_argument(option, action="store_true", default=None, help=_HELP.get(field.name))
        else:
            parser.add_argument(option, help=_HELP.get(field.name))
    options = vars(parser.parse_args(arguments))
    if not options.pop("background"):
        return run(options)
    if options["settle"] is None:
        options["settle"] = 0.0
    if options["idle_exit"] is None:
        options["idle_exit"] = BACKGROUND_IDLE_EXIT
    return _detach(options)


def _detach(options: dict[str, object]) -> int:
    told, tell = os.pipe()
    if os.fork():  # before any thread: whoever started us waits for this process only
        os.close(tell)
        word = os.read(told, 1)  # nothing if the child ends without a word
        os._exit({b"r": 0, b"t": TAKEN}.get(word, 1))
    os.close(told)
    return run(options, told=lambda word: os.write(tell, word), in_background=True)


def run(
    options: dict[str, object], *, told: Callable[[bytes], object] = lambda word: None, in_background: bool = False
) -> int:
    """Run a proxy with these settings (None: not given) in this process; the exit status.

    `told(b"r")` is called when it serves, `told(b"t")` if another proxy does.
    """
    log_to_stderr()
    try:
        settings = load(ProxySettings, "proxy", options)
        if path := _log_path(settings, in_background):
            log_to_file(path, settings, in_background=in_background)
            settings = replace(settings, log_file=str(path))
        server = Server(settings)
        if threading.current_thread() is threading.main_thread():
            server.stop_on_signals()
        server.run(ready=lambda: told(b"r"))
    except FabricError as error:
        logging.getLogger("fabric.proxy").error("%s", error)
        if isinstance(error, AddressInUse):
            told(b"t")
        return 1
    return 0


# The log

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def log_to_stderr() -> None:
    """One line a fact, with time and level."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)


def _log_path(settings: ProxySettings, in_background: bool) -> Path | None:
    """A proxy in the background has no terminal: at an ipc address its log is in its directory, unless it is told where."""
    if settings.log_file:
        return Path(settings.log_file).expanduser().absolute()
    directory = settings.address().directory
    if not in_background or directory is None:
        return None
    private_directory(directory)
    return directory / LOG_NAME


def log_to_file(path: Path, settings: ProxySettings, *, in_background: bool) -> None:
    """Log to this file; in the foreground what is wrong is told on stderr as well. ProxyError if it cannot be written."""
    try:
        handler = (_LogInBackground if in_background else RotatingFileHandler)(
            path, maxBytes=int(settings.log_bytes), backupCount=int(settings.log_backups), encoding="utf-8"
        )
    except OSError as error:
        raise ProxyError(f"cannot write the log {path}: {error.strerror}") from None
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    for other in list(root.handlers):
        if in_background:
            root.removeHandler(other)  # its stderr is the same file
        else:
            other.setLevel(logging.WARNING)
    root.addHandler(handler)


class _LogInBackground(RotatingFileHandler):
    """What others write to stdout and stderr (libzmq before it aborts, the interpreter) is always in the newest file."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        return stream


if __name__ == "__main__":
    sys.exit(main())
