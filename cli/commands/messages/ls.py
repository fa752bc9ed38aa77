"""`fabric ls`: lists endpoints and nodes."""

from __future__ import annotations

import os
import threading
from time import time

import click

from cli.exits import DONE
from cli.join import joined
from cli.options import proxy_options
from cli.terminal.output import Output, note
from cli.views.endpoints import endpoint_table, node_table
from fabric.bus.bus import Bus
from fabric.errors import NotReady
from fabric.messages.session.outcomes import Listing
from fabric.node.node import Node
from fabric.system.terminal import to_json

#: Seconds between checks of whether stdout has a reader, which sends no wake-up.
POLL_INTERVAL = 0.2
#: Seconds between two drawings on a terminal, at most: ages grow.
REDRAW_INTERVAL = 5.0
#: Seconds to wait after a change: joins come in bursts when a proxy is back, and are drawn together.
BURST_TIME = 0.05
_CLEAR = "\x1b[H\x1b[2J"


@click.command(short_help="List endpoints and nodes.")
@proxy_options
@click.option("--json", "json_", is_flag=True, help="One object a line: endpoints and nodes, with all that is known.")
@click.option("--watch", is_flag=True, help="Again whenever somebody comes or goes, until Ctrl-C.")
def ls(url: str | None, autostart: bool | None, json_: bool, watch: bool) -> int:
    """List who is there: the endpoints, with the node that holds each, and the nodes. This command is not among them.

    \b
    Examples:
      fabric ls
      fabric ls --watch
      fabric ls --json | jq -r '.endpoints[].endpoint'
    """
    out = Output()
    changed = threading.Event()
    bus = Bus()
    with joined(url, autostart, name=f"ls-{os.getpid()}", bus=bus) as node:
        if not watch:
            out.write(_text(node, json_))
            return DONE
        for pattern in ("fabric.endpoint.*", "fabric.node.*", "fabric.link.up"):
            bus.subscribe(pattern, lambda _event: changed.set()).wait_ready()
        try:
            _watch(node, out, changed, json_)
        except KeyboardInterrupt:
            pass
    return DONE


def _watch(node: Node, out: Output, changed: threading.Event, json_: bool) -> None:
    live = out.is_terminal and not json_
    before = ""
    while True:
        changed.clear()
        try:
            text = _text(node, json_)
        except NotReady:
            note(f"the proxy at {node.url} does not answer; waiting for it to come back")
            text = before
        if live:
            out.write(_CLEAR + text)
        elif text != before:
            out.write(text if json_ or not before else f"\n{text}")
        before = text
        waited = 0.0
        while not changed.wait(POLL_INTERVAL):
            out.check()
            waited += POLL_INTERVAL
            if live and waited >= REDRAW_INTERVAL:
                break
        else:
            threading.Event().wait(BURST_TIME)


def _text(node: Node, json_: bool) -> str:
    members = _without(node, node.members())
    if json_:
        return f"{to_json({'endpoints': members.endpoints, 'nodes': members.nodes, 'truncated': members.truncated})}\n"
    now = time()
    endpoints, nodes = endpoint_table(members.endpoints, now), node_table(members.nodes, now)
    lines = endpoints or ["no endpoint is registered"]
    lines = [*lines, "", *nodes] if nodes else [*lines, "no other node is here"]
    if members.truncated:
        lines.append("… and more than fit into one message")
    return "".join(f"{line}\n" for line in lines)


def _without(node: Node, members: Listing) -> Listing:
    own = node.origin.hex()
    return members._replace(nodes=[each for each in members.nodes if each.get("origin") != own])
