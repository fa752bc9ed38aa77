"""Checks of the proxy: whether it answers and how fast, its versions, clock and limits, silent nodes, and losses.

`examine` asks the proxy, and the other checks judge its answers: they do no I/O.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from time import monotonic, time
from typing import NamedTuple

from cli.doctor import environment
from cli.doctor.environment import Place
from cli.doctor.findings import Finding, ok, warning, wrong
from cli.doctor.installation import version_numbers
from cli.terminal import numbers
from cli.views.losses import losses
from cli.views.status import is_silent
from fabric._version import __version__
from fabric.config.address import Address, default_url, parse_address
from fabric.errors import FabricError
from proxy import client
from proxy.daemon import lock_says
from proxy.health.self_check import CheckResult, SelfCheck
from proxy.server import MIN_DESCRIPTORS
from proxy.stats import ProxyStats

#: Requests for the record, and probes of both planes. The fastest of each counts: the first one connects, too.
REQUESTS = 5
PROBES = 3
#: Warnings begin here. Seconds of difference between clocks, of a round trip, and without a heartbeat of a node.
MAX_SKEW = 0.5
MAX_ROUND_TRIP = 0.1
MAX_SILENCE = 10.0
#: Bytes of memory, and the share of descriptors in use.
MAX_MEMORY = 1_000_000_000
MAX_DESCRIPTORS_USED = 0.9
#: Nodes that are asked for.
MAX_NODES = 1_000
#: Library → (first version without a known vulnerability, the vulnerabilities of the older ones).
_VULNERABLE = {"libzmq": ((4, 3, 3), "has holes that anybody who can connect may use (CVE-2019-13132, CVE-2020-15166)")}
_CURES = {
    "outbox": "keep the proxy reachable; outbox_events, outbox_bytes and outbox_seconds say what may wait",
    "unencodable": "publish what is JSON; the node's log names the topic",
    "missed": "see who lags: fabric top --nodes --sort lost",
    "handlers": "subscribe async handlers where their event loop runs, and keep it running",
    "busy": "see who does not read: fabric status",
    "hooks": "make the hook faster, or raise hook_concurrency and hook_queue",
}


class Answered(NamedTuple):
    """The proxy's record, with the seconds that the fastest request took. `skew`: its clock minus ours, in seconds."""

    stats: ProxyStats
    round_trip: float
    skew: float


def examine(place: Place, timeout: float = client.TIMEOUT) -> list[Finding]:
    """All checks of the proxy at `place`. Blocks; `timeout` is for each answer, in seconds."""
    address = place.address
    try:
        answered = _ask(address, timeout)
    except client.NotRunning as error:
        return [*_not_running(place, error), *_another(place)]
    except FabricError as error:
        return [_no_answer(address, error), *_another(place)]
    stats = answered.stats
    found = [ok("proxy", f"answers: {stats.who}, up {numbers.duration(stats.uptime)}, version {stats.version}")]
    probed = _probe(address, timeout)
    found += [*versions(stats), clock(answered), *round_trips(probed, stats, answered.round_trip, timeout)]
    found += [*limits(stats), *silent_nodes(stats), *lost(stats), *_another(place)]
    return found


def _ask(address: Address, timeout: float) -> Answered:
    stats_client = client.StatsClient(address)
    best: Answered | None = None
    try:
        for _ in range(REQUESTS):
            wall, before = time(), monotonic()
            stats = stats_client.stats(timeout, nodes=MAX_NODES)
            took = monotonic() - before
            if best is None or took < best.round_trip:
                # The best estimate of the time at which the answer was written: half of the round trip.
                best = Answered(stats, took, stats.now - (wall + took / 2))
    finally:
        stats_client.close()
    assert best is not None  # there was at least one request
    return best


# No answer


