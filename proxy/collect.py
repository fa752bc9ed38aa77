"""Collects the statistics record from both planes, the hooks and the process.

It is called on the message plane's thread (STATS) and on others (`/metrics`). Everything it reads is a number, or a dict
that is copied in one step, so it blocks nothing and takes no lock.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic, process_time, time
from typing import Any, NamedTuple

import orjson

from fabric._version import __version__
from proxy.client import libraries
from proxy.events.plane import EventPlane
from proxy.messages.directory import Directory
from proxy.messages.hooks import Hooks
from proxy.settings import ProxySettings
from proxy.stats import NodeStats, PlaneStats, ProcessStats, ProxyStats, TopicStats

#: Default numbers of rows: topics for a screen, nodes for what a scrape may cost.
DEFAULT_TOPICS = 50
DEFAULT_NODES = 1_000


class EventPlaneHealth(NamedTuple):
    """The last probe of the event plane: whether it came back, the seconds since then, and its round trip in seconds."""

    alive: bool
    age: float
    round_trip: float


class Collector:
    """Makes the record of one proxy. `health` is called for each record. Any thread."""

    def __init__(
        self,
        settings: ProxySettings,
        *,
        boot: str,
        directory: Directory,
        events: EventPlane,
        hooks: Hooks,
        health: Callable[[], EventPlaneHealth],
    ) -> None:
        self._settings = settings
        self._boot = boot
        self._directory = directory
        self._events = events
        self._hooks = hooks
        self._health = health
        self._url = settings.address().url
        self._host = socket.gethostname()
        self._libraries = libraries()
        self._started = monotonic()

    def answer(self, query: dict[str, Any]) -> bytes:
        """The answer to STATS: the record as JSON of at most the size of a message."""
        topics, nodes = _number(query.get("topics")), _number(query.get("nodes"))
        stats = self.stats(topics, nodes)
        data = orjson.dumps(stats.as_json())
        while len(data) > self._settings.max_bytes and (stats.busiest or stats.members):
            # A larger answer would make the asker's socket close its connection.
            half = replace(
                stats,
                busiest=stats.busiest[: len(stats.busiest) // 2],
                members=stats.members[: len(stats.members) // 2],
                truncated=True,
            )
            stats, data = half, orjson.dumps(half.as_json())
        return data

    def stats(self, topics: int = DEFAULT_TOPICS, nodes: int = DEFAULT_NODES) -> ProxyStats:
        """The record, with at most `topics` of the busiest topics and `nodes` nodes."""
        now, wall = monotonic(), time()
        counts = self._directory.stats()
        present, endpoints = counts.pop("nodes"), counts.pop("endpoints")
        totals = self._directory.reports.totals()
        members = self._directory.members(nodes)
        return ProxyStats(
            pid=os.getpid(),
            host=self._host,
            url=self._url,
            boot=self._boot,
            version=__version__,
            uptime=now - self._started,
            now=wall,
            log=self._settings.log_file,
            plane=self._plane(),
            process=process_stats(),
            nodes=present,
            endpoints=endpoints,
            subscriptions=self._directory.reports.subscriptions,
            messages=counts,
            published=totals.published,
            sent=totals.sent,
            delivered=totals.delivered,
            gaps=totals.gaps,
            dropped=totals.dropped,
            hooks=self._hooks.stats(),
            programs=tuple(argv[0] for argv in self._settings.hooks),
            libraries=self._libraries,
            busiest=self._topics(topics, wall - now),
            members=tuple(self._member(node) for node in members),
            truncated=len(members) < present if nodes else False,
        )

    def _plane(self) -> PlaneStats:
        health, observer, retainer = self._health(), self._events.observer, self._events.retainer
        retained = {} if retainer is None else retainer.stats()
        if observer is None:
            return PlaneStats(health.alive, health.age, health.round_trip, **retained)
        counted, topic_counts = observer.counted, observer.topic_counts
        return PlaneStats(
            alive=health.alive,
            probed=health.age,
            round_trip=health.round_trip,
            frames_in=counted.frames_in,
            bytes_in=counted.bytes_in,
            frames_out=counted.frames_out,
            bytes_out=counted.bytes_out,
            events=round(topic_counts.events),
            observed=topic_counts.observed,
            rate=topic_counts.rate,
            byte_rate=topic_counts.byte_rate,
            topics=len(topic_counts),
            **retained,
        )

    def _topics(self, limit: int, epoch: float) -> tuple[TopicStats, ...]:
        if (observer := self._events.observer) is None or not limit:
            return ()
        return tuple(
            TopicStats(row.topic, round(row.events), round(row.bytes), row.rate, row.byte_rate, epoch + row.last)
            for row in observer.topic_counts.rows(limit)
        )

    def _member(self, node: Any) -> NodeStats:
        identity, epoch = node.identity, self._directory.epoch
        report, rates = self._directory.reports.latest(node.origin)
        return NodeStats(
            node=identity.node,
            origin=identity.origin.hex(),
            pid=identity.pid,
            host=identity.host,
            program=identity.program,
            endpoints=len(node.registrations),
            since=epoch + node.since,
            seen=epoch + node.seen,
            sent_rate=rates.sent,
            delivered_rate=rates.delivered,
            report=report,
        )


def process_stats() -> ProcessStats:
    """CPU seconds, memory, descriptors and threads of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ProcessStats(
        cpu=process_time(),
        memory=_memory(),
        descriptors=_descriptors(),
        descriptor_limit=-1 if soft == resource.RLIM_INFINITY else soft,
        threads=threading.active_count(),
    )


def _memory() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):  # not Linux: the peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _descriptors() -> int:
    for path in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(path))
        except OSError:
            continue
    return 0


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
