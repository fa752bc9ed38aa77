"""Queries a running proxy: the client half of STATS, LIST and STOP.

Whether a proxy runs is asked of its socket and of nothing else; a pid in a file may be that of another process by now. The
three failures have three names, because each has another remedy:

    NotRunning     nothing listens at the address                                     start a proxy
    NotReachable   no permission, no such host, no route                              check the address
    NotAnswering   the listener accepts and does not answer, or not in our protocol   it is stopped, stuck, or no proxy
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

import orjson
import zmq

from fabric.config.address import Address
from fabric.errors import ProxyError, WireError
from fabric.protocol import verbs
from proxy.stats import ProxyStats, stats_from

#: Seconds that a proxy may take to answer. It answers within a millisecond, on a machine that swaps later.
TIMEOUT = 3.0
#: Seconds to wait for an answer on an open connection before a new connection is tried.
REUSE_TIMEOUT = 0.5
_NOTHING_LISTENS = (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


class NoAnswer(ProxyError):
    """No proxy answered at `url`. `state` is the kind of failure in two words."""

    state = "no answer"

    def __init__(self, url: str, text: str) -> None:
        super().__init__(text)
        self.url = url


class NotRunning(NoAnswer):
    """Nothing listens at the address."""

    state = "not running"

    def __init__(self, url: str) -> None:
        super().__init__(url, f"no proxy is running at {url}")


class NotReachable(NoAnswer):
    """The address could not be reached, so it is unknown whether a proxy runs there."""

    state = "not reachable"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, f"cannot reach {url}: {why}")


class NotAnswering(NoAnswer):
    """The listener does not answer, or not as a proxy does."""

    state = "not answering"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, f"something listens at {url}, but {why}")


class Status(NamedTuple):
    """The answers to STATS and LIST."""

    stats: ProxyStats
    endpoints: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    #: Rows were left out, because not all fit into one message.
    truncated: bool

    @property
    def who(self) -> str:
        """Process and host of the proxy, for people."""
        return self.stats.who


def status(address: Address, timeout: float = TIMEOUT, *, topics: int = 0, nodes: int = 0) -> Status:
    """Record, endpoints and nodes of the proxy at `address`; the record has rows of at most `topics` and `nodes`.

    Blocks for at most `timeout` seconds. NotRunning, NotReachable or NotAnswering if there is no answer.
    """
    query = {"topics": topics, "nodes": nodes}
    record, listed = _query(
        address, [verbs.Stats("stats", query), verbs.List("list", {})], [verbs.Record, verbs.Listed], timeout
    )
    listing = listed.listing
    truncated = listing.get("truncated") is True
    return Status(_stats(address, record), _rows(listing, "endpoints"), _rows(listing, "nodes"), truncated)


def stats(address: Address, timeout: float = TIMEOUT, *, topics: int = 0, nodes: int = 0) -> ProxyStats:
    """The statistics record of the proxy at `address`; arguments and errors as for `status`."""
    (record,) = _query(address, [verbs.Stats("stats", {"topics": topics, "nodes": nodes})], [verbs.Record], timeout)
    return _stats(address, record)


class StatsClient:
    """Asks one proxy for its record repeatedly, over one connection. One thread at a time.

    It connects at the first query. A connection that did not answer is closed: the query in its socket would otherwise be
    answered by the next proxy.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._dealer: zmq.Socket[bytes] | None = None

    def stats(self, timeout: float = TIMEOUT, *, topics: int = 0, nodes: int = 0) -> ProxyStats:
        """As the function `stats`. A query without an answer is repeated once, over a new connection."""
        deadline = monotonic() + timeout
        question = [verbs.Stats("stats", {"topics": topics, "nodes": nodes})]
        try:
            found = self._exchange(question, min(timeout, REUSE_TIMEOUT)) if self._dealer is not None else None
            if found is None:  # the first query, or the proxy was restarted and the query is lost
                self.close()
                left = max(deadline - monotonic(), REUSE_TIMEOUT)
                check(self.address, left)
                self._context, self._dealer = _connect(self.address)
                found = self._exchange(question, left)
            if found is None:
                raise _no_answer(self.address, timeout)
            return _stats(self.address, found[0])
        except BaseException:
            self.close()
            raise

    def _exchange(self, question: list[Any], timeout: float) -> list[Any] | None:
        assert self._dealer is not None
        return _exchange(self._dealer, self.address, question, [verbs.Record], timeout)

    def close(self) -> None:
        """Close the connection; the next query opens another."""
        if self._dealer is not None and self._context is not None:
            self._dealer.close(linger=0)
            self._context.term()
        self._context = self._dealer = None