def _not_running(place: Place, error: Exception) -> list[Finding]:
    address = place.address
    start = "fabric proxy start" if place.is_default else f"fabric proxy start --url {address.url}"
    if not place.is_default:
        found = [wrong("proxy", f"{error}, {place.source}", f"{start}; or name another address")]
    elif not place.autostart:
        found = [wrong("proxy", f"{error}, and autostart is off", f"{start}; or switch autostart on")]
    else:
        found = [ok("proxy", "none runs; one is started when it is needed")]
    if environment.is_locked(address):
        said = lock_says(address) or "somebody who has not said who it is"
        found.append(
            warning("proxy", f"its lock is held by {said}: it starts, ends, or is stuck", "look again in a moment")
        )
    elif left := environment.leftovers(address):
        text = f"a proxy was killed here, and left {numbers.plural(len(left), 'socket')} behind: {', '.join(left)}"
        found.append(warning("proxy", text, "nothing need be done: the next proxy takes them over"))
    return found


def _no_answer(address: Address, error: Exception) -> Finding:
    if not isinstance(error, client.NotAnswering):
        return wrong("proxy", str(error), "check the address, the network, and your rights to it")
    said = lock_says(address)
    match = re.fullmatch(r"pid (\d+) on (\S+)", said)
    if match and match[2] == socket.gethostname() and environment.is_stopped(int(match[1])):
        return wrong("proxy", f"{error}; its process {match[1]} was stopped", f"kill -CONT {match[1]}")
    told = f"; its lock was taken by {said}" if said else ""
    return wrong("proxy", f"{error}{told}", "look at its log, and restart it; or name another address")


def _another(place: Place) -> list[Finding]:
    """A second proxy, at the embedded default: programs without an address join it."""
    if place.is_default:
        return []
    try:
        default = parse_address(default_url())
        if default.url == place.address.url:
            return []
        other = client.stats(default, 1.0)
    except FabricError:
        return []
    who = f"{other.who}, {numbers.plural(other.nodes, 'node')}"
    text = f"another proxy of yours ({who}) runs at the embedded default, {default.url}"
    fix = f"tell {place.address.url} to programs that join that one, or: fabric proxy stop --url {default.url}"
    return [warning("two proxies", text, fix)]


# It answers


def versions(stats: ProxyStats) -> list[Finding]:
    """Whether the proxy's version is ours, and whether a library has a known vulnerability, here or there."""
    here = _parsed(client.libraries())
    there = _parsed(stats.libraries)
    found = []
    if stats.version != __version__:
        text = f"the proxy is version {stats.version}, this is {__version__}"
        found.append(warning("versions", text, "fabric proxy restart, or upgrade what is older"))
    for name, (below, why) in _VULNERABLE.items():
        for side, libraries in (("here", here), ("at the proxy", there)):
            if name in libraries and version_numbers(libraries[name]) < below:
                fix = f"upgrade it to {'.'.join(map(str, below))} or later: pip install -U pyzmq"
                found.append(warning("versions", f"{name} {libraries[name]} {side} {why}", fix))
    told = ", ".join(f"{name} {version}" for name, version in here.items())
    differ = ", ".join(f"{name} {version}" for name, version in there.items() if here.get(name) != version)
    proxys = f"; the proxy's: {differ}" if differ else "; the proxy's are the same" if there else ""
    return [*found, ok("versions", f"event-fabric {__version__}, {told}{proxys}")]


def _parsed(libraries: tuple[str, ...]) -> Mapping[str, str]:
    return {name: version for name, _, version in (each.partition(" ") for each in libraries)}


def clock(answered: Answered) -> Finding:
    """Whether the clocks agree, within the uncertainty of half the round trip of the request."""
    error = answered.round_trip / 2
    if abs(answered.skew) - error > MAX_SKEW:
        ahead = "ahead of" if answered.skew > 0 else "behind"
        text = f"the proxy's clock is {numbers.took(abs(answered.skew))} {ahead} ours: delays and lags are wrong by as much"
        return warning("clocks", text, "let both machines set their clocks by NTP")
    return ok("clocks", f"agree within {numbers.took(abs(answered.skew) + error)}")


