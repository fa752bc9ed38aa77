"""Every error the fabric raises on purpose, and whose fault it is.

    FabricError
    ├── SettingsError          a setting is wrong: says which, where it came from, what it may be    (ValueError)
    ├── WireError              bytes that are not our protocol; decoders raise this and nothing else (ValueError)
    ├── NotReady               a wait_ready ran out of time                                          (TimeoutError)
    ├── AlreadyConnected       this bus has joined another fabric, or this one with other options
    ├── Closed                 the node, endpoint or stream was closed
    ├── ProxyError             the proxy cannot start, or there is none where one is needed
    │   └── AddressInUse       another proxy holds the address; names it
    └── MessageError           an addressed message or a registration failed
        ├── NotConnected       no link to the proxy, and none came before the deadline
        ├── NoSuchEndpoint     nobody has that name; names similar ones
        ├── EndpointBusy       its inbox and its pipe are full
        ├── MessageTooLarge    over the limit; found at the sender                                   (ValueError)
        ├── BadMessage         a body that cannot be carried: no object, NaN, too deep, …            (ValueError)
        ├── NameTaken          another node holds the name; says who
        ├── SenderNotOwned     `sender=` names an endpoint that is not ours
        ├── DeliveryTimeout    no acknowledgement before the deadline                                (TimeoutError)
        ├── DeliveryUnknown    its holder went away after the message had been sent to it
        ├── Refused            the holder or the proxy refused it for a reason of its own
        └── RemoteError        the handler of a request raised; carries type and text

The facts are attributes, so that a program never has to read the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence


class FabricError(Exception):
    """Root of all errors of this package."""


class SettingsError(FabricError, ValueError):
    """A setting is wrong. `name` is the setting, `source` where its value came from."""

    def __init__(self, name: str, source: str, problem: str) -> None:
        super().__init__(f"{name} (from {source}): {problem}")
        self.name = name
        self.source = source
        self.problem = problem


class WireError(FabricError, ValueError):
    """Bytes from the network that are not our protocol."""


class NotReady(FabricError, TimeoutError):
    """A barrier did not complete in time. `url` is the proxy's address, `waited` seconds.

    `reason` is why the proxy does not take us, if it has said so: `full` (descriptors or nodes), `version`.
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
    """The bus has joined a fabric already, elsewhere or with other options. `url` is the one it joined."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"this bus has already joined {url}: {problem}. Close that node first, or use another Bus().")
        self.url = url


class Closed(FabricError):
    """The node, endpoint or stream was closed."""


class ProxyError(FabricError):
    """The proxy cannot start, or there is none where one is needed."""


class AddressInUse(ProxyError):
    """Another proxy holds the address. `url` is the address, `holder` what is known of the other one."""

    def __init__(self, url: str, holder: str) -> None:
        super().__init__(f"{url} is held by another proxy ({holder})")
        self.url = url
        self.holder = holder


class MessageError(FabricError):
    """An addressed message or a registration failed. `to` is the endpoint it was about ('' if none)."""

    def __init__(self, text: str, *, to: str = "") -> None:
        super().__init__(text)
        self.to = to


class NotConnected(MessageError):
    """No link to the proxy, and none came before the deadline."""


class NoSuchEndpoint(MessageError):
    """Nobody has that name. `similar` are registered names that look like it, best first."""

    def __init__(self, to: str, similar: Sequence[str] = ()) -> None:
        hint = f"; did you mean {', '.join(repr(name) for name in similar)}?" if similar else ""
        super().__init__(f"no endpoint is called {to!r}{hint}", to=to)
        self.similar = tuple(similar)


class EndpointBusy(MessageError):
    """The endpoint's inbox, and the pipe towards it, are full."""


class MessageTooLarge(MessageError, ValueError):
    """Over the limit. `size` and `limit` are in bytes."""

    def __init__(self, to: str, size: int, limit: int) -> None:
        super().__init__(f"a message of {size:,} bytes to {to!r} is over the limit of {limit:,}", to=to)
        self.size = size
        self.limit = limit


class BadMessage(MessageError, ValueError):
    """A body that cannot be carried as it is."""


class NameTaken(MessageError):
    """Another node holds the name. `holder` says which: its node name, pid and host."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"the endpoint name {name!r} is held by {holder}", to=name)
        self.holder = holder


class SenderNotOwned(MessageError):
    """`sender` is not a name that this node has registered."""

    def __init__(self, sender: str, *, to: str) -> None:
        super().__init__(f"cannot send as {sender!r}: this node has not registered that name", to=to)
        self.sender = sender


class DeliveryTimeout(MessageError, TimeoutError):
    """No acknowledgement before the deadline. `waited` is in seconds."""

    def __init__(self, to: str, waited: float) -> None:
        super().__init__(f"{to!r} did not acknowledge within {waited:g} s", to=to)
        self.waited = waited


class DeliveryUnknown(MessageError):
    """The holder went away after the message had been sent to it: it may or may not have handled it."""


class Refused(MessageError):
    """Refused for a reason of the holder's or the proxy's own. `code` is the wire's word, `detail` its sentence."""

    def __init__(self, to: str, code: str, detail: str) -> None:
        super().__init__(f"{to!r} refused the message: {detail or code}", to=to)
        self.code = code
        self.detail = detail


class RemoteError(MessageError):
    """The handler of a request raised. `type` is the exception's class name there, `text` its message."""

    def __init__(self, to: str, type: str, text: str) -> None:
        super().__init__(f"the handler of {to!r} raised {type}: {text}", to=to)
        self.type = type
        self.text = text
