"""Prints messages, a line each."""

from __future__ import annotations

from time import localtime, strftime
from typing import Any

from cli.terminal.output import Output
from cli.terminal.text import bare
from fabric.messages.message import Message, NotAnswered
from fabric.system.terminal import safe, to_json

#: Unix seconds that `localtime` takes on every platform; a `ts` beyond them is no time.
_MAX_TS = 1e11


class Printer:
    """A handler of messages that prints each. Requests fail at once, so that their senders do not wait in vain."""

    def __init__(self, out: Output, json_: bool) -> None:
        self._out = out
        self._json = json_

    def __call__(self, message: Message) -> None:
        """Print it. BrokenPipeError when the reader has gone."""
        self._out.write(f"{to_json(dict(message)) if self._json else line(message)}\n")
        message.fail(NotAnswered("fabric listen only prints what arrives; with --exec it answers"))


def line(message: Message) -> str:
    """A message in one safe line: time, sender, `?` if it is a request, body."""
    ts = message.get("ts")
    when = ts if isinstance(ts, int | float) and 0 <= ts < _MAX_TS else 0
    clock = f"{strftime('%H:%M:%S', localtime(when))}.{int(when % 1 * 1000):03d}"
    kind = "?" if message.is_request else " "
    return f"{clock}  {safe(message.sender)} {kind} {_short(message.body)}"


def _short(body: dict[str, Any]) -> str:
    """The text of a body that has nothing else; any other body as JSON."""
    return bare(body["text"]) if set(body) == {"text"} and isinstance(body["text"], str) else to_json(body)
