"""A multi-process event fabric: every process has a local bus, and a proxy connects the buses of all processes.

    import fabric

    fabric.subscribe("tui.**", print)                       # events of this process …
    node = fabric.connect("gateway")                        # … and from now on of all processes
    fabric.publish("tui.tool.start", {"name": "grep"})

The public names are those in `__all__`; `docs/` describes them and their guarantees.
"""

from fabric._version import __version__ as __version__
from fabric.bus.bus import Bus
from fabric.bus.capture import Capture
from fabric.bus.stream import EventStream
from fabric.bus.subscription import Subscription
from fabric.config.endpoint_name import endpoint_name
from fabric.config.settings import Settings
from fabric.errors import (
    AddressInUse,
    AlreadyConnected,
    BadMessage,
    Closed,
    DeliveryTimeout,
    DeliveryUnknown,
    EndpointBusy,
    FabricError,
    MessageError,
    MessageTooLarge,
    NameTaken,
    NoSuchEndpoint,
    NotConnected,
    NotReady,
    ProxyError,
    Refused,
    RemoteError,
    SenderNotOwned,
    SettingsError,
    WireError,
)
from fabric.log_events import LogEvents, logging_handler
from fabric.messages.endpoint import Endpoint
from fabric.messages.message import Message
from fabric.messages.receipt import Receipt
from fabric.node.connect import connect, default_bus, send_once
from fabric.node.drain import Drained
from fabric.node.node import Node
from fabric.protocol.envelope import Envelope

publish = default_bus.publish
subscribe = default_bus.subscribe
unsubscribe = default_bus.unsubscribe
on = default_bus.on

__all__ = [
    "AddressInUse",
    "AlreadyConnected",
    "BadMessage",
    "Bus",
    "Capture",
    "Closed",
    "DeliveryTimeout",
    "DeliveryUnknown",
    "Drained",
    "Endpoint",
    "EndpointBusy",
    "Envelope",
    "EventStream",
    "FabricError",
    "LogEvents",
    "Message",
    "MessageError",
    "MessageTooLarge",
    "NameTaken",
    "NoSuchEndpoint",
    "Node",
    "NotConnected",
    "NotReady",
    "ProxyError",
    "Receipt",
    "Refused",
    "RemoteError",
    "SenderNotOwned",
    "Settings",
    "SettingsError",
    "Subscription",
    "WireError",
    "connect",
    "default_bus",
    "endpoint_name",
    "logging_handler",
    "on",
    "publish",
    "send_once",
    "subscribe",
    "unsubscribe",
]
