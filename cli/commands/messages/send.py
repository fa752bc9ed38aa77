"""`fabric send`: sends a message to an endpoint."""

from __future__ import annotations

import click

from cli.message import body_of, deliver, message_options
from cli.options import EndpointParam, proxy_options


@click.command(short_help="Send a message to an endpoint.")
@click.argument("to", type=EndpointParam(everybody=True))
@message_options
@click.option(
    "--from", "claim", metavar="NAME", type=EndpointParam(), help="Say that it is from NAME: anonymous:NAME is shown."
)
@click.option(
    "--wait",
    type=click.Choice(["delivered", "none"]),
    default="delivered",
    help="Until its holder has it, or not at all: then nobody tells whether anybody got it.  [default: delivered]",
)
@proxy_options
def send(
    to: str,
    text: str | None,
    json_: str | None,
    type: str | None,
    channel: str | None,
    sender: str | None,
    claim: str | None,
    timeout: float,
    wait: str,
    url: str | None,
    autostart: bool | None,
) -> None:
    """Send a message to the endpoint TO, and wait until its holder has it. TO * is everybody, that is every endpoint.

    TEXT becomes {"text": …}; - reads it from stdin. --json gives the whole body instead. --type and --channel are put
    into either; they may not contradict it.

    It is from anonymous:send-…, which nobody can answer. --as NAME registers NAME for the moment and sends as that:
    receivers see NAME, stamped by the proxy. If another program holds NAME, nothing is sent, and this ends with 1: nobody
    speaks for somebody else. What arrives for NAME meanwhile is told on stderr. --from NAME only says so: receivers see
    anonymous:NAME, whoever holds that name.

    \b
    Ends with
      0   delivered: it is in its holder's inbox (--wait none: it was passed to the proxy)
      4   nobody is called TO; similar names are told
      5   nobody acknowledged it within --timeout

    \b
    Examples:
      fabric send lead-agent 'the build is green'
      fabric send lead-agent --as worker-1 --type task_done --channel feishu:oc_1 'done'
      fabric send lead-agent --from nightly-build 'the build is green'
      fabric send worker --json '{"type": "directive", "job": 7}'
      git log -1 | fabric send lead-agent -
      fabric send '*' 'closing down at six'
    """
    if sender is not None and claim is not None:
        raise click.UsageError("--as and --from are two senders for one message: give one of them.")
    body = body_of(text, json_, type, channel)
    deliver(to, body, sender, claim, timeout, wait, url, autostart)
