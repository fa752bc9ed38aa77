"""`python -m proxy`: run a proxy in the foreground; with `--background` as `connect` and `fabric proxy start` do it.

Exit status: 0 ended on request, 1 could not start, 2 wrong arguments. With `--background` it is 0 as soon as the proxy
serves, and `TAKEN` if another proxy has the address.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fabric.config.schema import Setting, settings_of
from fabric.config.settings import load, resolve
from fabric.errors import AddressInUse, FabricError
from fabric.system.autostart import LOG_NAME, TAKEN, private_directory
from proxy.health.systemd import SystemdNotifier
from proxy.logs import Log
from proxy.server import Server
from proxy.settings import ProxySettings

#: Defaults in the background: no publisher waits yet, so no settle time; an unused proxy ends by itself.
IN_BACKGROUND = {"settle": 0.0, "idle_exit": 60.0}

#: What `run` reports.
_SERVING, _ADDRESS_TAKEN = b"s", b"t"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run a proxy; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m proxy", description="The process in the middle of a fabric.", allow_abbrev=False
    )
    parser.add_argument("--background", action="store_true", help="detach, do not settle, and end when unused")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input ends, as a child does")
    for each in settings_of(ProxySettings):
        _add_flag(parser, each)
    options = vars(parser.parse_args(arguments))
    background, end_with_stdin = options.pop("background"), options.pop("end_with_stdin")
    return _detach(options) if background else run(options, end_with_stdin=end_with_stdin)


def _add_flag(parser: argparse.ArgumentParser, each: Setting) -> None:
    text = f"{each.plain_help} (default: {each.show(each.default)})".replace("%", "%%")
    if each.kind is bool:
        parser.add_argument(each.flag, dest=each.name, action=argparse.BooleanOptionalAction, default=None, help=text)
    else:
        action = "append" if each.kind is tuple else "store"
        parser.add_argument(each.flag, dest=each.name, action=action, metavar=each.metavar, help=text)


def _detach(options: dict[str, object]) -> int:
    read_end, write_end = os.pipe()
    if os.fork():  # before any thread; the starter waits for this process only
        os.close(write_end)
        word = os.read(read_end, 1)  # empty if the child ends before it reports
        os._exit({_SERVING: 0, _ADDRESS_TAKEN: TAKEN}.get(word, 1))
    os.close(read_end)
    return run(options, report=lambda word: os.write(write_end, word), in_background=True)


def run(
    options: dict[str, object],
    *,
    report: Callable[[bytes], object] = lambda word: None,
    in_background: bool = False,
    end_with_stdin: bool = False,
) -> int:
    """Run a proxy with these settings (None: not given) in this process; the exit status.

    `report` is called with b"s" when the proxy serves, or with b"t" if another proxy has the address. With
    `end_with_stdin` the proxy also ends at the end of standard input: a program that runs a proxy as its child keeps the
    other end of a pipe, so that the proxy ends with that program, however the program ends.
    """
    log = Log()
    # Errors in the settings are logged in the format that the settings ask for, as far as that is known.
    known = {each.setting.name: each.value for each in resolve(ProxySettings, "proxy", options)[0]}
    log.to_stderr(known["log_format"], known["log_level"])
    try:
        settings = load(ProxySettings, "proxy", options, IN_BACKGROUND if in_background else None)
        if path := _log_path(settings, in_background):
            log.to_file(path, settings, in_background=in_background)
            settings = replace(settings, log_file=str(path))
        # Not in the background: the service, if any, is then the process that has started us.
        server = Server(settings, notify=None if in_background else SystemdNotifier.take())
        if threading.current_thread() is threading.main_thread():
            server.stop_on_signals()
        if end_with_stdin:
            threading.Thread(target=_end_with_stdin, args=(server,), name="fabric-stdin", daemon=True).start()
        server.run(ready=lambda: report(_SERVING))
    except FabricError as error:
        logging.getLogger("fabric.proxy").error("%s", error)
        if isinstance(error, AddressInUse):
            report(_ADDRESS_TAKEN)
        return 1
    finally:
        log.close()
    return 0


def _end_with_stdin(server: Server) -> None:
    while os.read(0, 4_096):
        pass
    server.stop("standard input ended")


def _log_path(settings: ProxySettings, in_background: bool) -> Path | None:
    """The log file, if any. In the background at an ipc address the default is a file in the proxy's directory."""
    if settings.log_file:
        return Path(settings.log_file).expanduser().absolute()
    directory = settings.address().directory
    if not in_background or directory is None:
        return None
    private_directory(directory)
    return directory / LOG_NAME


if __name__ == "__main__":
    sys.exit(main())
