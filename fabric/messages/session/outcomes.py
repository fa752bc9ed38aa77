"""The outcomes of a session: values for its shell, to be handled in order. Each reports one thing that has happened.

    link                       Welcomed   Disconnected
    registrations              NameRegistered   NameRefused   NameLost
    messages and requests      Delivered   RequestReplied   CallFailed
    incoming messages          Arrived
    queries of other nodes     QueryArrived
    queries to other nodes     QuerySent   QueryReply   QueryFailed
    queries to the proxy       Listing   RetainedPage   CallFailed

Every id given to the session ends in exactly one of: Delivered (a message), RequestReplied (a request, after its
Delivered), Listing, RetainedPage (a query to the proxy), QueryFailed without an origin (a query to other nodes that its
caller did not cancel), or CallFailed; unless it was cancelled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fabric.errors import FabricError, MessageError


class Welcomed(NamedTuple):
    """The proxy knows us. Our names are being registered; messages without an acknowledgement are sent again."""

    proxy: str
    heartbeat: float
    timeout: float
    max_bytes: int


class Disconnected(NamedTuple):
    """The proxy is gone, or does not know us any more. The session goes on sending HELLO by itself."""

    reason: str


class NameRegistered(NamedTuple):
    """A name is ours, for the first time or again. After a reconnect the session may differ, and with `suffix` the name."""

    key: int
    name: str
    session: str


class NameRefused(NamedTuple):
    """A name was not granted. `key` is invalid from now on."""

    key: int
    name: str
    error: MessageError


class NameLost(NamedTuple):
    """A name that was ours belongs to another node: `replaced`, or `taken` while we were away. `key` is invalid now."""

    key: int
    name: str
    reason: str
    error: MessageError | None


class Delivered(NamedTuple):
    """`holders` have the message in their inbox: one, or for a broadcast any number."""

    id: str
    holders: int


class RequestReplied(NamedTuple):
    """The return value of a request's handler."""

    id: str
    value: Any


class CallFailed(NamedTuple):
    """A message, a request or a query to the proxy has failed."""

    id: str
    error: FabricError


class Arrived(NamedTuple):
    """A new message for one of our endpoints. The shell calls `accept` or `refuse`."""

    key: int
    endpoint: str
    id: str
    message: dict[str, Any]
    request: bool
    #: Its sender waits until then (on our clock).
    deadline: float


class QueryArrived(NamedTuple):
    """A query of another node. The shell calls `tell(query, …)`, any number of times."""

    id: str
    back: bytes
    body: bytes


class QuerySent(NamedTuple):
    """A query to all other nodes has gone to `nodes` of them: that many QueryReply or QueryFailed follow."""

    id: str
    nodes: int


class QueryReply(NamedTuple):
    """The answer of the node of that origin. There may be more: the shell calls `cancel` when it has enough."""

    id: str
    origin: bytes
    body: bytes


class QueryFailed(NamedTuple):
    """No answer: `gone`, `busy`, `disconnected`, `timeout`. Without an origin no more answers follow."""

    id: str
    origin: bytes
    reason: str


class Listing(NamedTuple):
    """The endpoints and nodes that are present. `truncated`: there are more than fit into one message."""

    id: str
    endpoints: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    truncated: bool


class RetainedPage(NamedTuple):
    """A page of retained events, each `[topic, origin, number, envelope]`; see `fabric.events.retained`."""

    id: str
    events: list[list[Any]]
    more: bool
    after: int
    mark: int | None