def round_trips(probed: CheckResult, stats: ProxyStats, asked: float, timeout: float) -> list[Finding]:
    """Whether both planes passed our probes on, and how fast. `asked`: seconds that the request for the record took."""
    trips = (("messages", probed.messages), ("events", probed.events))
    found = []
    for what, took in trips:
        if took is None:
            text = f"nothing came through the plane of {what} within {timeout:g} s"
            found.append(wrong("round trip", text, "fabric proxy restart; its log says what it found"))
        elif took > MAX_ROUND_TRIP:
            text = f"{what} take {numbers.took(took)} there and back"
            found.append(warning("round trip", text, "the machine or the network is busy, or far away"))
    if not found:
        told = [f"{what} {numbers.took(took)}" for what, took in trips if took is not None]
        found.append(ok("round trip", ", ".join([*told, f"its record {numbers.took(asked)}"])))
    if is_silent(stats) and probed.events is not None:
        found.append(warning("round trip", "the proxy's own probes do not come through, ours do", "look at its log"))
    return found


def _probe(address: Address, timeout: float) -> CheckResult:
    """The fastest round trip through each plane; None where no probe came back."""
    self_check = SelfCheck(address)
    try:
        results = [self_check.check(timeout)]
        if results[0].good:
            results += [self_check.check(timeout) for _ in range(PROBES - 1)]
    finally:
        self_check.close()
    events = [result.events for result in results if result.events is not None]
    messages = [result.messages for result in results if result.messages is not None]
    return CheckResult(min(events, default=None), min(messages, default=None))


def limits(stats: ProxyStats) -> list[Finding]:
    """Whether the proxy comes near its limits of descriptors and memory."""
    process = stats.process
    found = []
    if 0 <= process.descriptor_limit < process.descriptors / MAX_DESCRIPTORS_USED:
        text = f"the proxy has {process.descriptors:,} of {process.descriptor_limit:,} descriptors open"
        found.append(
            wrong("limits", text, "raise its limit (ulimit -n, LimitNOFILE) and restart it, before it runs out")
        )
    elif 0 <= process.descriptor_limit < MIN_DESCRIPTORS:
        text = f"the proxy may open {process.descriptor_limit:,} descriptors; each node takes three"
        found.append(
            warning("limits", text, f"raise its limit to {MIN_DESCRIPTORS:,} or more (ulimit -n, LimitNOFILE)")
        )
    if process.memory > MAX_MEMORY:
        text = f"the proxy uses {numbers.size(process.memory)} of memory"
        found.append(warning("limits", text, "see who does not read: fabric top --nodes --sort backlog"))
    if not found:
        limit = "any number" if process.descriptor_limit < 0 else f"{process.descriptor_limit:,}"
        told = (
            f"the proxy uses {numbers.size(process.memory)} of memory, {process.descriptors:,} of {limit} descriptors"
        )
        found.append(ok("limits", told))
    return found


def silent_nodes(stats: ProxyStats) -> list[Finding]:
    """Nodes whose heartbeats have not arrived for a while, the longest silent first."""
    silences = [(stats.now - member.seen, member) for member in stats.members if stats.now - member.seen > MAX_SILENCE]
    return [
        warning(
            "nodes",
            f"{member.node} (pid {member.pid} on {member.host}) has not been heard for {numbers.duration(silent)}",
            "it is stopped or stuck, or the way to it is cut; the proxy gives it up soon",
        )
        for silent, member in sorted(silences, key=lambda each: -each[0])
    ]


def lost(stats: ProxyStats) -> list[Finding]:
    """The losses since the proxy's start, by cause, each with its remedy."""
    found = []
    for loss in losses(stats):
        where = f"; of these {', '.join(f'{name} {count:,}' for name, count in loss.where[:4])}" if loss.where else ""
        text = f"{numbers.plural(loss.number, loss.what)} {loss.why}{where}"
        found.append(warning("lost", text, _CURES.get(loss.cause, "fabric status shows where")))
    if malformed := stats.messages.get("malformed", 0):
        text = f"{numbers.plural(malformed, 'message')} to the proxy made no sense"
        found.append(warning("lost", text, "look for a peer of another version, or one that is none of ours"))
    return found or [ok("lost", "nothing was lost")]
