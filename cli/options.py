"""What every command that talks to a proxy shares: its options, and joining."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.exits import NO_PROXY, Failure
from cli.terminal.text import safe
from fabric.bus.bus import Bus
from fabric.config.settings import Settings, load
from fabric.errors import NotReady, ProxyError
from fabric.node.connect import connect
from fabric.node.node import Node
from fabric.protocol.topics import check_pattern, check_topic, is_reserved
from fabric.system.autostart import answers, ensure_proxy

if TYPE_CHECKING:
    _Text = click.ParamType[str, Any]
else:
    _Text = click.ParamType  # generic only since click 8.3

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Seconds until a proxy must have answered; if something listens there, it may be busy, and gets more.
PATIENCE = 3.0
MORE_PATIENCE = 7.0


def proxy_options(command: _Command) -> _Command:
    """`--url` and `--no-autostart`; the command gets `url` and `autostart`."""
    command = click.option(
        "--no-autostart",
        "autostart",
        is_flag=True,
        callback=lambda _context, _parameter, given: False if given else None,
        help="Do not start a proxy in the background if none answers at the embedded default.",
    )(command)
    return click.option("--url", metavar="URL", help="The proxy's address: tcp://127.0.0.1:7400 or ipc:///run/fabric.")(
        command
    )


class TopicParam(_Text):
    """An argument that names a topic one may publish."""

    name = "topic"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        try:
            topic = check_topic(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if is_reserved(topic):
            self.fail(f"topics below {'fabric'!r} are the system's own: choose another first segment", param, ctx)
        return topic


class PatternParam(_Text):
    """An argument that is a pattern."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        try:
            return check_pattern(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@contextmanager
def joined(
    url: str | None, autostart: bool | None, *, name: str | None = None, bus: Bus | None = None
) -> Iterator[Node]:
    """A node that is ready, closed at the end. Failure or NotReady with `NO_PROXY` if there is no proxy."""
    _log_plainly()
    settings = load(Settings, "fabric", {"url": url, "autostart": autostart})
    if settings.autostart and settings.is_default_address:
        # `connect` would do it, too, but in a thread whose errors reach only a log.
        try:
            ensure_proxy(settings.address())
        except ProxyError as error:
            raise Failure(NO_PROXY, str(error)) from None
    with connect(name, url=url, autostart=autostart, bus=Bus() if bus is None else bus) as node:
        _wait(node)
        yield node


def _wait(node: Node) -> None:
    try:
        node.wait_ready(PATIENCE)
        return
    except NotReady:
        if not answers(node.address):
            raise Failure(
                NO_PROXY, f"no proxy answers at {node.url}. Start one there with: fabric proxy --url {node.url}"
            ) from None
    try:
        node.wait_ready(MORE_PATIENCE)
    except NotReady:
        waited = PATIENCE + MORE_PATIENCE
        raise Failure(
            NO_PROXY, f"something listens at {node.url}, but did not answer as a proxy within {waited:g} s"
        ) from None


class _Plain(logging.Handler):
    """Warnings as a user wants them: a sentence, without control characters of somebody else's."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"fabric: {safe(record.getMessage())}", err=True)


def _log_plainly() -> None:
    logger = logging.getLogger("fabric")
    if not logger.handlers:
        logger.addHandler(_Plain(logging.WARNING))


def note(text: str) -> None:
    """A remark about what a command shows: on stderr, so that its output stays what it is."""
    click.echo(f"-- {text}", err=True)


def note_to_a_person(text: str) -> None:
    """A remark that only somebody at a terminal wants."""
    if sys.stderr.isatty():
        note(text)
