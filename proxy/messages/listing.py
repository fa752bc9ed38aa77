"""The answer to LIST: the endpoints and nodes of a registry, as JSON.

    {"proxy": boot id, "endpoints": [row, …], "nodes": [row, …], "truncated": true?}

    endpoint    endpoint, session, node, origin, pid, host, shared, since, seen
    node        node, origin, pid, host, program, endpoints (their number), since, seen

`since` and `seen` are unix seconds. `truncated` is present only if rows were left out to fit the size limit of a message.

Pure. This module reads the registry and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from proxy.messages.records import NodeRecord, RegistrationRecord
from proxy.messages.registry import Registry


def listing(registry: Registry, boot: str, epoch: float, endpoint: str = "", *, nodes: bool = True) -> dict[str, Any]:
    """All endpoints, or those called `endpoint`; and the nodes, unless `nodes` is False.

    `epoch` is the wall clock at 0 of the monotonic clock that the records use.
    """
    registrations: Iterable[RegistrationRecord] = registry.sessions.open.values()
    if endpoint:
        holders = registry.names.get(endpoint.encode())
        registrations = [] if holders is None else holders.members
    return {
        "proxy": boot,
        "endpoints": [_endpoint_row(registry, registration, epoch) for registration in registrations],
        "nodes": [_node_row(node, epoch) for node in registry.nodes.values()] if nodes else [],
    }


def encode_listing(found: dict[str, Any], max_bytes: int) -> bytes:
    """A listing as JSON of at most `max_bytes`.

    A larger answer would make the asker's socket close its connection. Rows are halved until the rest fits.
    """
    data = orjson.dumps(found)
    while len(data) > max_bytes and (found["endpoints"] or found["nodes"]):
        found = {
            **found,
            "endpoints": found["endpoints"][: len(found["endpoints"]) // 2],
            "nodes": found["nodes"][: len(found["nodes"]) // 2],
            "truncated": True,
        }
        data = orjson.dumps(found)
    return data


def _endpoint_row(registry: Registry, registration: RegistrationRecord, epoch: float) -> dict[str, Any]:
    node = registration.node
    return {
        "endpoint": registration.name.decode(),
        "session": registration.session.decode(),
        **node.facts(),
        "shared": registry.names[registration.name].shared,
        "since": epoch + registration.since,
        "seen": epoch + node.seen,
    }


def _node_row(node: NodeRecord, epoch: float) -> dict[str, Any]:
    return {
        **node.facts(),
        "program": node.identity.program,
        "endpoints": len(node.registrations),
        "since": epoch + node.since,
        "seen": epoch + node.seen,
    }
