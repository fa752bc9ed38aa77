"""`fabric status`: the state of the proxy and its nodes, on one screen."""

from __future__ import annotations

import click

from cli.exits import DONE, FAILED
from cli.query import address_of, answered, ask_options
from cli.terminal.output import Output
from cli.views.losses import losses
from cli.views.status import is_silent, overview
from fabric.system.terminal import to_json
from proxy import client
from proxy.stats import ProxyStats

#: More nodes and topics than any proxy has: asks for all of them.
_ALL = 1_000_000_000
#: Nodes to ask for, of which the worst are shown, and topics; `--json` without `--all` has as many.
_MAX_NODES = 1_000
_MAX_TOPICS = 50


@click.command(short_help="How proxy and nodes are, on one screen, and what was lost.")
@ask_options
@click.option("--all", "everything", is_flag=True, help="Every node, endpoint and topic, however many.")
@click.option("--strict", is_flag=True, help="End with 1 if anything was lost since the proxy's start.")
@click.option("--json", "json_", is_flag=True, help="The whole record, as one line of JSON.")
def status(url: str | None, timeout: float, everything: bool, strict: bool, json_: bool) -> int:
    """Show how the proxy and everybody at it are: rates, nodes, endpoints, the busiest topics, and what was lost, where
    and why, in red.

    Nodes report with every heartbeat, so what they count is up to 5 seconds old; nodes in trouble come first. WAITING
    events have not left their node yet, BACKLOG are packs of events that arrived and are not delivered yet, LAG is the age
    of the event that was delivered last. Counts are since the proxy's start, those of a node since it joined. `~` marks
    what is estimated. It never starts a proxy, and changes nothing.

    \b
    Ends with
      0   it is up
      1   something is there, but does not answer, or passes no events on;
          with --strict also if anything was lost: events, messages for nodes
          that did not read, messages for hooks that too many were waiting for
      3   it is down (nothing listens), or cannot be reached

    \b
    Examples:
      fabric status
      fabric status --all
      fabric status --strict > /dev/null || echo "look at it"
      fabric status --json | jq '.lost, .dropped'
    """
    address = address_of(url)
    limits = (_ALL, _ALL) if everything else (_MAX_TOPICS, _MAX_NODES)
    with answered(address, json_):
        found = client.status(address, timeout, topics=limits[0], nodes=limits[1])
    out = Output()
    if json_:
        out.write(f"{to_json({'state': 'up', **found.stats.as_json(), 'lost': found.stats.lost})}\n")
    else:
        lines = overview(found, address, out.size()[0], colour=out.has_colour, everything=everything)
        out.write("".join(f"{line}\n" for line in lines))
    return DONE if _is_well(found.stats, strict) else FAILED


def _is_well(stats: ProxyStats, strict: bool) -> bool:
    return not is_silent(stats) and not (strict and losses(stats))
