"""`fabric listen`: be an endpoint, from a shell."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import localtime, monotonic, strftime
from typing import TYPE_CHECKING, Any

import click
import orjson

from cli.commands.messages.send import told_otherwise
from cli.exits import DONE, FAILED, INTERRUPTED, TIMED_OUT, Failure, complain
from cli.join import joined
from cli.options import SECONDS, EndpointParam, proxy_options
from cli.terminal.output import Output, note, note_to_terminal
from cli.terminal.text import bare, safe, to_json
from fabric.bus.bus import Bus
from fabric.config.endpoint_name import endpoint_name
from fabric.messages.endpoint import Endpoint
from fabric.messages.message import Message, NotAnswered
from fabric.node.node import Node
from fabric.protocol.fields import POLICIES
from fabric.rules.reading.file import Rules
from fabric.rules.running.apply import Applier
from fabric.rules.running.host import Handed, Host
from fabric.system.message_environment import ProgramFailed, answer_of, environment
from fabric.system.run_program import run

if TYPE_CHECKING:
    from fabric.routes.router import Router

#: Seconds between looks at what sends no wake-up: a reader that went away, a time that is over.
LOOK = 0.2
#: Bytes of a program's errors that are kept.
MAX_ERRORS = 64 * 1024
#: Seconds that actions of rules have when enough has arrived.
FINISH = 60.0


class _Listen(click.Command):
    """What follows --exec is a command line of its own, options and all, as with `find -exec` and `xargs`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        if "--exec" in args:
            at = args.index("--exec")
            args, argv = args[:at], args[at + 1 :]
            if not argv and not ctx.resilient_parsing:
                raise click.UsageError("--exec needs a program, and comes last: --exec ./work --fast", ctx)
            args = [*args, *(f"--exec={word}" for word in argv)]
        return super().parse_args(ctx, args)


