"""Asks a running proxy: the client half of STATUS and STOP.

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
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

import zmq

from fabric import verbs
from fabric.errors import ProxyError, WireError
from fabric.settings import Address

#: Seconds that a proxy may take to answer. It answers within a millisecond; a machine that swaps may not.
TIMEOUT = 3.0
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
    """What a proxy says of itself. `state` has pid, host, url, boot, version, uptime, log, stats, …"""

    state: dict[str, Any]
    endpoints: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    #: There are more than fit into one message.
    truncated: bool

    @property
    def who(self) -> str:
        """The proxy in a few words."""
        return f"pid {self.state.get('pid')} on {self.state.get('host')}"


def status(address: Address, timeout: float = TIMEOUT) -> Status:
    """Ask the proxy at `address` how it is. NotRunning, NotReachable or NotAnswering if it does not say."""
    state, listed = _ask(
        address, [verbs.Status("status"), verbs.List("list", {})], [verbs.State, verbs.Listed], timeout
    )
    listing = listed.listing
    return Status(state.state, _rows(listing, "endpoints"), _rows(listing, "nodes"), listing.get("truncated") is True)


def stop(address: Address, timeout: float = TIMEOUT) -> None:
    """Ask the proxy at `address` to end, and return when it has agreed to. ProxyError if it will not."""
    _ask(address, [verbs.Stop("stop")], [verbs.Bye], timeout)


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


def _ask(address: Address, questions: Sequence[Any], answers: Sequence[type], timeout: float) -> list[Any]:
    """Say `questions`, and wait for one answer of each kind."""
    check(address, timeout)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.linger = 0
        dealer.ipv6 = ":" in address.host
        dealer.connect(address.messages.replace("//*:", "//127.0.0.1:"))
        found = _exchange(dealer, address, questions, answers, timeout)
    finally:
        dealer.close(linger=0)
        context.term()
    if found is None:
        check(address, timeout)  # it may have ended meanwhile
        raise NotAnswering(
            address.url, f"did not answer within {timeout:g} s: it is stopped or stuck, or it is no proxy"
        )
    return found


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
