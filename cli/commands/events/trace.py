"""`fabric trace`: which subscriptions match a topic, and which nearly do. Nothing is published."""

from __future__ import annotations

import os
from typing import Any

import click

from cli.exits import DONE, NOBODY, complain
from cli.join import joined
from cli.options import TopicParam, proxy_options, timeout_option
from cli.terminal import numbers
from cli.terminal.output import Output
from cli.terminal.table import table
from cli.terminal.text import bare
from fabric.node.trace import Trace, TraceAnswer, TracedSubscription, near_miss
from fabric.system.terminal import safe, to_json

_GETS, _NOT = "gets it", "not"


@click.command(short_help="Who would get an event, and who nearly would.")
@click.argument("topic", type=TopicParam(reserved=True))
@proxy_options
@click.option("--json", "json_", is_flag=True, help="All of it, as one line of JSON.")
@timeout_option(5.0, "Wait S seconds for the proxy, half of that for nodes that do not answer.")
def trace(topic: str, url: str | None, autostart: bool | None, json_: bool, timeout: float) -> int:
    """Tell who would get an event on TOPIC, without publishing it: every node is asked which of its subscriptions match,
    with the handler of each; and which nearly do, with the reason why they do not: a segment that differs, upper and
    lower case, a * that should be **.

    Subscribers that are no node, such as a plain ZeroMQ socket, cannot be asked; they show as prefixes that the proxy
    has and no node claims. Ends with 0 if somebody would get it, with 4 if nobody would.

    \b
    Examples:
      fabric trace order.created
      fabric trace order.created --json | jq '.nodes[].matching'
    """
    out = Output()
    with joined(url, autostart, name=f"trace-{os.getpid()}") as node:
        found = without(node.trace(topic, timeout), node.origin.hex())
    if json_:
        out.write(f"{to_json(as_json(found))}\n")
    else:
        out.write("".join(f"{line}\n" for line in described(found)))
    if not found.reached:
        complain(f"nobody would get {topic}")
        return NOBODY
    return DONE


def without(found: Trace, origin: str) -> Trace:
    """`found` without the node of this origin, which is our own."""
    return found._replace(
        answers=tuple(each for each in found.answers if each.origin != origin),
        silent=tuple(each for each in found.silent if each.get("origin") != origin),
    )


def described(found: Trace) -> list[str]:
    """The lines to print."""
    topic = found.topic
    concerned = [each for each in found.answers if each.matched or each.near]
    lines = [_summary(found)]
    for each in concerned:
        lines += ["", _title(each)]
        rows = [(f"  {_GETS}", safe(one.pattern), _handler(one)) for one in each.matching]
        rows += [(f"  {_NOT}", safe(one.pattern), f"{_handler(one)}: {_why(one, topic)}") for one in each.near]
        lines += table((), rows, texts=3)
        if (more := each.matched - len(each.matching)) > 0:
            lines.append(f"  … and {more:,} more that get it")
    if found.unclaimed:
        lines.append("")
        lines += [f"a subscriber that is no node takes {_taken(prefix)}" for prefix in found.unclaimed]
    if found.silent:
        lines.append("")
        lines += [
            f"{bare(each.get('node'))} (pid {bare(each.get('pid'))} on {bare(each.get('host'))}) did not answer: it is "
            "stopped or stuck, or of a version that cannot be asked"
            for each in found.silent
        ]
    return lines


def as_json(found: Trace) -> dict[str, Any]:
    """The same as a JSON object, with every node that answered."""
    return {
        "topic": found.topic,
        "reached": found.reached,
        "nodes": [
            {
                "node": each.node,
                "origin": each.origin,
                "pid": each.pid,
                "host": each.host,
                "program": each.program,
                "subscriptions": each.subscriptions,
                "matched": each.matched,
                "matching": [_facts(one) for one in each.matching],
                "near": [{**_facts(one), "why": _why(one, found.topic)} for one in each.near],
            }
            for each in found.answers
        ],
        "unclaimed": [prefix.decode(errors="replace") for prefix in found.unclaimed],
        "silent": list(found.silent),
    }


def _facts(one: TracedSubscription) -> dict[str, Any]:
    return {"pattern": one.pattern, "handler": one.handler, "async": one.is_async}


def _summary(found: Trace) -> str:
    matched = sum(each.matched for each in found.answers)
    nodes = sum(1 for each in found.answers if each.matched)
    asked = len(found.answers)
    who = f"{numbers.plural(matched, 'subscriber')} in {numbers.plural(nodes, 'node')}"
    return f"{found.topic}: {who}, of {asked:,} that answered"


def _title(each: TraceAnswer) -> str:
    where = f"pid {each.pid} on {bare(each.host)}" if each.pid else "it has left meanwhile"
    return f"{bare(each.node)} ({where})"


def _handler(one: TracedSubscription) -> str:
    return f"{'async ' if one.is_async else ''}{safe(one.handler)}"


def _why(one: TracedSubscription, topic: str) -> str:
    # Computed here: the node may be of a version with other reasons.
    miss = near_miss(one.pattern, topic)
    return "it does not match" if miss is None else safe(miss.why)


def _taken(prefix: bytes) -> str:
    text = safe(prefix.rstrip(b"\0").decode(errors="replace"))
    if not prefix:
        return "everything"
    return f"exactly {text}" if prefix.endswith(b"\0") else f"whatever begins with {text!r}"
