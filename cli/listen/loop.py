"""The loop of `fabric listen`: takes messages until a limit is reached, and counts them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

from cli.terminal.output import Output, note
from fabric.messages.endpoint import Endpoint
from fabric.messages.message import Message
from fabric.system.terminal import safe

#: Seconds between checks of conditions that send no wake-up: stdout has lost its reader, the file of rules has changed.
POLL_INTERVAL = 0.2


class HandledCount:
    """The number of messages that were handled. It can be read after an exception has ended the loop, too."""

    value = 0


def follow(
    inbox: Endpoint,
    handle: Callable[[Message], object],
    handled: HandledCount,
    out: Output,
    *,
    count: int | None = None,
    timeout: float | None = None,
    idle: Callable[[], object] = lambda: None,
) -> None:
    """Call `handle` for each message, on this thread, until `count` messages or `timeout` seconds.

    `idle` is called several times a second while no message comes. BrokenPipeError when the reader of `out` has gone;
    errors of the endpoint, such as NameTaken, and of `handle` are raised.
    """
    until = inf if timeout is None else monotonic() + timeout
    while (left := until - monotonic()) > 0:
        try:
            message = inbox.receive(min(left, POLL_INTERVAL))
        except TimeoutError:
            out.check()
            idle()
            continue
        handle(message)
        handled.value += 1
        if handled.value == count:
            return


def close(inbox: Endpoint) -> None:
    """Release the name. Messages still in the inbox were acknowledged to their senders, so their ids are printed."""
    inbox.close()
    if left := inbox.poll():
        note(
            f"{len(left)} more had arrived for {safe(inbox.name)}, and are lost: {', '.join(each.id for each in left)}"
        )
