"""Chaos: a fabric of real processes under load, a fault every few seconds, and at the end everything accounted for.

    python tests/chaos/run.py --minutes 1 --seed 7

Prints the seed and every fault as it happens, and at the end a table. Exit status 0: all is accounted for; 1: it is not;
2: interrupted or out of time. Where the machine allows private networks, the last third of the time is over tcp between
two of them, and the cable is pulled.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import monotonic
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from fabric.testing import wait_until  # noqa: E402
from tests.chaos import network, verdict  # noqa: E402
from tests.chaos.faults import FAULTS, kinds_on, plan  # noqa: E402
from tests.chaos.world import World  # noqa: E402

#: Seconds that starting, coming to rest and judging may take beyond the faults.
GRACE = 90.0
#: What each publisher says.
TOPICS = 4
#: What may wait in the subscriber that drops the oldest; a slow handler fills it.
SMALL_INBOX = 256 * 1024


class Options(NamedTuple):
    """One run, over one transport."""

    seconds: float
    seed: int
    transport: str = "ipc"
    publishers: int = 3
    subscribers: int = 5
    rate: float = 200.0
    messages: float = 50.0
    every: float = 1.5
    burst: int = 10_000
    #: Other faults than all that make sense; workers that none of them hits.
    kinds: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()


class Run:
    """See the module. `problems` is empty if all is well."""

    def __init__(self, options, say=print):
        self.options = options
        self.say = say
        self.problems = []
        self.rows = []
        self.outcomes = []
        self.published = []
        self._log = Path(tempfile.mkdtemp(prefix="fabric-chaos-"))
        self._holders = 0
        self._harming = False
        #: Who was there from the start, and in which life.
        self._first = {}

    def __call__(self, between=lambda world: None):
        """Do all of it; `between(world)` is called between two faults."""
        options = self.options
        try:
            with World(far=options.transport == "tcp", timeout=5.0) as world:
                world.burst, world.spared = options.burst, options.spared
                self.populate(world)
                self.do_harm(world, between)
                self.come_to_rest(world)
                self.judge(world)
        finally:
            shutil.rmtree(self._log)
        return self.problems

    # Before

    def populate(self, world):
        """Everybody is there before the first event."""
        options = self.options
        for number in range(options.subscribers):
            kind = "asyncio" if number % 4 == 3 else "thread"
            recover = number % 2 == 0
            # One would rather see what is new than what it cannot keep up with.
            settings = {"inbox_policy": "drop_oldest", "inbox_bytes": SMALL_INBOX} if number % 4 == 1 else {}
            marks = ["recovers"] * recover + ["sheds"] * bool(settings) + ["asyncio"] * (kind == "asyncio")
            world.add(
                "-".join(["subscriber", str(number), *marks]),
                lambda life, recover=recover: life("subscribe", pattern="load.**", recover=recover),
                kind,
                far=number % 2 == 1,
                **settings,
            )
        for number in range(options.publishers):
            world.add(f"publisher-{number}", self._begin_publisher, far=number % 2 == 1)
        world.add("holder", self._begin_holder)
        world.add("sender", lambda life: None)
        for life in world.lives.values():
            wait_until(lambda life=life: life("state")["state"] == "up", 15.0, "a node is up")
        for name in world.named("subscriber"):
            wait_until(lambda name=name: world.lives[name]("state")["settled"], 15.0, f"{name} is ready")
        for name in world.named("publisher"):
            self._publish(world.lives[name])
        wait_until(lambda: world.lives["holder"]("state")["held"], 15.0, "the holder has its name")
        world.lives["sender"]("send", to="holder", rate=options.messages)

    def _begin_publisher(self, life):
        if self._harming:
            # A later life: as a program that is started again, it does not wait for anybody.
            self._publish(life)

    def _publish(self, life):
        life.origin = life("report")["stats"]["origin"]
        topics = [f"load.{life.origin[:4]}.t{number}" for number in range(TOPICS)]
        life("publish", topics=topics, rate=self.options.rate, pad=100)

    def _begin_holder(self, life):
        self._holders += 1
        life("hold", name="holder", log=str(self._log / f"holder-{self._holders}"))

    # Meanwhile

    def do_harm(self, world, between):
        """The faults, one after the other."""
        options = self.options
        self._harming, begun = True, monotonic()
        self._first = dict(world.lives)
        for fault in plan(options.seed, options.seconds, options.every, options.kinds or kinds_on(options.transport)):
            self._pause(begun + fault.at - monotonic())
            between(world)
            with FAULTS[fault.kind].begin(world, fault) as whom:
                self.say(f"{monotonic() - begun:7.2f} s  {fault.kind}: {whom}, for {fault.length:.2f} s")
                self._pause(fault.length)
        self._pause(begun + options.seconds - monotonic())
        between(world)

    def _pause(self, seconds):
        if seconds > 0:
            threading.Event().wait(seconds)

    # After

    def come_to_rest(self, world):
        """Nothing is published any more, and what is under way arrives."""
        world.wait_for_proxy()
        for life in world.lives.values():
            wait_until(lambda life=life: life("state")["state"] == "up", 20.0, "a node is back")
        self.outcomes = world.lives["sender"]("silence")["outcomes"]
        for name in world.named("subscriber"):
            wait_until(lambda name=name: world.lives[name]("state")["settled"], 20.0, f"{name} is ready")
        for name in world.named("publisher"):
            life = world.lives[name]
            wait_until(lambda life=life: not life("state")["bursts"], 20.0, f"{name} has published its burst")
            topics = life("halt")["published"]
            wait_until(lambda life=life: not life("state")["waiting"], 20.0, f"{name} has sent everything")
            self.published.append(verdict.Published(name, life.origin, topics, life("report")["stats"]))
        # The marks that close a tail come after a second of silence, and again after four.
        for name in world.named("subscriber"):
            life = world.lives[name]
            until = monotonic() + 20.0
            while self._problems(world, verdict.row(name, life("report"), self.published)) and monotonic() < until:
                self._pause(0.1)

    def _problems(self, world, row):
        names = [row.name, *(each.name for each in self.published)]
        from_the_start = all(world.lives[name] is self._first[name] for name in names)
        return verdict.problems_of(row, from_the_start=from_the_start)

    def judge(self, world):
        """Say what became of everything."""
        for name in world.named("subscriber"):
            report = world.lives[name]("report")
            row = verdict.row(name, report, self.published)
            self.rows.append(row)
            self.problems += self._problems(world, row)
            if report["track"]["missed"] != report["stats"]["missed"]:
                self.problems.append(f"{name}: the gaps that it heard of are not those that it counted")
        self.problems += verdict.problems_of_messages(self.outcomes, self._handled(), killed=self._holders > 1)
        self.say("")
        self.say(verdict.table(self.rows))
        self.say("")
        self.say(verdict.table([_sent(each) for each in self.published]))
        self._say_the_rest(world)

    def _handled(self):
        logs = [self._log / f"holder-{number + 1}" for number in range(self._holders)]
        return [[int(line) for line in log.read_text().split()] if log.exists() else [] for log in logs]

    def _say_the_rest(self, world):
        counts = {}
        for _, outcome in self.outcomes:
            counts[outcome] = counts.get(outcome, 0) + 1
        self.say("")
        self.say(f"messages: {', '.join(f'{outcome} {count:,}' for outcome, count in sorted(counts.items()))}")
        ended = f", ended by its supervisor: {world.supervisor.ended}" if world.supervisor.ended else ""
        self.say(f"proxy: started again {world.supervisor.restarts} times{ended}; killed lives: {len(world.killed)}")
        for problem in self.problems:
            self.say(f"PROBLEM  {problem}")


class Sent(NamedTuple):
    """One publisher's row of the table."""

    name: str
    published: int
    sent: int
    dropped: int
    unwanted: int
    unencodable: int
    unheard: int


