"""`fabric notify`: `fabric send` with the options of `notify-hermes`, for scripts that were written for that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.message import body_of, deliver
from cli.options import EndpointParam, autostart_option, timeout_option
from fabric import tmux
from fabric.protocol.fields import MAX_TTL
from fabric.protocol.names import check_name


@click.command(short_help="Send a message, with the options of notify-hermes.")
@click.argument("text", metavar="[MESSAGE]", required=False)
@click.option(
    "--to", type=EndpointParam(everybody=True), required=True, metavar="NAME", help="The endpoint that it is for."
)
@click.option("--body", "json_", metavar="OBJECT", help="The body as JSON, instead of MESSAGE. -: from stdin.")
@click.option("--type", metavar="WORD", help='The body\'s "type": directive, ack, task_start, …')
@click.option("--channel", metavar="TOKEN", help='The body\'s "channel", handed on unchanged.')
@click.option("--from", "claim", metavar="NAME", help="Who it is from.  [default: the tmux session, if in one]")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file of rules: its [names] (role_map) say what a sender is called.",
)
@timeout_option(5.0, "Give up after S seconds.", MAX_TTL)
@click.option("--url", "--socket", "url", metavar="URL", help="The proxy's address, as elsewhere.")
@autostart_option
def notify(
    text: str | None,
    to: str,
    json_: str | None,
    type: str | None,
    channel: str | None,
    claim: str | None,
    file: Path | None,
    timeout: float,
    url: str | None,
    autostart: bool | None,
) -> None:
    """Send a message to an endpoint, and wait until its holder has it: fabric send, with the options of notify-hermes.

    The sender is said and not proven: receivers see anonymous:NAME. Without --from it is the tmux session that this runs
    in, if it does. With --config it is called what [names] of FILE call it. fabric send --as proves a name.

    What differs: MESSAGE and --body together are an error, a body is an object, --type may not contradict it, and a failure
    is told. It ends as fabric send does.

    \b
    Examples:
      fabric notify --to lead-agent 'the build is green'
      fabric notify --to lead-agent --from worker-1 --type task_done --channel feishu:oc_1 'done'
      fabric notify --to worker --body '{"type": "directive", "job": 7}'
    """
    body = body_of(text, json_, type, channel)
    said = claim or tmux.session_name()
    name = called(said, _names(file))
    if name:
        try:
            check_name(name)
        except ValueError as error:
            raise click.BadParameter(f"{error}", param_hint="'--from'") from None
    deliver(to, body, None, name or None, timeout, "delivered", url, autostart)


def _names(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    from fabric.rules.reading.file import Rules  # most calls name no file

    return Rules.load(file).current.names


def called(said: str, names: Mapping[str, Any]) -> str:
    """The name of a sender: the entry of `names` for `said`, else `said` itself."""
    return str(names[said].name) if said in names else said