def libraries() -> tuple[str, ...]:
    """Names and versions: Python, pyzmq, libzmq, orjson."""
    versions = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "orjson": orjson.__version__,
    }
    return tuple(f"{name} {version}" for name, version in versions.items())


def _stats(address: Address, record: verbs.Record) -> ProxyStats:
    try:
        return stats_from(record.record)
    except WireError as error:
        raise NotAnswering(address.url, f"it is a proxy of another version: {error}") from None


def stop(address: Address, timeout: float = TIMEOUT) -> None:
    """Ask the proxy at `address` to end; returns at its BYE. NoAnswer as for `status`, ProxyError if it refuses."""
    _query(address, [verbs.Stop("stop")], [verbs.Bye], timeout)


def _rows(listing: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = listing.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def check(address: Address, timeout: float = TIMEOUT) -> None:
    """Return if a process listens at `address`. NotRunning or NotReachable if not, NotAnswering if it accepts nothing."""
    try:
        if address.directory is None:
            host = address.host.strip("[]")
            # A proxy on all interfaces listens on loopback, too.
            socket.create_connection(("127.0.0.1" if host == "*" else host, address.port), timeout=timeout).close()
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            trial.settimeout(timeout)
            trial.connect(os.fspath(address.directory / "messages"))
    except socket.gaierror as error:
        raise NotReachable(address.url, f"there is no host {address.host!r} ({error.strerror})") from None
    except TimeoutError:
        if address.directory is not None:
            raise NotAnswering(address.url, "it takes no more connections") from None
        raise NotReachable(address.url, f"it takes no connection within {timeout:g} s") from None
    except BlockingIOError:  # the queue of a unix socket is full
        raise NotAnswering(address.url, "it takes no more connections") from None
    except OSError as error:
        if error.errno in _NOTHING_LISTENS:
            raise NotRunning(address.url) from None
        raise NotReachable(address.url, (error.strerror or str(error)).lower()) from None


def _query(address: Address, questions: Sequence[Any], answers: Sequence[type], timeout: float) -> list[Any]:
    """Send `questions`, and wait for one answer of each kind in `answers`."""
    check(address, timeout)
    context, dealer = _connect(address)
    try:
        found = _exchange(dealer, address, questions, answers, timeout)
    finally:
        dealer.close(linger=0)
        context.term()
    if found is None:
        raise _no_answer(address, timeout)
    return found


def _connect(address: Address) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.ipv6 = ":" in address.host
    dealer.connect(address.messages.replace("//*:", "//127.0.0.1:"))
    return context, dealer


def _no_answer(address: Address, timeout: float) -> NoAnswer:
    try:
        check(address, timeout)  # the proxy may have ended meanwhile
    except NoAnswer as error:
        return error
    return NotAnswering(address.url, f"did not answer within {timeout:g} s: it is stopped or stuck, or it is no proxy")


def _exchange(
    dealer: zmq.Socket[bytes], address: Address, questions: Sequence[Any], answers: Sequence[type], timeout: float
) -> list[Any] | None:
    deadline = monotonic() + timeout
    for question in questions:
        dealer.send_multipart(verbs.encode(question), zmq.NOBLOCK)
    found: dict[type, Any] = {}
    while len(found) < len(answers):
        left = deadline - monotonic()
        if left <= 0 or not dealer.poll(int(left * 1_000) + 1):
            return None
        try:
            answer = verbs.decode_for_node(dealer.recv_multipart(zmq.NOBLOCK))
        except (WireError, zmq.Again):
            raise NotAnswering(address.url, "what it says is not the fabric's protocol") from None
        if isinstance(answer, verbs.Error):
            raise _refused(address, answer)
        if type(answer) in answers:
            found[type(answer)] = answer
    return [found[kind] for kind in answers]


def _refused(address: Address, error: verbs.Error) -> ProxyError:
    if error.code == "unknown_verb":
        return NotAnswering(address.url, "it is a proxy of another version, which cannot be asked this")
    if error.code == "not_local":
        return ProxyError(f"the proxy at {address.url} can only be stopped from the machine it runs on")
    return ProxyError(f"the proxy at {address.url} refused: {error.code}")
