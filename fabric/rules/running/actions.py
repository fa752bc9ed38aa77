"""The six kinds of actions: started in the caller's thread, which never waits for them.

    print ──▸ write(line)                       one pool for all lines, in order
    inbox ──▸ host.put(text)                    fabric.rules.running.host
    route ──▸ router.route(channel, text)       ┐
    exec  ──▸ program                           ├ a pool for each action: fabric.rules.running.runner
    publish, send ──▸ node                      ┘
    formats that are programs ──▸ program ──▸ print, inbox or route

A failure is counted with its rule. It costs no other action, no other rule and no later message anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from fabric.errors import FabricError
from fabric.messages.message import Message
from fabric.messages.receipt import Receipt
from fabric.rules.match import Planned
from fabric.rules.model import (
    ExecAction,
    InboxAction,
    PrintAction,
    ProgramFormat,
    RouteAction,
    SendAction,
)
from fabric.rules.running.host import Host
from fabric.rules.running.render import body_of, channel_of, encoded, receiver_of, text_of, topic_of
from fabric.rules.running.runner import MAX_OUTPUT, ActionFailed, ActionRun, Runner, text_of_error
from fabric.system.message_environment import ProgramFailed, answer_of
from fabric.system.worker_pool import Job, WorkerPool

#: Receipts of `send` that are waited for at the same time.
MAX_RECEIPTS = 8
#: Seconds that threads get to end after `close`: longer than a program takes. A thread that hangs is a daemon.
JOIN_TIMEOUT = 5.0


class TextRouter(Protocol):
    """The router that `route` needs. An outcome is a success only if its `ok`, or it itself, is True; else `problem` says
    why.
    """

    def route(self, channel: str, text: str, message: Mapping[str, Any]) -> Any:
        """Send `text` to `channel`, for that message. May block, on a thread of its rule; may raise."""


class MessageSink(Protocol):
    """The part of a node that `publish` and `send` need."""

    @property
    def url(self) -> str:
        """The proxy's address."""

    def publish(self, topic: str, payload: Mapping[str, Any] | None = None) -> None:
        """See `Node`."""

    def send(self, to: str, body: Mapping[str, Any], *, sender: str = "", timeout: float = 5.0) -> Receipt:
        """See `Node`."""


