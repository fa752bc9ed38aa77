"""Asks a running proxy: the client half of STATS and STOP.

Whether there is a proxy is asked of its socket and of nothing else; a pid in a file tells who was there. What can be
wrong has three names, because each is mended in another way:

    NotRunning     nothing listens there                                               start one
    NotReachable   no permission, no such host, no way to it                           look at the address
    NotAnswering   something takes connections and says nothing, or nothing of ours    it is stopped, stuck, or no proxy
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

from fabric.config.settings import Address
from fabric.errors import ProxyError, WireError
from fabric.protocol import verbs
from proxy.stats import ProxyStats, stats_from

#: Seconds that a proxy may take to answer. It answers within a millisecond; a machine that swaps may not.
TIMEOUT = 3.0
#: Seconds after which a connection that has answered before is doubted.
REUSE_TIMEOUT = 0.5
_NOTHING_LISTENS = (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


class NoAnswer(ProxyError):
    """No proxy answered at `url`. `state` says in two words which of the three it is."""

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
    """The address could not be reached, so nobody can tell whether a proxy is there."""

    state = "not reachable"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, f"cannot reach {url}: {why}")


class NotAnswering(NoAnswer):
    """Something listens, and does not answer as a proxy does."""

    state = "not answering"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, f"something listens at {url}, but {why}")


class Status(NamedTuple):
    """What a proxy says of itself, and who is there."""

    stats: ProxyStats
    endpoints: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    #: There are more than fit into one message.
    truncated: bool

    @property
    def who(self) -> str:
        """The proxy in a few words."""
        return self.stats.who


def status(address: Address, timeout: float = TIMEOUT, *, topics: int = 0, nodes: int = 0) -> Status:
    """Ask the proxy at `address` how it is, and who is there; its record has the busiest `topics` and so many `nodes`.

    NotRunning, NotReachable or NotAnswering if it does not say.
    """
    query = {"topics": topics, "nodes": nodes}
    record, listed = _query(
        address, [verbs.Stats("stats", query), verbs.List("list", {})], [verbs.Record, verbs.Listed], timeout
    )
    listing = listed.listing
    truncated = listing.get("truncated") is True
    return Status(_stats(address, record), _rows(listing, "endpoints"), _rows(listing, "nodes"), truncated)


def stats(address: Address, timeout: float = TIMEOUT, *, topics: int = 0, nodes: int = 0) -> ProxyStats:
    """The statistics record of the proxy at `address`, with the busiest `topics` and so many `nodes`; errors as above."""
    (record,) = _query(address, [verbs.Stats("stats", {"topics": topics, "nodes": nodes})], [verbs.Record], timeout)
    return _stats(address, record)


class StatsClient:
    """Asks one proxy for its record again and again, over one connection: for whoever looks once a second.

    One thread at a time. Nothing is connected before the first question, and nothing is left of a connection that did
    not answer: a question that waits in a socket would be the next proxy's to answer.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._dealer: zmq.Socket[bytes] | None = None

    def stats(self, timeout: float = TIMEOUT, *, topics: int = 0, nodes: int = 0) -> ProxyStats:
        """As the function `stats`. An answer that does not come is asked for once more, over a new connection."""
        deadline = monotonic() + timeout
        question = [verbs.Stats("stats", {"topics": topics, "nodes": nodes})]
        try:
            found = self._exchange(question, min(timeout, REUSE_TIMEOUT)) if self._dealer is not None else None
            if found is None:  # the first time, or a proxy was restarted, and what was on its way is gone
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
        """Let go of the connection; the next question makes another."""
        if self._dealer is not None and self._context is not None:
            self._dealer.close(linger=0)
            self._context.term()
        self._context = self._dealer = None


def libraries() -> tuple[str, ...]:
    """What this process runs on, each with its version: Python, pyzmq, libzmq, orjson."""
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
    """Ask the proxy at `address` to end, and return when it has agreed to. ProxyError if it will not."""
    _query(address, [verbs.Stop("stop")], [verbs.Bye], timeout)


def _rows(listing: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = listing.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def check(address: Address, timeout: float = TIMEOUT) -> None:
    """Return if something listens at `address`. NotRunning or NotReachable if not, NotAnswering if it is stuck."""
    try:
        if address.directory is None:
            host = address.host.strip("[]")
            # Whoever listens everywhere listens here.
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
    except BlockingIOError:  # how a unix socket says that its queue is full
        raise NotAnswering(address.url, "it takes no more connections") from None
    except OSError as error:
        if error.errno in _NOTHING_LISTENS:
            raise NotRunning(address.url) from None
        raise NotReachable(address.url, (error.strerror or str(error)).lower()) from None


def _query(address: Address, questions: Sequence[Any], answers: Sequence[type], timeout: float) -> list[Any]:
    """Say `questions`, and wait for one answer of each kind."""
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
        check(address, timeout)  # it may have ended meanwhile
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
