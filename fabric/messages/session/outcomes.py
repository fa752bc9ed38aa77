"""What a session has to tell its shell: values in a list, read in order, each about one thing that has happened.

    of our link      Welcomed   Disconnected
    of our names     Registered   NotRegistered   Lost
    of what we sent  Delivered   Replied   Failed
    of what came     Arrived
    of other nodes   Asked   AskedAll   Told   Untold   Listed
    of past events   Kept

Every id handed to the session ends in exactly one of: Delivered (a message), Replied (a request, after its Delivered),
Listed (a list), Kept (last events), or Failed; unless it was cancelled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fabric.errors import FabricError, MessageError


class Welcomed(NamedTuple):
    """The proxy knows us; our names are being registered and what was not acknowledged is sent again."""

    proxy: str
    heartbeat: float
    timeout: float
    max_bytes: int


class Disconnected(NamedTuple):
    """The proxy is gone, or does not know us any more. The session goes on trying by itself."""

    reason: str


class NameRegistered(NamedTuple):
    """A name is ours, at first or again. After a reconnect the session, and with `suffix` the name, may be another."""

    key: int
    name: str
    session: str


class NameRefused(NamedTuple):
    """A name could not be had; `key` is of no more use."""

    key: int
    name: str
    error: MessageError


class NameLost(NamedTuple):
    """A name that was ours is somebody else's: `replaced`, or `taken` while we were away. `key` is of no more use."""

    key: int
    name: str
    reason: str
    error: MessageError | None


class Delivered(NamedTuple):
    """So many holders have the message in their inbox: one, or for a broadcast any number."""

    id: str
    holders: int


class RequestReplied(NamedTuple):
    """What the handler of a request returned."""

    id: str
    value: Any


class CallFailed(NamedTuple):
    """A message, request or list has come to nothing."""

    id: str
    error: FabricError


class Arrived(NamedTuple):
    """A message for one of our endpoints, never seen before. The shell answers `accept` or `refuse`."""

    key: int
    endpoint: str
    id: str
    message: dict[str, Any]
    request: bool
    #: Until then its sender waits (on our clock).
    deadline: float


class QueryArrived(NamedTuple):
    """Another node asks us something. The shell answers `tell(asked, …)`, any number of times."""

    id: str
    back: bytes
    body: bytes


class QuerySent(NamedTuple):
    """A question to all other nodes has gone out to so many: that many Told or Untold follow."""

    id: str
    nodes: int


class QueryReply(NamedTuple):
    """An answer of the node of that origin. There may be more: the shell says `cancel` when it has enough."""

    id: str
    origin: bytes
    body: bytes


class QueryFailed(NamedTuple):
    """No answer: `gone`, `busy`, `disconnected`, `timeout`. Without an origin nothing more will come."""

    id: str
    origin: bytes
    reason: str


class Listing(NamedTuple):
    """`truncated`: there are more than fit into one message."""

    id: str
    endpoints: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    truncated: bool


class RetainedPage(NamedTuple):
    """A page of the last events of topics: `[topic, origin, number, envelope]` each; see `fabric.events.retained`."""

    id: str
    events: list[list[Any]]
    more: bool
    after: int
    mark: int | None