class Actions:
    """Takes planned actions. Every method may be called on any thread; `begin` never blocks."""

    def __init__(
        self,
        runner: Runner,
        host: Host,
        *,
        node: MessageSink | None,
        sender: str | Callable[[], str],
        router: TextRouter | None,
        write: Callable[[str], object],
        colour: bool,
    ) -> None:
        """See `fabric.rules.running.apply.Applier`."""
        self._runner = runner
        self._host = host
        self._node = node
        self._sender = sender
        self._router = router
        self._write = write
        self._colour = colour
        self._lines = WorkerPool("rules-print")
        self._receipts = WorkerPool("rules-receipts", concurrency=MAX_RECEIPTS)

    def begin(self, planned: Planned, source: Mapping[str, Any]) -> None:
        """Start an action for `source`, a message or the envelope of an event."""
        run = self._runner.begin(planned)
        try:
            _BEGIN[planned.kind](self, run, source)
        except Exception as error:
            problem = text_of_error(error)
            run.failed(problem)
            _fail_request(planned, source, problem)

    def _print(self, run: ActionRun, source: Mapping[str, Any]) -> None:
        self._with_text(run, lambda text: self._show(run, text), colour=self._colour)

    def _show(self, run: ActionRun, text: str) -> None:
        self._lines.put(
            Job(
                lambda: run.attempt(lambda: self._write(text + "\n")),
                lambda: run.count("dropped"),
                len(text),
            )
        )

    def _inbox(self, run: ActionRun, source: Mapping[str, Any]) -> None:
        action = run.planned.action
        assert isinstance(action, InboxAction)
        self._with_text(run, lambda text: self._hand_over(run, text, now=action.now))

    def _hand_over(self, run: ActionRun, text: str, *, now: bool) -> None:
        def report(problem: str | None) -> None:
            if problem is not None:
                run.failed(problem)

        self._host.put(text, run.planned.item, run.planned.rule.name, now=now, report=report)

    def _route(self, run: ActionRun, source: Mapping[str, Any]) -> None:
        action = run.planned.action
        assert isinstance(action, RouteAction)

        def route(text: str) -> None:
            try:
                self._route_now(channel_of(run.planned), text, source)
            except Exception as error:
                run.failed(text_of_error(error))
                if action.otherwise == "inbox":
                    self._hand_over(run, text, now=False)
                elif action.otherwise == "print":
                    self._show(run, text)

        if isinstance(action.format, ProgramFormat):
            self._with_text(run, route)
        else:
            text = text_of(run.planned)
            run.put(lambda: route(text), len(text))

    def _route_now(self, channel: str, text: str, source: Mapping[str, Any]) -> None:
        if self._router is None:
            raise ValueError("there is no router here")
        outcome = self._router.route(channel, text, source)
        # An object alone is no success: an outcome that says "failed" is as truthy as any.
        if outcome is not True and getattr(outcome, "ok", None) is not True:
            problem = getattr(outcome, "problem", None) or _short(outcome)
            raise ValueError(f"it was not taken for its channel: {problem}")

    def _exec(self, run: ActionRun, source: Mapping[str, Any]) -> None:
        planned, action = run.planned, run.planned.action
        assert isinstance(action, ExecAction)
        data = encoded(planned)

        def execute() -> None:
            try:
                ran = run.run(action.command, data)
                if action.answer and ran.cut:
                    run.failed(problem := f"printed more than {MAX_OUTPUT:,} bytes")
                    raise ActionFailed(problem)
            except ActionFailed as error:
                _fail_request(planned, source, str(error))
                raise
            if action.answer and isinstance(source, Message):
                source.reply(answer_of(ran.output))

        if run.is_suppressed():
            _fail_request(planned, source, "it has failed too often, and rests")
        else:
            run.put(execute, len(data), lambda: _fail_request(planned, source, "too many wait for this program"))

    def _publish(self, run: ActionRun, source: Mapping[str, Any]) -> None:
        topic, body = topic_of(run.planned), body_of(run.planned)
        # On the action's pool: subscribers of this process run inside `publish`.
        run.put(lambda: self._sink().publish(topic, body))

    def _send(self, run: ActionRun, source: Mapping[str, Any]) -> None:
        action = run.planned.action
        assert isinstance(action, SendAction)
        to, body = receiver_of(run.planned), body_of(run.planned)

        def send() -> None:
            sender = self._sender if isinstance(self._sender, str) else self._sender()
            receipt = self._sink().send(to, body, sender=sender, timeout=action.timeout)
            # Waited for on another pool: the next message leaves at once, and in order.
            timeout = action.timeout + 1.0
            self._receipts.put(Job(lambda: run.attempt(lambda: receipt.wait(timeout))))

        run.put(send)

    def _sink(self) -> MessageSink:
        if self._node is None:
            raise ValueError("there is no node here to publish or send with")
        return self._node

    def _with_text(self, run: ActionRun, then: Callable[[str], None], *, colour: bool = False) -> None:
        """Call `then` with the action's text: here, or on its pool if a program makes it."""
        planned, action = run.planned, run.planned.action
        assert isinstance(action, PrintAction | InboxAction | RouteAction)
        form, limit = action.format, action.limit
        if not isinstance(form, ProgramFormat):
            run.count("runs")
            then(text_of(planned, colour=colour))
            return
        data = encoded(planned)

        def make() -> None:
            try:
                text = run.format(form, data, colour=colour, limit=limit)
            except ActionFailed:  # counted; the text is shown in the default format
                text = text_of(planned, colour=colour)
            then(text)

        if run.is_suppressed():
            then(text_of(planned, colour=colour))
        else:
            run.put(make, len(data))

    # The end

    def _pools(self) -> list[WorkerPool]:
        return [*self._runner.pools(), self._receipts, self._lines]

    def wait(self, until: float) -> bool:
        """Wait until all actions are done; False if it is `until` (monotonic) before."""
        while True:
            # Programs make texts, and texts become lines: a later pool may get jobs of an earlier one.
            if not all([*(pool.wait(until) for pool in self._pools()), self._host.wait(until)]):
                return False
            if all(pool.is_idle for pool in self._pools()):
                return True

    def close(self) -> None:
        """Drop what waits, end running programs, and wait for the threads."""
        self._runner.close()
        pools = self._pools()
        for pool in pools:
            pool.close()
        until = monotonic() + JOIN_TIMEOUT
        for pool in pools:
            pool.join(until)


_BEGIN: dict[str, Callable[[Actions, ActionRun, Mapping[str, Any]], None]] = {
    "print": Actions._print,
    "inbox": Actions._inbox,
    "exec": Actions._exec,
    "route": Actions._route,
    "publish": Actions._publish,
    "send": Actions._send,
}


def answers(planned: Planned) -> bool:
    """Whether the action answers a request."""
    return isinstance(planned.action, ExecAction) and planned.action.answer


def _fail_request(planned: Planned, source: Mapping[str, Any], problem: str) -> None:
    """If the action should have answered a request, answer it with an error."""
    if answers(planned) and isinstance(source, Message):
        try:
            source.fail(ProgramFailed(problem))
        except FabricError:
            pass  # the node is closed; the deadline of the request tells the asker


def _short(outcome: object) -> str:
    try:
        return repr(outcome)[:200]
    except Exception:
        return type(outcome).__name__
