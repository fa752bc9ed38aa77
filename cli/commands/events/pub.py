"""`fabric pub`: publishes events from a shell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count, islice
from time import monotonic, sleep
from typing import Any

import click
import orjson

from cli.exits import FAILED, NO_PROXY, NOBODY, Failure
from cli.join import joined
from cli.options import TopicParam, proxy_options
from cli.terminal.output import note_to_terminal
from fabric.node.node import Node

#: Events in the outbox from which on stdin is not read: it holds 100,000 by default, and then drops the oldest.
MAX_WAITING = 10_000
#: Seconds without any of them leaving after which the link counts as lost for good.
LINK_TIMEOUT = 10.0
#: Seconds that the last events may take to leave.
CLOSE_TIMEOUT = 10.0
#: Seconds between checks for a subscriber, and between checks of the outbox.
_INTEREST_INTERVAL = 0.005
_OUTBOX_INTERVAL = 0.002
#: Events from one check of the outbox to the next.
_CHECK_EVERY = 100

_Seconds = click.FloatRange(min=0)


@click.command(short_help="Publish an event.")
@click.argument("topic", type=TopicParam())
@click.argument("json_", metavar="[JSON]", required=False)
@proxy_options
@click.option("--lines", is_flag=True, help="Publish each line of stdin as it comes.")
@click.option("--wait-subs", is_flag=True, help="Wait until somebody subscribes to the topic; 4 if nobody does.")
@click.option("--timeout", type=_Seconds, default=10.0, metavar="S", help="For --wait-subs.  [default: 10]")
@click.option("--repeat", type=click.IntRange(min=0), default=1, metavar="N", help="N times; 0: until Ctrl-C.")
@click.option("--interval", type=_Seconds, metavar="S", help="Seconds between repetitions.  [default: 1]")
def pub(
    topic: str,
    json_: str | None,
    url: str | None,
    autostart: bool | None,
    lines: bool,
    wait_subs: bool,
    timeout: float,
    repeat: int,
    interval: float | None,
) -> int | None:
    """Publish an event on TOPIC. Its payload is JSON, an object; - reads it from stdin; without it it is empty.

    With --lines each line of stdin is an event as soon as it is there: a JSON object is its payload, any other line
    becomes {"line": "…"}.

    It ends when everything it published has passed the proxy: an event is not lost because the command is quick. Who
    subscribes later does not get it.

    \b
    Examples:
      fabric pub door.open '{"who": "you"}'
      date | fabric pub clock.tick --lines
      curl -s https://example.org/status.json | fabric pub site.status -
      tail -f app.log | fabric pub app.log --lines
      fabric pub job.start --wait-subs --timeout 30      4 if nobody listens by then
      fabric pub heartbeat --repeat 0 --interval 5
    """
    if lines and (json_ is not None or repeat != 1 or interval is not None):
        raise click.UsageError("--lines takes its events from stdin: no JSON, --repeat or --interval beside it.")
    payload = {} if lines else _payload(json_)
    with joined(url, autostart) as node:
        heard = _wait_for_interest(node, topic, timeout) if wait_subs else node.has_interest(topic)
        published = 0
        try:
            for each in _from_stdin() if lines else _repeated(payload, repeat, 1.0 if interval is None else interval):
                node.publish(topic, each)
                published += 1
                if published % _CHECK_EVERY == 0:
                    _wait_for_outbox(node)
        finally:  # after Ctrl-C, too: published events have to leave
            close(node)
    listening = "" if heard else "; nobody subscribed to it when this began"
    note_to_terminal(f"published {published:,} event{'' if published == 1 else 's'} on {topic}{listening}")
    return None


def _payload(text: str | None) -> dict[str, Any]:
    where = "JSON"
    if text is None:
        return {}
    data: str | bytes = text
    if text == "-":
        where, data = "stdin", sys.stdin.buffer.read()
    try:
        payload = orjson.loads(data)
    except ValueError as error:
        hint = "" if where == "stdin" else """ (the shell takes quotes away: '{"name": "value"}')"""
        raise click.BadParameter(f"this is no JSON: {error}{hint}", param_hint=f"'{where}'") from None
    if not isinstance(payload, dict):
        kind = {list: "a list", str: "a string", bool: "a truth value", type(None): "null"}.get(
            type(payload), "a number"
        )
        raise click.BadParameter(
            f"""a payload is an object such as {{"name": "value"}}, not {kind}""", param_hint=f"'{where}'"
        )
    _check_depth(payload, where)
    return payload


def _check_depth(payload: dict[str, Any], where: str) -> None:
    try:
        orjson.dumps(payload)
    except TypeError as error:
        raise click.BadParameter(f"this cannot be sent: {error}", param_hint=f"'{where}'") from None


def _from_stdin() -> Iterator[dict[str, Any]]:
    for line in sys.stdin.buffer:
        text = line.rstrip(b"\r\n")
        try:
            payload = orjson.loads(text)
        except ValueError:
            payload = None
        yield payload if isinstance(payload, dict) else {"line": text.decode(errors="replace")}


def _repeated(payload: dict[str, Any], times: int, interval: float) -> Iterator[dict[str, Any]]:
    due = monotonic()
    for n in islice(count(), times or None):
        if n:
            due += interval
            sleep(max(due - monotonic(), 0))
        yield payload


def _wait_for_interest(node: Node, topic: str, timeout: float) -> bool:
    until = monotonic() + timeout
    while not node.has_interest(topic):
        if monotonic() > until:
            raise Failure(NOBODY, f"nobody subscribed to {topic} within {timeout:g} s")
        sleep(_INTEREST_INTERVAL)
    return True


def _wait_for_outbox(node: Node) -> None:
    """Block while many events wait: `publish` never waits, and drops the oldest event when the outbox is full."""
    waiting = node.stats()["waiting"]
    until = monotonic() + LINK_TIMEOUT
    while waiting > MAX_WAITING:
        sleep(_OUTBOX_INTERVAL)
        still = node.stats()["waiting"]
        if still < waiting:
            until = monotonic() + LINK_TIMEOUT
        elif monotonic() > until:
            return  # `close` reports the losses
        waiting = still


def close(node: Node, timeout: float = CLOSE_TIMEOUT) -> None:
    """Close the node when its events have left, at the latest after `timeout` seconds. Failure if some have not."""
    stats = node.stats()  # before: a closed node has no link, and no counts of it
    if unsent := node.close(timeout).events:
        raise Failure(NO_PROXY, f"{_events(unsent)} could not be sent: the link to {node.url} was lost")
    if dropped := stats["dropped"]:
        raise Failure(FAILED, f"{_events(dropped)} dropped: the link to {node.url} was down for too long")
    if refused := stats["unencodable"]:
        raise Failure(
            FAILED, f"{_events(refused)} {'was' if refused == 1 else 'were'} not sent: too large, or nested too deeply"
        )


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"
