"""`fabric request`: sends a message, and prints the answer to it."""

from __future__ import annotations

import os
from time import monotonic
from typing import Any

import click

from cli.join import joined
from cli.message import body_of, message_options, registered_as
from cli.options import EndpointParam, proxy_options
from cli.terminal.output import note
from fabric.system.terminal import safe, to_json


@click.command(short_help="Send a message, and print its answer.")
@click.argument("to", type=EndpointParam())
@message_options
@proxy_options
def request(
    to: str,
    text: str | None,
    json_: str | None,
    type: str | None,
    channel: str | None,
    sender: str | None,
    timeout: float,
    url: str | None,
    autostart: bool | None,
) -> None:
    """Send a message to the endpoint TO, and print what its handler answers: a text as it is, anything else as JSON. How
    long it took is told on stderr.

    The message is made as with fabric send; see there for --as.

    \b
    Ends with
      0   answered
      1   the handler raised an error, which is told; or its holder went away
      4   nobody is called TO; similar names are told
      5   no answer within --timeout

    \b
    Examples:
      fabric request clock now
      fabric request adder --json '{"a": 1, "b": 2}'
      fabric request builder --timeout 600 --type build main | tee build.log
    """
    body = body_of(text, json_, type, channel)
    with joined(url, autostart, name=f"request-{os.getpid()}") as node, registered_as(node, sender, timeout):
        started = monotonic()
        answer = node.request(to, body, sender=sender or "", timeout=timeout).wait()
        took = monotonic() - started
    click.echo(shown(answer))
    note(f"{to} answered in {took * 1_000:.1f} ms")


def shown(answer: Any) -> str:
    """An answer as text: a string keeps its lines and tabs, and is escaped otherwise; other values are JSON."""
    if not isinstance(answer, str):
        return to_json(answer)
    return "\n".join("\t".join(safe(part) for part in line.split("\t")) for line in answer.split("\n"))
