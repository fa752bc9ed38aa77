"""The message of `fabric send`, `notify` and `request`: its options, its body, its sender, and its delivery."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import orjson

from cli.exits import FAILED, Failure
from cli.join import joined
from cli.options import EndpointParam, timeout_option
from cli.terminal.output import note
from fabric.errors import NameTaken
from fabric.node.node import Node
from fabric.protocol.fields import MAX_TTL
from fabric.protocol.names import EVERYBODY
from fabric.system.terminal import safe, to_json

_Command = TypeVar("_Command", bound=Callable[..., Any])


def message_options(command: _Command) -> _Command:
    """The options of a message; the command gets `text`, `json_`, `type`, `channel`, `sender`, `timeout`."""
    for option in reversed(
        (
            click.argument("text", required=False),
            click.option("--json", "json_", metavar="OBJECT", help="The body as JSON, instead of TEXT. -: from stdin."),
            click.option("--type", metavar="WORD", help='The body\'s "type": directive, ack, progress, …'),
            click.option("--channel", metavar="TOKEN", help='The body\'s "channel", handed on unchanged.'),
            click.option(
                "--as", "sender", metavar="NAME", type=EndpointParam(), help="Register NAME meanwhile, and send as it."
            ),
            timeout_option(5.0, "Give up after S seconds.", MAX_TTL),
        )
    ):
        command = option(command)
    return command


def body_of(text: str | None, json_: str | None, type: str | None, channel: str | None) -> dict[str, Any]:
    """The body made from the arguments. UsageError if they contradict each other, or are empty."""
    if text is not None and json_ is not None:
        raise click.UsageError("TEXT and --json are two bodies for one message: give one of them.")
    given = {name: value for name, value in (("type", type), ("channel", channel)) if value is not None}
    if json_ is not None:
        body = _object(stdin_text() if json_ == "-" else json_)
    elif text is not None:
        body = {"text": stdin_text().removesuffix("\n") if text == "-" else text}
    elif given:
        body = {}
    else:
        raise click.UsageError("There is nothing to send: give TEXT, - for stdin, or --json.")
    for name, value in given.items():
        if body.get(name, value) != value:
            raise click.UsageError(f"--{name} {value} contradicts the body, whose {name} is {to_json(body[name])}.")
    return {**body, **given}


def stdin_text() -> str:
    """All of stdin. UsageError if it is no text in UTF-8."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"What stdin has is no text in UTF-8: {error}.") from None


def _object(text: str) -> dict[str, Any]:
    try:
        body = orjson.loads(text)
    except ValueError as error:
        hint = """(the shell takes quotes away: '{"name": "value"}')"""
        raise click.BadParameter(f"this is no JSON: {error} {hint}", param_hint="'--json'") from None
    if not isinstance(body, dict):
        raise click.BadParameter('a body is an object such as {"text": "hi"}', param_hint="'--json'")
    return body


def deliver(
    to: str,
    body: dict[str, Any],
    sender: str | None,
    claim: str | None,
    timeout: float,
    wait: str,
    url: str | None,
    autostart: bool | None,
) -> None:
    """Send a message as `sender`, or as `anonymous:claim`, and print whether it was delivered or sent."""
    name = claim or f"send-{os.getpid()}"
    with joined(url, autostart, name=name) as node, registered_as(node, sender, timeout):
        receipt = node.send(to, body, sender=sender or "", timeout=timeout)
        holders = receipt.wait() if wait == "delivered" else None
    how = "sent" if holders is None else "delivered"
    count = f" holders={holders}" if to == EVERYBODY and holders is not None else ""
    click.echo(f"{how} {to}{count} id={receipt.id}")


@contextmanager
def registered_as(node: Node, name: str | None, timeout: float) -> Iterator[None]:
    """Register the endpoint `name` for the time of the block, if given. Failure if another node has it."""
    if name is None:
        yield
        return
    try:
        with endpoint_log_muted():
            endpoint = node.endpoint(name)
            endpoint.wait_ready(timeout)
    except NameTaken as error:
        raise Failure(FAILED, f"cannot send as {name!r}: {safe(error.holder)} has that name") from None
    with endpoint:
        try:
            yield
        finally:
            for message in endpoint.poll():
                note(f"meanwhile this came for {safe(name)}, and is lost: {to_json(message)}")


@contextmanager
def endpoint_log_muted() -> Iterator[None]:
    """Mutes the warnings of endpoints: the command reports a name that is taken or lost itself."""
    logger = logging.getLogger("fabric.endpoint")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
