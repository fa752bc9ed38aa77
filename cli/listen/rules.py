"""Acts on messages and events as a file of rules says (`--rules`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.terminal.output import Output, note
from fabric.bus.bus import Bus
from fabric.messages.endpoint import Endpoint
from fabric.node.node import Node
from fabric.rules.reading.file import Rules
from fabric.rules.running.apply import Applier
from fabric.rules.running.host import Handed, Host
from fabric.system.terminal import safe

if TYPE_CHECKING:
    from fabric.routes.router import Router

#: Seconds that actions and routed texts have when enough messages have arrived.
FINISH_TIMEOUT = 60.0


def configured_router(bus: Bus) -> Router | None:
    """The router of the settings file, None if that has no routes. SettingsError if they are wrong."""
    from fabric.routes.config import is_configured, load  # imports asyncio and more, which most calls do not need

    return load(bus=bus) if is_configured() else None


@contextmanager
def applied(rules: Rules, node: Node, inbox: Endpoint, out: Output, router: Router | None) -> Iterator[Applier]:
    """An applier of `rules`, which watches events, too. At the end it finishes its actions, but not after an exception."""
    lock = threading.Lock()

    def write(text: str) -> None:
        with lock:  # the lines of `print` and the texts of `inbox` come from two threads
            out.write(text)

    def show(handed: Handed) -> None:
        write(handed.text + "\n")

    host = Host(show)
    applier = Applier(
        rules, node, sender=lambda: inbox.name, host=host, router=router, write=write, colour=out.has_colour
    )
    routing_timeout = 0.0
    try:
        applier.watch(node.bus)
        yield applier
        inbox.close()
        applier.wait(FINISH_TIMEOUT)
        routing_timeout = FINISH_TIMEOUT
    finally:
        applier.close(0.0)
        if router is not None:
            router.close(routing_timeout)
        host.close()
        _tell_failures(applier.stats())


def _tell_failures(stats: dict[str, Any]) -> None:
    for name, counts in stats["rules"].items():
        if counts["failures"]:
            error = safe(counts["last_error"])
            note(
                f"rule {safe(name)}: {counts['failures']} of {counts['runs']} actions failed, the last one with: {error}"
            )
        if lost := counts["dropped"] + counts["suppressed"]:
            note(f"rule {safe(name)}: {lost} actions were not begun: too many waited, or too many had failed")
