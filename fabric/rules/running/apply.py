"""Applies rules to messages and events: decides, and starts the actions.

    apply(message)               ┐
    apply_event(topic, envelope) ┴─▸ look (file changed?) ──▸ decide ──▸ fabric.rules.running.actions
                                                              µs         never waits

`apply` never waits: not for a program, a terminal, a router, nor a host.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any

from fabric.bus.bus import Bus
from fabric.messages.message import Message, NotAnswered
from fabric.protocol.envelope import Envelope
from fabric.rules.item import Item, event_item, message_item
from fabric.rules.match import Decision, decide
from fabric.rules.reading.file import Rules
from fabric.rules.running.actions import Actions, MessageSink, TextRouter, answers
from fabric.rules.running.host import Host
from fabric.rules.running.runner import Runner
from fabric.rules.running.watch import EventWatch

#: Seconds between checks whether the file has changed, at least.
RELOAD_INTERVAL = 0.1
#: Seconds that `close` gives running actions.
CLOSE_TIMEOUT = 5.0

#: Appliers that are not closed: their programs must not outlive this process.
_open: weakref.WeakSet[Applier] = weakref.WeakSet()


class Applier:
    """Applies rules to messages and events. Every method may be called on any thread; `apply` never blocks."""

    def __init__(
        self,
        rules: Rules,
        node: MessageSink | None = None,
        *,
        sender: str | Callable[[], str] = "",
        host: Host | None = None,
        router: TextRouter | None = None,
        write: Callable[[str], object] | None = None,
        colour: bool | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`node` publishes and sends, as the endpoint `sender`; without one those actions fail, and say so.

        `host` gets the texts of `inbox`; without one they wait in `applier.host`, a queue. `write` gets the lines of
        `print`, each with its line end (default: stdout); `colour` says whether it shows colours (default: if stdout is
        what is written to, and a terminal). `clock` returns monotonic seconds, for looks at the file and for cooldowns.
        """
        self.rules = rules
        self.host = Host() if host is None else host
        self._owns_host = host is None
        self._clock = clock
        self._looked_at: float | None = None
        self._watch: EventWatch | None = None
        self._actions = Actions(
            Runner(rules, None if node is None else node.url, clock=clock),
            self.host,
            node=node,
            sender=sender,
            router=router,
            write=_to_stdout if write is None else write,
            colour=_stdout_has_colour() if colour is None and write is None else bool(colour),
        )
        _open.add(self)

    # Messages and events

    def apply(self, message: Mapping[str, Any]) -> None:
        """Do what the rules say about a message. Also a handler: `node.endpoint("lead-agent", applier.apply)`.

        A request is answered by a program with `answer = true`, after it has ended (a handler answers at once, so for
        that use `serve`); if there is none, the request fails with NotAnswered.
        """
        request = isinstance(message, Message) and message.is_request
        decision = self._decide(message_item(message, request=request))
        if not decision.matched:
            self.rules.tally.was_unmatched()
        if request and isinstance(message, Message) and not any(map(answers, decision.planned)):
            message.fail(NotAnswered("no rule answers this request"))
        self._begin(decision, message)

    def apply_event(self, topic: str, envelope: Envelope) -> None:
        """Do what the rules say about an event."""
        self._begin(self._decide(event_item(topic, envelope)), envelope)

    def watch(self, bus: Bus) -> EventWatch:
        """Apply the rules to the events of `bus` that they are for, also when the rules change. Call it once."""
        self._watch = EventWatch(bus, self.apply_event)
        self._watch.subscribe(self.rules.current.topics)
        return self._watch

    def look(self) -> None:
        """Read the file again if it has changed. `apply` does it, too, but only when something arrives."""
        self._looked_at = self._clock()
        if self.rules.look() and self._watch is not None:
            self._watch.subscribe(self.rules.current.topics)

    def _decide(self, item: Item) -> Decision:
        if self._looked_at is None or self._clock() - self._looked_at >= RELOAD_INTERVAL:
            self.look()
        decision = decide(self.rules.current, item)
        for rule in decision.acting:
            self.rules.tally.count(rule.name, "matched")
        return decision

    def _begin(self, decision: Decision, source: Mapping[str, Any]) -> None:
        for planned in decision.planned:
            self._actions.begin(planned, source)

    # The end

    def stats(self) -> dict[str, Any]:
        """As `Rules.stats`, and `host_dropped`: texts that the host did not take."""
        return {**self.rules.stats(), "host_dropped": self.host.dropped}

    def wait(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Block until all actions that have begun are done; False if they are not after `timeout` seconds."""
        return self._actions.wait(monotonic() + timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take nothing more, and end: running actions have `timeout` seconds, then programs are ended."""
        if self._watch is not None:
            self._watch.close()
        if timeout > 0:
            self.wait(timeout)
        self._actions.close()
        if self._owns_host:
            self.host.close()
        _open.discard(self)

    def __enter__(self) -> Applier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _to_stdout(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _stdout_has_colour() -> bool:
    try:
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _close_all() -> None:
    for applier in list(_open):
        applier.close(0.0)


atexit.register(_close_all)
