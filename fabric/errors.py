"""All errors that the fabric raises, and their causes.

    FabricError
    ├── SettingsError          a setting is wrong: names it, its source and the allowed values       (ValueError)
    ├── WireError              invalid bytes; decoders raise this and nothing else                   (ValueError)
    ├── NotReady               a barrier (`wait_ready`) exceeded its timeout                         (TimeoutError)
    ├── AlreadyConnected       this bus has joined another fabric, or this one with other options
    ├── Closed                 the node, endpoint or stream was closed
    ├── ProxyError             the proxy cannot start, or none runs where one is needed
    │   └── AddressInUse       another proxy holds the address; names it
    └── MessageError           an addressed message or a registration failed
        ├── NotConnected       no link to the proxy before the deadline
        ├── NoSuchEndpoint     no node has registered that name; lists similar ones
        ├── EndpointBusy       the inbox of the endpoint and the pipe to it are full
        ├── MessageTooLarge    over the limit; raised at the sender                                  (ValueError)
        ├── BadMessage         a body that cannot be encoded: no object, NaN, too deep, …            (ValueError)
        ├── NameTaken          another node holds the name; says which
        ├── SenderNotOwned     `sender=` names an endpoint that this node has not registered
        ├── DeliveryTimeout    no acknowledgement before the deadline                                (TimeoutError)
        ├── DeliveryUnknown    the holder was lost after the message had been sent to it
        ├── Refused            the holder or the proxy refused it, with a code and a reason
        └── RemoteError        the handler of a request raised; has type and text of the exception

All facts are attributes, so that a program need not parse the text.
"""

from __future__ import annotations

from collections.abc import Sequence


class FabricError(Exception):
    """Base of all errors of this package."""


class SettingsError(FabricError, ValueError):
    """A setting is wrong. `name` is the setting, `source` the origin of its value, `problem` the error."""

    def __init__(self, name: str, source: str, problem: str) -> None:
        super().__init__(f"{name} (from {source}): {problem}")
        self.name = name
        self.source = source
        self.problem = problem


class WireError(FabricError, ValueError):
    """Bytes from the network that are invalid in our protocol."""


class NotReady(FabricError, TimeoutError):
    """A barrier did not complete in time. `what` was not ready, `url` is the proxy's address, `waited` seconds.

    `reason` is the proxy's reason for rejecting this node, if it has: `full` (descriptors or nodes), `version`.
    """

    def __init__(self, what: str, *, url: str, waited: float, reason: str = "") -> None:
        if reason == "full":
            why = f"the proxy at {url} is full and turns newcomers away. Give it more file descriptors (ulimit -n)"
        elif reason == "version":
            why = f"the proxy at {url} speaks another version of the protocol. Install the same version at both ends"
        else:
            why = f"no proxy answers at {url}, or it is stopped. Is one running? (fabric proxy --url {url})"
        super().__init__(f"{what} was not ready after {waited:g} s: {why}")
        self.what = what
        self.url = url
        self.waited = waited
        self.reason = reason


class AlreadyConnected(FabricError):
    """The bus is connected already, to another address or with other options. `url` is the present one."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"this bus has already joined {url}: {problem}. Close that node first, or use another Bus().")
        self.url = url


class Closed(FabricError):
    """The node, endpoint or stream was closed."""


class ProxyError(FabricError):
    """The proxy cannot start, or none runs where one is needed."""


class AddressInUse(ProxyError):
    """Another proxy holds the address. `url` is the address, `holder` a description of the other proxy."""

    def __init__(self, url: str, holder: str) -> None:
        super().__init__(f"{url} is held by another proxy ({holder})")
        self.url = url
        self.holder = holder


class MessageError(FabricError):
    """An addressed message or a registration failed. `to` is the name of the endpoint ('' if none)."""

    def __init__(self, text: str, *, to: str = "") -> None:
        super().__init__(text)
        self.to = to


class NotConnected(MessageError):
    """No link to the proxy before the deadline."""


class NoSuchEndpoint(MessageError):
    """No node has registered that name. `similar` are registered names that resemble it, best first."""

    def __init__(self, to: str, similar: Sequence[str] = ()) -> None:
        hint = f"; did you mean {', '.join(repr(name) for name in similar)}?" if similar else ""
        super().__init__(f"no endpoint is called {to!r}{hint}", to=to)
        self.similar = tuple(similar)


class EndpointBusy(MessageError):
    """The inbox of the endpoint, and the pipe to it, are full."""


class MessageTooLarge(MessageError, ValueError):
    """Over the limit. `size` and `limit` are in bytes."""

    def __init__(self, to: str, size: int, limit: int) -> None:
        super().__init__(f"a message of {size:,} bytes to {to!r} is over the limit of {limit:,}", to=to)
        self.size = size
        self.limit = limit


class BadMessage(MessageError, ValueError):
    """A body that cannot be encoded."""


class NameTaken(MessageError):
    """Another node holds the name. `holder` has its node name, pid and host."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"the endpoint name {name!r} is held by {holder}", to=name)
        self.holder = holder


class SenderNotOwned(MessageError):
    """`sender` is no name that this node has registered."""

    def __init__(self, sender: str, *, to: str) -> None:
        super().__init__(f"cannot send as {sender!r}: this node has not registered that name", to=to)
        self.sender = sender


class DeliveryTimeout(MessageError, TimeoutError):
    """No acknowledgement before the deadline. `waited`: seconds."""

    def __init__(self, to: str, waited: float) -> None:
        super().__init__(f"{to!r} did not acknowledge within {waited:g} s", to=to)
        self.waited = waited


class DeliveryUnknown(MessageError):
    """The holder was lost after the message had been sent to it; it may or may not have handled it."""


class Refused(MessageError):
    """Refused by the holder or the proxy. `code` is the code on the wire, `detail` the reason as text."""

    def __init__(self, to: str, code: str, detail: str) -> None:
        super().__init__(f"{to!r} refused the message: {detail or code}", to=to)
        self.code = code
        self.detail = detail


class RemoteError(MessageError):
    """The handler of a request raised. `type` is the class name of its exception, `text` the message."""

    def __init__(self, to: str, type: str, text: str) -> None:
        super().__init__(f"the handler of {to!r} raised {type}: {text}", to=to)
        self.type = type
        self.text = text
