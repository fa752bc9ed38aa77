"""`fabric demo`: three processes that share nothing but topics.

    machine  ── machine.cpu, machine.memory, machine.busiest ──▸  alarm
                                                                    │ alert.raised, alert.cleared
    the foreground taps both  ◂─────────────────────────────────────┘

Machine and alarm are this command with `--part`, started with a pipe as their stdin. Nothing is written to the pipe. It is
closed when the foreground ends, in whatever way, and that ends both.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import click

from cli.demo.alarm import Alarm
from cli.demo.machine import PROC, Machine
from cli.exits import FAILED, Failure
from cli.join import joined
from cli.options import SECONDS, proxy_options
from cli.tap.event_line import EventLines
from cli.tap.loop import LinesOutput, Notes, TapLimits, follow
from cli.tap.reader import Event, Reader
from cli.terminal.output import Output
from fabric.node.node import Node
from fabric.protocol.envelope import Envelope

INTERVAL = 0.4
#: Seconds of the first measurement: it is short, so that there is something to see at once.
FIRST_INTERVAL = 0.1
#: Seconds that a part may take to end before it is killed.
END_TIMEOUT = 3.0
_PALETTE = {"alert.raised": "1;31", "alert.cleared": "32"}


@click.command(short_help="Watch this machine through the fabric: a first minute.")
@proxy_options
@click.option("--seconds", type=SECONDS, metavar="S", help="End after S seconds.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05),
    default=INTERVAL,
    metavar="S",
    help=f"Seconds between looks at the machine.  [default: {INTERVAL}]",
)
@click.option("--part", type=click.Choice(["machine", "alarm"]), hidden=True)
def demo(url: str | None, autostart: bool | None, seconds: float | None, interval: float, part: str | None) -> None:
    """Watch this machine through the fabric, with real numbers from /proc.

    One process measures load, memory and the busiest processes, and publishes what it finds. A second one subscribes to
    that, and publishes alerts when something is above what was usual lately. This one reads along. Ctrl-C ends all
    three.

    \b
    Examples:
      fabric demo
      fabric demo --seconds 10 --interval 0.2
      fabric tap 'alert.**'                      meanwhile, in another terminal
    """
    if part == "machine":
        with joined(url, autostart, name=part) as node:
            _measure(node, interval)
    elif part == "alarm":
        with joined(url, autostart, name=part) as node:
            _raise_alerts(node)
    else:
        _show(url, autostart, seconds, interval)


# The parts


def _measure(node: Node, interval: float) -> None:
    machine = Machine()
    pause = min(FIRST_INTERVAL, interval)
    while not _parent_ends_within(pause):
        for topic, payload in machine.measure().items():
            node.publish(topic, payload)
        pause = interval


def _raise_alerts(node: Node) -> None:
    alarm = Alarm()

    def on_measured(measured: Envelope) -> None:
        for topic, payload in alarm.alerts(measured["type"], measured, monotonic()):
            node.publish(topic, payload)

    node.subscribe("machine.**", on_measured).wait_ready()
    while not _parent_ends_within(60.0):
        pass


def _parent_ends_within(seconds: float) -> bool:
    """Wait up to `seconds`; True as soon as the process that started us has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable)


# The foreground


def _show(url: str | None, autostart: bool | None, seconds: float | None, interval: float) -> None:
    if not (PROC / "stat").exists():
        raise Failure(FAILED, "the demo reads /proc, which is not there; `fabric tap` and `fabric pub` work anywhere")
    out = Output()
    reader = Reader(["machine.**", "alert.**"])
    with joined(url, autostart, name=f"demo-{os.getpid()}", bus=reader) as node:
        shown = _Shown(out)
        started = monotonic()
        try:
            with _parts(node.url, interval) as parts:
                out.write(_introduction(node.url, parts))
                notes, limits = Notes(node.url), TapLimits(timeout=seconds)
                follow(reader, shown, notes, limits, check=lambda: _check(out, parts))
        except KeyboardInterrupt:
            pass  # the ordinary end
        out.write(_conclusion(shown, monotonic() - started, url))


class _Shown(LinesOutput):
    """Prints events as a tap does, and counts them for the last line."""

    def __init__(self, out: Output) -> None:
        super().__init__(out, EventLines(colour=out.has_colour, truncate=out.size()[0] * 2, palette=_PALETTE))
        self.events = 0
        self.alerts = 0

    def event(self, event: Event) -> bool:
        """See `EventOutput`."""
        self.events += 1
        self.alerts += event.topic == "alert.raised"
        return super().event(event)


@contextmanager
def _parts(url: str, interval: float) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Starts the two other processes: name → process. Both have ended at the end."""
    parts: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in ("alarm", "machine"):  # the subscriber first
            command = [sys.executable, "-P", "-m", "cli.main", "demo", "--part", name, "--url", url]
            command += ["--interval", str(interval)]
            # In a session of their own: Ctrl-C goes to the foreground only, and the closed pipe ends them.
            parts[name] = subprocess.Popen(
                command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        yield parts
    finally:
        for process in parts.values():
            if process.stdin is not None:
                process.stdin.close()
        for process in parts.values():
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _check(out: Output, parts: dict[str, subprocess.Popen[bytes]]) -> None:
    out.check()
    for name, process in parts.items():
        if process.poll() is not None:
            raise Failure(FAILED, f"the process {name!r} ended by itself, with status {process.returncode}")


def _introduction(url: str, parts: dict[str, subprocess.Popen[bytes]]) -> str:
    return (
        f"machine (pid {parts['machine'].pid}) measures this computer, alarm (pid {parts['alarm'].pid}) listens to it "
        f"and raises alerts,\nthis process taps both through {url}. Ctrl-C ends all three.\n\n"
    )


def _conclusion(shown: _Shown, elapsed: float, url: str | None) -> str:
    at = f" --url {url}" if url else ""
    return (
        f"\n{shown.events:,} events in {elapsed:.0f} s, {shown.alerts:,} of them alerts raised.\n"
        f'Try next: fabric tap{at}   and in another terminal   fabric pub{at} hello \'{{"who": "you"}}\'\n'
    )
