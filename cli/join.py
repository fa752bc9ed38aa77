"""Joining the fabric for the time of a command: a node of its own, ready before the command goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cli.exits import NO_PROXY, Failure
from cli.terminal.output import note
from fabric.bus.bus import Bus
from fabric.config.settings import Settings, load
from fabric.errors import NotReady, ProxyError
from fabric.node.connect import connect
from fabric.node.node import Node
from fabric.system.autostart import answers, ensure_proxy
from fabric.system.terminal import safe

#: Seconds until a proxy must have answered.
READY_TIMEOUT = 3.0
#: More seconds for a proxy that accepts connections and has not answered yet: it may be busy.
BUSY_TIMEOUT = 7.0


@contextmanager
def joined(
    url: str | None,
    autostart: bool | None,
    *,
    name: str | None = None,
    bus: Bus | None = None,
    ready_timeout: float = READY_TIMEOUT,
    busy_timeout: float = BUSY_TIMEOUT,
) -> Iterator[Node]:
    """A node that is ready; it is closed at the end. Without `bus` it has one of its own.

    Failure with `NO_PROXY` if there is no proxy, SettingsError for a wrong address. Warnings of the library go to stderr.
    """
    _log_to_stderr()
    settings = load(Settings, "fabric", {"url": url, "autostart": autostart})
    if settings.autostart and settings.is_default_address:
        # `connect` starts one, too, but in a thread whose errors go to the log only.
        try:
            ensure_proxy(settings.address())
        except ProxyError as error:
            raise Failure(NO_PROXY, str(error)) from None
    with connect(name, url=url, autostart=autostart, bus=Bus() if bus is None else bus) as node:
        _wait_ready(node, ready_timeout, busy_timeout)
        yield node


def _wait_ready(node: Node, ready_timeout: float, busy_timeout: float) -> None:
    try:
        node.wait_ready(ready_timeout)
        return
    except NotReady:
        if not answers(node.address):
            raise Failure(
                NO_PROXY, f"no proxy answers at {node.url}. Start one there with: fabric proxy --url {node.url}"
            ) from None
    try:
        node.wait_ready(busy_timeout)
    except NotReady:
        waited = ready_timeout + busy_timeout
        raise Failure(
            NO_PROXY, f"something listens at {node.url}, but did not answer as a proxy within {waited:g} s"
        ) from None


class LinkNotes:
    """Remarks that the link was lost, and that it is back. On one thread at a time."""

    def __init__(self) -> None:
        self._is_lost = False

    def add(self, state: str, url: str) -> None:
        """The link to `url` is `up` or `down` now. That it came up for the first time is no remark."""
        if state == "down":
            self._is_lost = True
            note(f"the link to {safe(url)} was lost; waiting for it to come back")
        elif self._is_lost:
            self._is_lost = False
            note(f"the link to {safe(url)} is back")


class _StderrHandler(logging.Handler):
    """Shows a record as one sentence on stderr. Control characters are escaped: other programs' texts are in it."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"fabric: {safe(record.getMessage())}", err=True)


def _log_to_stderr() -> None:
    logger = logging.getLogger("fabric")
    if not logger.handlers:
        logger.addHandler(_StderrHandler(logging.WARNING))