@click.command(cls=_Listen, short_help="Register an endpoint, and print what arrives.")
@click.argument("name", type=EndpointParam(), required=False)
@click.option("--json", "json_", is_flag=True, help="One message a line, as JSON.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option("--timeout", type=SECONDS, metavar="S", help="End after S seconds in all.")
@click.option(
    "--policy",
    type=click.Choice(POLICIES),
    help="If NAME is taken: fail, take it away, get NAME-2, or share it in turn.  [default: reject; without NAME: suffix]",
)
@click.option(
    "--rules", "file", type=click.Path(path_type=Path), metavar="FILE", help="Do what the rules of FILE say, instead."
)
@click.option("--exec-timeout", type=SECONDS, metavar="S", help="End a program that runs longer.  [default: never]")
@click.option("--exec", "argv", multiple=True, metavar="PROGRAM ...", help="Run PROGRAM for each message. Comes last.")
@proxy_options
def listen(
    name: str | None,
    json_: bool,
    count: int | None,
    timeout: float | None,
    policy: str | None,
    file: Path | None,
    exec_timeout: float | None,
    argv: tuple[str, ...],
    url: str | None,
    autostart: bool | None,
) -> int:
    """Register the endpoint NAME, and print the messages that arrive for it: time, sender, body; ? marks those whose
    sender waits for an answer.

    With --exec a program runs for each instead, one after the other: the message is on its stdin as JSON, and FABRIC_ID,
    FABRIC_FROM, FABRIC_TYPE, FABRIC_CHANNEL, FABRIC_TEXT … are in its environment. If the message is a request, what the
    program prints is the answer (JSON if it is that, else text); else it is printed here. A program that fails
    raises RemoteError at the asker; its stderr is shown here.

    With --rules the rules of FILE say what happens, to messages and to events: they are read again when it changes. What
    is for an inbox is printed; what is for a route goes as [routes] of the settings file says. See: fabric rules --help

    Without NAME it is what $FABRIC_ENDPOINT says, else endpoint = "…" in FILE or in [fabric] of the settings file, else
    fabric-HOST; a second one gets a -2 then.

    \b
    Ends with
      0   --count messages arrived; without limits also by Ctrl-C
      1   NAME is taken, or was taken away
      5   fewer than --count arrived within --timeout

    \b
    Examples:
      fabric listen lead-agent
      fabric listen lead-agent --json | jq .body.text
      fabric listen lead-agent --count 1 --timeout 60
      fabric listen clock --exec date                        fabric request clock now
      fabric listen builder --policy share --exec ./build --fast
      fabric listen lead-agent --rules rules.toml
    """
    if argv and json_:
        raise click.UsageError("--json and --exec cannot be had together: with --exec the program gets the message.")
    if exec_timeout is not None and not argv:
        raise click.UsageError("--exec-timeout is for --exec.")
    if file is not None and (argv or json_):
        raise click.UsageError("--rules cannot be had together with --exec or --json: the rules say what happens.")
    rules = None if file is None else Rules.load(file)
    policy = policy or ("reject" if name else "suffix")
    name = name or endpoint_name(
        configured=rules.current.endpoint if rules else "", default=f"fabric-{os.uname().nodename}"
    )
    argv = _found(argv)
    out = Output()
    bus = Bus()
    router = None if rules is None else _router(bus)
    bus.subscribe("fabric.link.*", _Links().tell)
    shown = _Count()
    try:
        with (
            told_otherwise(),
            joined(url, autostart, name=f"listen-{os.getpid()}", bus=bus) as node,
            node.endpoint(name, policy=policy) as inbox,
        ):
            inbox.wait_ready()
            if inbox.name != name:
                note(f"{safe(name)} is taken: listening as {safe(inbox.name)}")
            note_to_terminal(f"listening as {safe(inbox.name)} at {node.url}; Ctrl-C ends")
            try:
                if rules is not None:
                    with _ruled(rules, node, inbox, out, router) as applier:
                        _follow(inbox, applier.apply, shown, out, count, timeout, applier.look)
                else:
                    show = _Program(argv, exec_timeout, node, out) if argv else _Printed(out, json_)
                    _follow(inbox, show, shown, out, count, timeout)
            finally:
                _leave(inbox)
    except KeyboardInterrupt:
        return DONE if count is None and timeout is None else INTERRUPTED
    if count is not None and shown.value < count:
        complain(f"{shown.value} of {count} messages came within {timeout:g} s")
        return TIMED_OUT
    return DONE


def _found(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command line with its program looked up. A Failure now, and not when the first message was accepted."""
    if not argv:
        return ()
    if (program := shutil.which(os.path.expanduser(argv[0]))) is None:
        raise Failure(FAILED, f"there is no program {argv[0]!r} that can be run")
    return (os.path.abspath(program), *argv[1:])


class _Count:
    """How many messages were shown; also when it ended in the middle."""

    value = 0


def _follow(
    inbox: Endpoint,
    show: Callable[[Message], None],
    shown: _Count,
    out: Output,
    count: int | None,
    timeout: float | None,
    idle: Callable[[], None] = lambda: None,
) -> None:
    until = inf if timeout is None else monotonic() + timeout
    while (left := until - monotonic()) > 0:
        try:
            message = inbox.receive(min(left, LOOK))
        except TimeoutError:
            out.check()
            idle()
            continue
        show(message)
        shown.value += 1
        if shown.value == count:
            return


def _leave(inbox: Endpoint) -> None:
    """Its senders were told that it was delivered: what nobody will look at any more is at least not lost in silence."""
    inbox.close()
    if left := inbox.poll():
        note(
            f"{len(left)} more had arrived for {safe(inbox.name)}, and are lost: {', '.join(each.id for each in left)}"
        )


def _router(bus: Bus) -> Router | None:
    """The routes of the settings file, if it has some. SettingsError says what is wrong with them."""
    from fabric.routes.config import is_configured, load  # asyncio and more, which most calls do not need

    return load(bus=bus) if is_configured() else None


@contextmanager
def _ruled(rules: Rules, node: Node, inbox: Endpoint, out: Output, router: Router | None) -> Iterator[Applier]:
    """What the rules say is done. What was begun is finished, if nobody is in a hurry."""

    writing = threading.Lock()

    def write(text: str) -> None:
        with writing:  # lines and texts come from two threads
            out.write(text)

    def show(handed: Handed) -> None:
        write(handed.text + "\n")

    host = Host(show)
    applier = Applier(
        rules, node, sender=lambda: inbox.name, host=host, router=router, write=write, colour=out.has_colour
    )
    routed = 0.0
    try:
        applier.watch(node.bus)
        yield applier
        inbox.close()
        applier.wait(FINISH)
        routed = FINISH
    finally:
        applier.close(0.0)
        if router is not None:
            router.close(routed)
        host.close()
        _tell(applier.stats())


def _tell(stats: dict[str, Any]) -> None:
    for name, counts in stats["rules"].items():
        if counts["failures"]:
            error = safe(counts["last_error"])
            note(
                f"rule {safe(name)}: {counts['failures']} of {counts['runs']} actions failed, the last one with: {error}"
            )
        if lost := counts["dropped"] + counts["suppressed"]:
            note(f"rule {safe(name)}: {lost} actions were not begun: too many waited, or too many had failed")


class _Printed:
    """A line a message. A request is answered by nobody here: its asker is told so, and does not wait in vain."""

    def __init__(self, out: Output, json_: bool) -> None:
        self._out = out
        self._json = json_

    def __call__(self, message: Message) -> None:
        self._out.write(f"{to_json(dict(message)) if self._json else line(message)}\n")
        message.fail(NotAnswered("fabric listen only prints what arrives; with --exec it answers"))


class _Program:
    """A run of the program a message."""

    def __init__(self, argv: tuple[str, ...], timeout: float | None, node: Node, out: Output) -> None:
        self._argv = argv
        self._timeout = timeout
        self._node = node
        self._out = out

    def __call__(self, message: Message) -> None:
        try:
            answer = self._run(message)
        except (ProgramFailed, OSError) as error:
            complain(f"{safe(self._argv[0])}, on message {message.id} from {safe(message.sender)}: {safe(str(error))}")
            message.fail(error)
            return
        if message.is_request:
            message.reply(answer_of(answer))
        elif answer:
            self._out.write(answer.decode(errors="backslashreplace"))

    def _run(self, message: Message) -> bytes:
        facts = {**message, "request": message.is_request}
        ran = run(
            self._argv,
            _encoded(facts) + b"\n",
            environment(facts, self._node.url),
            timeout=self._timeout,
            limit=self._node.settings.max_bytes,
        )
        if ran.errors:
            sys.stderr.write(ran.errors[:MAX_ERRORS].decode(errors="backslashreplace"))
            sys.stderr.flush()
        if ran.problem:
            last = ran.errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise ProgramFailed(f"{ran.problem}: {last}" if last else ran.problem)
        if ran.cut:
            raise ProgramFailed(f"printed more than {self._node.settings.max_bytes:,} bytes")
        return ran.output


def _encoded(facts: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(facts)
    except TypeError as error:  # what can be read may be nested too deeply to be written
        raise ProgramFailed(f"the message cannot be handed on: {error}") from None


def line(message: Message) -> str:
    """A message in one line: time, sender, whether somebody waits for an answer, its body."""
    ts = message.get("ts")
    when = ts if isinstance(ts, int | float) and 0 <= ts < 1e11 else 0
    clock = f"{strftime('%H:%M:%S', localtime(when))}.{int(when % 1 * 1000):03d}"
    kind = "?" if message.is_request else " "
    return f"{clock}  {safe(message.sender)} {kind} {_short(message.body)}"


def _short(body: dict[str, Any]) -> str:
    """A body that is only a text is shown as that; anything else as JSON."""
    return bare(body["text"]) if set(body) == {"text"} and isinstance(body["text"], str) else to_json(body)


class _Links:
    """Tells about the link, on a thread of the node."""

    def __init__(self) -> None:
        self._lost = threading.Event()

    def tell(self, event: dict[str, Any]) -> None:
        """An event of it."""
        if event["type"] == "fabric.link.down":
            self._lost.set()
            note(f"the link to {safe(str(event.get('url')))} was lost; waiting for it to come back")
        elif self._lost.is_set():
            self._lost.clear()
            note(f"the link to {safe(str(event.get('url')))} is back")
