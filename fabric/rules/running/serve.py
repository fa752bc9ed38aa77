"""Serves rules: registers an endpoint, and applies rules to its messages and to events.

    node = fabric.connect("lead")
    with fabric.rules.serve(node, "lead-agent", "rules.toml") as served:
        for handed in iter(served.host.get, None): ...

Messages are taken on a thread of its own, which also checks every second whether the file has changed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from fabric.errors import FabricError
from fabric.messages.endpoint import Endpoint
from fabric.node.node import Node
from fabric.rules.reading.file import Rules
from fabric.rules.running.actions import TextRouter
from fabric.rules.running.apply import CLOSE_TIMEOUT, Applier
from fabric.rules.running.host import Host

logger = logging.getLogger("fabric.rules")

#: Seconds between checks of the file when no message arrives.
RELOAD_INTERVAL = 1.0


class Served:
    """An endpoint that is served, made by `serve`. `endpoint`, `applier`, `host` and `rules` are its parts."""

    def __init__(self, endpoint: Endpoint, applier: Applier) -> None:
        self.endpoint = endpoint
        self.applier = applier
        self._thread = threading.Thread(target=self._work, name=f"fabric-rules-{endpoint.name}", daemon=True)
        self._thread.start()

    @property
    def rules(self) -> Rules:
        """The rules."""
        return self.applier.rules

    @property
    def host(self) -> Host:
        """The host that gets the texts of `inbox`."""
        return self.applier.host

    def stats(self) -> dict[str, Any]:
        """See `Applier.stats`."""
        return self.applier.stats()

    def _work(self) -> None:
        while True:
            try:
                message = self.endpoint.receive(RELOAD_INTERVAL)
            except TimeoutError:
                self.applier.look()
                continue
            except FabricError:  # closed, or another node has taken the name, which the endpoint has logged
                return
            try:
                self.applier.apply(message)
            except Exception:  # a defect; this thread must go on
                logger.exception("message %s from %r was not handled", message.id, message.sender)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Release the name, handle the messages that have arrived, and end; see `Applier.close`.

        Any thread but those of actions.
        """
        self.endpoint.close()
        self._thread.join(timeout)
        self.applier.close(timeout)

    async def aclose(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """The awaitable twin of `close`."""
        import asyncio

        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def serve(
    node: Node,
    name: str | None,
    rules: Rules | str | os.PathLike[str],
    *,
    host: Host | None = None,
    router: TextRouter | None = None,
    write: Callable[[str], object] | None = None,
    colour: bool | None = None,
    policy: str = "reject",
    max_inbox: int = 1_000,
) -> Served:
    """Register the endpoint `name` (None: the one that the file says), and apply `rules` to its messages, and to events.

    `host`, `router`, `write` and `colour` as for `Applier`, `policy` and `max_inbox` as for `Node.endpoint`. RulesError for
    a wrong file, ValueError if neither `name` nor the file names an endpoint.
    """
    rules = rules if isinstance(rules, Rules) else Rules.load(rules)
    name = name or rules.current.endpoint
    if not name:
        raise ValueError('which endpoint? Give a name, or endpoint = "…" in the file of rules')
    endpoint = node.endpoint(name, policy=policy, max_inbox=max_inbox)
    applier = Applier(
        rules,
        node,
        # Sending as a name that is not registered yet would fail.
        sender=lambda: endpoint.name if endpoint.state == "registered" else "",
        host=host,
        router=router,
        write=write,
        colour=colour,
    )
    applier.watch(node.bus)
    return Served(endpoint, applier)