def _sent(each):
    stats = each.stats
    counted = [stats[cause] for cause in ("dropped", "unwanted", "unencodable")]
    return Sent(each.name, each.total, stats["sent"], *counted, each.uncounted - sum(counted))


class OutOfTime(Exception):
    """The run has taken longer than it may."""


def _bounded(seconds):
    """OutOfTime in the main thread after so many seconds, whatever it does then."""

    def late(_number, _frame):
        raise OutOfTime(f"not done after {seconds:.0f} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="drawn if not given; printed")
    parser.add_argument("--publishers", type=int, default=Options._field_defaults["publishers"])
    parser.add_argument("--subscribers", type=int, default=Options._field_defaults["subscribers"])
    parser.add_argument("--rate", type=float, default=Options._field_defaults["rate"], help="events/s of a publisher")
    parser.add_argument("--every", type=float, default=Options._field_defaults["every"], help="seconds between faults")
    parser.add_argument("--transport", choices=("ipc", "tcp", "both"), default="both")
    return parser.parse_args(arguments)


def _run(chosen, seed, transport, seconds):
    if transport == "tcp" and not network.is_private():
        if not network.is_available():
            print("no private networks on this machine: the part over tcp is left out")
            return 0
        same = ["--publishers", chosen.publishers, "--subscribers", chosen.subscribers, "--rate", chosen.rate]
        same += ["--every", chosen.every, "--seed", seed, "--minutes", seconds / 60, "--transport", "tcp"]
        command, environment = network.privately(sys.executable, "-u", __file__, *map(str, same))
        return subprocess.call(command, env=environment)
    print(f"--- {transport}: {seconds:.0f} s of faults, seed {seed} ---", flush=True)
    options = Options(seconds, seed, transport, chosen.publishers, chosen.subscribers, chosen.rate, every=chosen.every)
    _bounded(seconds + GRACE)
    try:
        problems = Run(options)()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 1 if problems else 0


def main(arguments=None):
    chosen = _arguments(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    seconds = chosen.minutes * 60
    if chosen.transport == "both":
        # Over ipc first, where most of the faults are; a third of the time over tcp.
        parts = [("ipc", seconds * 2 / 3), ("tcp", seconds / 3)] if network.is_available() else [("ipc", seconds)]
    else:
        parts = [(chosen.transport, seconds)]
    worst = 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us wants all of it gone, too
    try:
        for transport, share in parts:
            worst = max(worst, _run(chosen, seed, transport, share))
    except KeyboardInterrupt:
        print("interrupted")
        return 2
    except OutOfTime as error:
        print(error)
        return 2
    if worst == 1 and not network.is_private():
        print(f"again: {' '.join(sys.argv)}{'' if chosen.seed is not None else f' --seed {seed}'}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
