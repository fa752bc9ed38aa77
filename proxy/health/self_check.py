"""Probes both planes from outside: a message goes in, and must come out again.

    PUB ──▸ events-in ══ the plane ══▸ events-out ──▸ SUB        `␀probe` + random + number; no other subscriber
    DEALER ──PING──▸ messages ──PONG──▸                          answered by the plane's own loop

Weaker checks prove less: a listening socket belongs to the kernel, a running thread may be stuck, and a timer of our own
proves only that timers work. The self-check connects to the proxy's address as a node does, with its own context.

A probe that was not answered in one check stays the probe of the next: on a starved machine, an answer after 3 s shows that
the plane works, with a round trip of 3 s. Nodes skip these probes as they skip each other's.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Any, NamedTuple

import zmq

from fabric.config.address import Address
from fabric.errors import WireError
from fabric.protocol import verbs
from fabric.protocol.events import PROBE

#: Seconds until a probe is sent again: the first ones are dropped, until our subscription has reached our publisher.
RETRY_INTERVAL = 0.05
#: Messages in a queue of our sockets. An answer counts once; further copies would only be skipped.
HIGH_WATER_MARK = 16
#: For addresses that mean all interfaces: one to connect to.
_WILDCARD_HOSTS = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


class CheckResult(NamedTuple):
    """Round trips through the planes in seconds; None: no answer within the timeout."""

    events: float | None = None
    messages: float | None = None

    @property
    def good(self) -> bool:
        """Whether both planes answered."""
        return self.events is not None and self.messages is not None


class SelfCheck:
    """Probes of one proxy. One thread calls `check` and `close`; any thread may read the attributes."""

    def __init__(self, address: Address) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._prefix = PROBE + os.urandom(8)
        self._out = self._connect(zmq.PUB, address, address.events_in)
        self._in = self._connect(zmq.SUB, address, address.events_out)
        self._dealer = self._connect(zmq.DEALER, address, address.messages)
        self._in.subscribe(self._prefix)
        self._poller = zmq.Poller()
        self._poller.register(self._in, zmq.POLLIN)
        self._poller.register(self._dealer, zmq.POLLIN)
        self._number = 0
        # The open probe and ping, and when they were first sent; empty: answered.
        self._probe, self._probe_at = b"", 0.0
        self._token, self._token_at = "", 0.0
        #: The result of the last check; and for each plane its last round trip.
        self.last = CheckResult()
        self.known = CheckResult()
        #: When both planes last answered, and when the event plane did; monotonic, 0: never.
        self.answered_at = 0.0
        self.events_answered_at = 0.0

    def _connect(self, kind: int, address: Address, endpoint: str) -> zmq.Socket[bytes]:
        opened = self._context.socket(kind)
        opened.linger = 0
        opened.sndhwm = opened.rcvhwm = HIGH_WATER_MARK
        opened.maxmsgsize = 512
        opened.handshake_ivl = 3_000
        opened.reconnect_ivl = 20  # milliseconds; the proxy is local, and its start waits for the first check
        opened.ipv6 = ":" in address.host
        opened.connect(endpoint.replace(f"//{address.host}:", f"//{_WILDCARD_HOSTS.get(address.host, address.host)}:"))
        return opened

    @property
    def alive(self) -> bool:
        """Whether both planes answered in the last check."""
        return self.last.good

    def check(self, timeout: float) -> CheckResult:
        """Send a probe through both planes, and wait at most `timeout` seconds for the answers."""
        self._send_ping()
        deadline, again = monotonic() + timeout, 0.0
        events = messages = None
        # At least one read, however short the timeout.
        while events is None or messages is None:
            now = monotonic()
            if events is None and now >= again:
                self._send_probe()
                again = now + RETRY_INTERVAL
            left = min(deadline, again) - now
            if self._poller.poll(max(int(left * 1_000) + 1, 0)):
                events = self._read_probes() if events is None else events
                messages = self._read_pongs() if messages is None else messages
            if monotonic() >= deadline:
                break
        now, known = monotonic(), self.known
        self.known = CheckResult(
            known.events if events is None else events, known.messages if messages is None else messages
        )
        self.last = CheckResult(events, messages)
        if events is not None:
            self.events_answered_at = now
        if self.last.good:
            self.answered_at = now
        return self.last

    def close(self) -> None:
        """Close the sockets."""
        for opened in (self._out, self._in, self._dealer):
            opened.close(linger=0)
        self._context.term()

    def _send_ping(self) -> None:
        now = monotonic()
        self._number += 1
        if not self._probe:
            self._probe, self._probe_at = b"%b%d" % (self._prefix, self._number), now
        if not self._token:
            self._token, self._token_at = f"pulse-{self._number}", now
        try:
            # An open ping is sent again, too: it is lost if the connection broke.
            self._dealer.send_multipart(verbs.encode(verbs.Ping(self._token)), zmq.NOBLOCK)
        except zmq.Again:
            pass

    def _send_probe(self) -> None:
        try:
            self._out.send(self._probe, zmq.NOBLOCK)
        except zmq.Again:
            pass

    def _read_probes(self) -> float | None:
        while (frames := _receive(self._in)) is not None:
            if frames == [self._probe]:
                self._probe = b""
                return monotonic() - self._probe_at
        return None

    def _read_pongs(self) -> float | None:
        while (frames := _receive(self._dealer)) is not None:
            try:
                answer = verbs.decode_for_node(frames)
            except WireError:
                continue
            if isinstance(answer, verbs.Pong) and answer.token == self._token:
                self._token = ""
                return monotonic() - self._token_at
        return None


def _receive(socket: zmq.Socket[Any]) -> list[bytes] | None:
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None
