"""Does what rules say.

    apply(message) ── decide ──▸ planned actions ──▸ each in a lane of its own: a bounded queue, a few threads
    (whoever calls)   µs          print ──▸ write(line)                 one lane for all lines, in order
                                  inbox ──▸ host.put(text)              fabric.rules.running.host
                                  exec, and formats that are programs   fabric.rules.running.runner
                                  route ──▸ router.route(…)   publish, send ──▸ the node

`apply` never waits: not for a program, a terminal, a router, nor a host. What fails is counted with its rule, and costs
no other action, no other rule and no later message anything.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

from fabric.bus.bus import Bus
from fabric.errors import FabricError
from fabric.messages.endpoint import Message, NotAnswered
from fabric.messages.receipt import Receipt
from fabric.protocol.envelope import Envelope
from fabric.rules.item import Item, event_item, message_item
from fabric.rules.match import Decision, Planned, decide
from fabric.rules.model import (
    ExecAction,
    InboxAction,
    PrintAction,
    ProgramFormat,
    PublishAction,
    RouteAction,
    SendAction,
)
from fabric.rules.reading.file import Rules
from fabric.rules.running.host import Host
from fabric.rules.running.render import body_of, channel_of, encoded, receiver_of, text_of, topic_of
from fabric.rules.running.runner import MAX_OUTPUT, ActionFailed, Runner, said_of
from fabric.rules.running.watch import EventWatch
from fabric.system.run_program import ProgramFailed, answer_of
from fabric.system.worker_pool import Job, WorkerPool

#: Seconds between looks at the file, at most so often.
LOOK = 0.1
#: Seconds that `close` gives what is being done.
CLOSE_TIMEOUT = 5.0
#: Messages of `send` that are waited for at a time.
_RECEIPTS = 8


class TextRouter(Protocol):
    """What `route` needs. An outcome is a good one only if its `ok`, or it itself, is True; else `problem` says why."""

    def route(self, channel: str, text: str, message: Mapping[str, Any]) -> Any:
        """Send `text` to `channel`, for that message. May block, on a thread of its rule; may raise."""


class MessageSink(Protocol):
    """What `publish` and `send` need: a node."""

    @property
    def url(self) -> str:
        """The proxy's address."""

    def publish(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """See `Node`."""

    def send(self, to: str, body: Mapping[str, Any], *, sender: str = "", timeout: float = 5.0) -> Receipt:
        """See `Node`."""


#: Appliers that nobody closed: their programs must not outlive us.
_open: weakref.WeakSet[Applier] = weakref.WeakSet()


class Applier:
    """Applies rules to what arrives. Every method may be called on any thread; `apply` never blocks."""

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
    ) -> None:
        """`node` publishes and sends, as the endpoint `sender`; without one those actions fail, and say so.

        `host` gets the texts of `inbox`; without one they wait in `applier.host`, a queue. `write` gets the lines of
        `print`, each with its line end (default: stdout); `colour` says whether it shows colours (default: if stdout is
        what is written to, and a terminal).
        """
        self.rules = rules
        self.host = Host() if host is None else host
        self._owns_host = host is None
        self._node = node
        self._sender = sender
        self._router = router
        self._write = _to_stdout if write is None else write
        self._colour = _stdout_has_colour() if colour is None and write is None else bool(colour)
        self._runner = Runner(rules, None if node is None else node.url)
        self._lines = WorkerPool("print")
        self._receipts = WorkerPool("receipts", concurrency=_RECEIPTS)
        self._looked = 0.0
        self._watch: EventWatch | None = None
        _open.add(self)

    # What arrives

    def apply(self, message: Mapping[str, Any]) -> None:
        """Do what the rules say about a message. Also a handler: `node.endpoint("lead-agent", applier.apply)`.

        A request is answered by a program with `answer = true`, which takes its time (a handler answers at once, so for
        that use `serve`); where there is none, its asker is told so.
        """
        request = isinstance(message, Message) and message.is_request
        decision = self._decide(message_item(message, request=request))
        if not decision.matched:
            self.rules.tally.was_unmatched()
        if request and isinstance(message, Message) and not any(map(_answers, decision.planned)):
            message.fail(NotAnswered("no rule answers this request"))
        self._begin(decision, message)

    def apply_event(self, topic: str, envelope: Envelope) -> None:
        """Do what the rules say about an event."""
        self._begin(self._decide(event_item(topic, envelope)), envelope)

    def watch(self, bus: Bus) -> EventWatch:
        """Hear the events that rules are for on `bus`, also when the rules change. Once."""
        self._watch = EventWatch(bus, self.apply_event)
        self._watch.subscribe(self.rules.current.topics)
        return self._watch

    def look(self) -> None:
        """Read the file again if it has changed. `apply` does, too, but only when something arrives."""
        self._looked = monotonic()
        if self.rules.look() and self._watch is not None:
            self._watch.subscribe(self.rules.current.topics)

    def _decide(self, item: Item) -> Decision:
        if monotonic() - self._looked >= LOOK:
            self.look()
        decision = decide(self.rules.current, item)
        for rule in decision.acting:
            self.rules.tally.count(rule.name, "matched")
        return decision

    def _begin(self, decision: Decision, source: Mapping[str, Any]) -> None:
        for planned in decision.planned:
            try:
                _BEGIN[planned.kind](self, planned, source)
            except Exception as error:
                # Whatever it is, it is this action's, and the next one's turn.
                self._runner.failed(planned, said_of(error))
                _fail(planned, source, said_of(error))

    # Actions, as they begin in the caller's thread

    def _print(self, planned: Planned, source: Mapping[str, Any]) -> None:
        self._with_text(planned, lambda text: self._show(planned, text), colour=self._colour)

    def _show(self, planned: Planned, text: str) -> None:
        self._lines.put(
            Job(
                lambda: self._runner.attempt(planned, lambda: self._write(text + "\n")),
                lambda: self.rules.tally.count(planned.rule.name, "dropped"),
                len(text),
            )
        )

    def _inbox(self, planned: Planned, source: Mapping[str, Any]) -> None:
        assert isinstance(planned.action, InboxAction)
        now = planned.action.now
        self._with_text(planned, lambda text: self._hand_over(planned, text, now=now))

    def _hand_over(self, planned: Planned, text: str, *, now: bool) -> None:
        def report(problem: str | None) -> None:
            if problem is not None:
                self._runner.failed(planned, problem)

        self.host.put(text, planned.item, planned.rule.name, now=now, report=report)

    def _route(self, planned: Planned, source: Mapping[str, Any]) -> None:
        action = planned.action
        assert isinstance(action, RouteAction)

        def route(text: str) -> None:
            try:
                self._route_now(channel_of(planned), text, source)
            except Exception as error:
                self._runner.failed(planned, said_of(error))
                if action.otherwise == "inbox":
                    self._hand_over(planned, text, now=False)
                elif action.otherwise == "print":
                    self._show(planned, text)

        if isinstance(action.format, ProgramFormat):
            self._with_text(planned, route)
        else:
            text = text_of(planned)
            self._runner.put(planned, lambda: route(text), len(text))

    def _route_now(self, channel: str, text: str, source: Mapping[str, Any]) -> None:
        if self._router is None:
            raise ValueError("there is no router here")
        outcome = self._router.route(channel, text, source)
        # A result that is merely there is none that succeeded.
        if outcome is not True and getattr(outcome, "ok", None) is not True:
            raise ValueError(
                f"it was not taken for its channel: {getattr(outcome, 'problem', None) or _short(outcome)}"
            )

    def _exec(self, planned: Planned, source: Mapping[str, Any]) -> None:
        action = planned.action
        assert isinstance(action, ExecAction)
        data = encoded(planned)

        def run() -> None:
            try:
                ran = self._runner.run(planned, action.command, data)
                if action.answer and ran.cut:
                    self._runner.failed(planned, problem := f"printed more than {MAX_OUTPUT:,} bytes")
                    raise ActionFailed(problem)
            except ActionFailed as error:
                _fail(planned, source, str(error))
                raise
            if action.answer and isinstance(source, Message):
                source.reply(answer_of(ran.output))

        if self._runner.rests(planned):
            _fail(planned, source, "it has failed too often, and rests")
        else:
            self._runner.put(planned, run, len(data), lambda: _fail(planned, source, "too many wait for this program"))

    def _publish(self, planned: Planned, source: Mapping[str, Any]) -> None:
        assert isinstance(planned.action, PublishAction)
        topic, body = topic_of(planned), body_of(planned)
        # In its lane: subscribers of this process run inside `publish`.
        self._runner.put(planned, lambda: self._fabric().publish(topic, body))

    def _send(self, planned: Planned, source: Mapping[str, Any]) -> None:
        action = planned.action
        assert isinstance(action, SendAction)
        to, body = receiver_of(planned), body_of(planned)

        def send() -> None:
            sender = self._sender if isinstance(self._sender, str) else self._sender()
            receipt = self._fabric().send(to, body, sender=sender, timeout=action.timeout)
            # Elsewhere: the next message leaves without waiting for this one's receipt, and in order.
            waiting = action.timeout + 1.0
            self._receipts.put(Job(lambda: self._runner.attempt(planned, lambda: receipt.wait(waiting))))

        self._runner.put(planned, send)

    def _fabric(self) -> MessageSink:
        if self._node is None:
            raise ValueError("there is no node here to publish or send with")
        return self._node

    def _with_text(self, planned: Planned, then: Callable[[str], None], *, colour: bool = False) -> None:
        """Call `then` with the action's text: here, or in its lane if a program makes it."""
        action = planned.action
        assert isinstance(action, PrintAction | InboxAction | RouteAction)
        form, limit = action.format, action.limit
        if not isinstance(form, ProgramFormat):
            self.rules.tally.count(planned.rule.name, "runs")
            then(text_of(planned, colour=colour))
            return
        data = encoded(planned)

        def make() -> None:
            try:
                text = self._runner.made(planned, form, data, colour=colour, limit=limit)
            except ActionFailed:  # counted; the text is more important than its looks
                text = text_of(planned, colour=colour)
            then(text)

        if self._runner.rests(planned):
            then(text_of(planned, colour=colour))
        else:
            self._runner.put(planned, make, len(data))

    # The end

    def stats(self) -> dict[str, Any]:
        """As `Rules.stats`, and `host_dropped`: texts that the host did not take."""
        return {**self.rules.stats(), "host_dropped": self.host.dropped}

    def wait(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Block until all that was begun is done; False if it is not after `timeout` seconds."""
        until = monotonic() + timeout
        while True:
            # Programs make texts, and texts become lines.
            lanes = [*self._runner.lanes(), self._receipts, self._lines]
            if not all([*(lane.wait(until) for lane in lanes), self.host.wait(until)]):
                return False
            if all(lane.is_idle for lane in [*self._runner.lanes(), self._receipts, self._lines]):
                return True

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Take nothing more, and end: what is being done has `timeout` seconds, then programs are ended."""
        if self._watch is not None:
            self._watch.close()
        if timeout > 0:
            self.wait(timeout)
        self._runner.close()
        lanes = [*self._runner.lanes(), self._receipts, self._lines]
        for lane in lanes:
            lane.close()
        until = monotonic() + CLOSE_TIMEOUT  # longer than a program takes to end; whoever is stuck is a daemon thread
        for lane in lanes:
            lane.join(until)
        if self._owns_host:
            self.host.close()
        _open.discard(self)

    def __enter__(self) -> Applier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


_BEGIN: dict[str, Callable[[Applier, Planned, Mapping[str, Any]], None]] = {
    "print": Applier._print,
    "inbox": Applier._inbox,
    "exec": Applier._exec,
    "route": Applier._route,
    "publish": Applier._publish,
    "send": Applier._send,
}


def _answers(planned: Planned) -> bool:
    return isinstance(planned.action, ExecAction) and planned.action.answer


def _fail(planned: Planned, source: Mapping[str, Any], problem: str) -> None:
    """Tell whoever waits for the answer of this program that there is none."""
    if _answers(planned) and isinstance(source, Message):
        try:
            source.fail(ProgramFailed(problem))
        except FabricError:
            pass  # the node is closed; the asker is told that by its deadline


def _short(outcome: object) -> str:
    try:
        return repr(outcome)[:200]
    except Exception:
        return type(outcome).__name__


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
