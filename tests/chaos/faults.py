"""What is done to a fabric, and when: drawn from a seed, so that a run can be had again as far as processes allow.

A fault begins, lasts, and is undone; one at a time, so that what follows is its doing. `FAULTS` is the table.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import threading
from typing import NamedTuple

from fabric.config.address import parse_address
from tests.chaos.world import SOCKETS

#: Seconds until the proxy has noticed that its limit was lowered: it looks once a second while there is room.
NOTICED = 1.2
#: Descriptors that the proxy has left then, and how many would connect.
SPARE, NEWCOMERS = 200, 300


class Fault(NamedTuple):
    """`choice` in [0, 1) picks among whoever it may hit then; `length` in seconds."""

    at: float
    kind: str
    choice: float
    length: float


def plan(seed, seconds, every, kinds):
    """The faults of a run of so many seconds. Each kind comes once before any comes again; first what only one transport
    has, so that a short run has it, too."""
    chance = random.Random(seed)
    found, bag, at = [], [], every / 2
    while at < seconds:
        if not bag:
            bag = list(kinds)
            chance.shuffle(bag)
            bag.sort(key=lambda kind: bool(FAULTS[kind].on))  # taken from the end
        kind = bag.pop()
        length = chance.uniform(*FAULTS[kind].lasts)
        if at + length > seconds and found:
            break
        found.append(Fault(round(at, 2), kind, chance.random(), round(length, 2)))
        at += length + every * chance.uniform(0.5, 1.5)
    return found


def one_of(names, choice):
    """The one that `choice` falls on."""
    return names[int(choice * len(names))]


@contextlib.contextmanager
def proxy_killed(world, fault):
    world.proxy.kill()
    yield "proxy"
    world.wait_for_proxy()


@contextlib.contextmanager
def proxy_stopped(world, fault):
    world.proxy.signal(signal.SIGSTOP)
    try:
        yield "proxy"
    finally:
        world.proxy.signal(signal.SIGCONT)


def _stopped(kind):
    @contextlib.contextmanager
    def stopped(world, fault):
        name = one_of(world.victims(kind), fault.choice)
        life = world.lives[name]
        life.signal(signal.SIGSTOP)
        try:
            yield name
        finally:
            life.signal(signal.SIGCONT)

    return stopped


def _killed(kind):
    @contextlib.contextmanager
    def killed(world, fault):
        name = one_of(world.victims(kind), fault.choice)
        world.kill(name)
        yield name
        world.revive(name)

    return killed


@contextlib.contextmanager
def socket_deleted(world, fault):
    """What is connected stays so. Newcomers must find the way again, by the proxy's doing or by its supervisor's."""
    directory = parse_address(world.proxy.url).directory
    name = one_of(SOCKETS, fault.choice)
    (directory / name).unlink(missing_ok=True)
    yield name
    world.wait_for_proxy()


@contextlib.contextmanager
def burst(world, fault):
    name = one_of(world.victims("publisher"), fault.choice)
    world.lives[name]("burst", count=world.burst)
    yield name


@contextlib.contextmanager
def slow_handler(world, fault):
    name = one_of(world.victims("subscriber"), fault.choice)
    life = world.lives[name]
    life("slow", seconds=0.005)
    yield name
    life("slow", seconds=0.0)


@contextlib.contextmanager
def clock_step(world, fault):
    """Forward or back by an hour, and back again: clocks are for people."""
    name = one_of(world.victims("publisher", "subscriber", "holder"), fault.choice)
    life = world.lives[name]
    step = 3_600.0 if fault.length > 1.5 else -3_600.0
    life("step", seconds=step)
    yield name
    life("step", seconds=-step)


@contextlib.contextmanager
def worker_out_of_descriptors(world, fault):
    """The proxy goes away just when one of its nodes cannot open a socket to the next one."""
    name = one_of(world.victims("publisher", "subscriber"), fault.choice)
    life = world.lives[name]
    life("squeeze", spare=0)
    try:
        world.proxy.kill()
        yield name
    finally:
        life("release")
    world.wait_for_proxy()


@contextlib.contextmanager
def proxy_out_of_descriptors(world, fault):
    """More connections than it may have. It may refuse them, or end and come back; nothing else."""
    address = parse_address(world.proxy.url)
    pid = world.proxy.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = []
    try:
        soft = len(os.listdir(f"/proc/{pid}/fd")) + SPARE
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, limits[1]))
        threading.Event().wait(NOTICED)
        for number in range(NEWCOMERS):
            made = socket.socket(socket.AF_UNIX if address.directory else socket.AF_INET)
            made.setblocking(False)
            opened.append(made)
            threading.Event().wait(0.001)  # as many clients would; not as a program that does nothing else
            with contextlib.suppress(OSError):
                made.connect(
                    str(address.directory / SOCKETS[number % 3])
                    if address.directory
                    else (address.host, address.port + number % 3)
                )
        yield "proxy"
    finally:
        for made in opened:
            made.close()
        with contextlib.suppress(OSError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    world.wait_for_proxy()


@contextlib.contextmanager
def cut(world, fault):
    world.far.cut()
    try:
        yield "the network"
    finally:
        world.far.heal()


class Row(NamedTuple):
    """`lasts` from so many seconds to so many; `on` is `ipc` or `tcp` where it only makes sense there."""

    begin: object
    lasts: tuple[float, float]
    on: str = ""


FAULTS = {
    "proxy killed": Row(proxy_killed, (0.1, 1.0)),
    "proxy stopped": Row(proxy_stopped, (0.5, 4.0)),
    "publisher killed": Row(_killed("publisher"), (0.0, 1.0)),
    "publisher stopped": Row(_stopped("publisher"), (0.5, 4.0)),
    "subscriber killed": Row(_killed("subscriber"), (0.0, 1.0)),
    "subscriber stopped": Row(_stopped("subscriber"), (0.5, 5.0)),
    "holder killed": Row(_killed("holder"), (0.0, 1.0)),
    "holder stopped": Row(_stopped("holder"), (0.5, 3.0)),
    "socket file deleted": Row(socket_deleted, (0.5, 2.0), "ipc"),
    "burst": Row(burst, (0.5, 1.5)),
    "slow handler": Row(slow_handler, (1.0, 3.0)),
    "clock step": Row(clock_step, (1.0, 2.0)),
    "node out of descriptors": Row(worker_out_of_descriptors, (0.5, 1.5)),
    "proxy out of descriptors": Row(proxy_out_of_descriptors, (0.5, 1.5)),
    "network cut": Row(cut, (1.0, 14.0), "tcp"),
}


def kinds_on(transport):
    """The faults that make sense there."""
    return [kind for kind, row in FAULTS.items() if row.on in ("", transport)]
