"""The error that a code on the wire stands for: why the proxy or a holder refused a message, a name or a query.

    no_such_endpoint   NoSuchEndpoint        too_large    MessageTooLarge     name_taken   NameTaken
    busy               EndpointBusy          not_owned    SenderNotOwned      any other    Refused

Codes and details come from the network: facts that are missing or of the wrong type are left out.
"""

from __future__ import annotations

from typing import Any

from fabric.errors import (
    EndpointBusy,
    MessageError,
    MessageTooLarge,
    NameTaken,
    NoSuchEndpoint,
    Refused,
    SenderNotOwned,
)


def refusal(to: str, code: str, detail: dict[str, Any]) -> MessageError:
    """The error for a code on the wire, with the facts in `detail`; missing ones are left out."""
    if code == "no_such_endpoint":
        similar = detail.get("similar")
        return NoSuchEndpoint(to, [str(name) for name in similar] if isinstance(similar, list) else ())
    if code == "busy":
        return EndpointBusy(f"{to!r} is busy: its inbox, or the pipe towards it, is full", to=to)
    if code == "too_large":
        return MessageTooLarge(to, _number(detail, "size"), _number(detail, "limit"))
    if code == "not_owned":
        return SenderNotOwned(str(detail.get("sender", "")), to=to)
    if code == "name_taken":
        return NameTaken(to, str(detail.get("holder", "another node")))
    return Refused(to, code, str(detail.get("text", "")))


def _number(detail: dict[str, Any], key: str) -> int:
    value = detail.get(key)
    return value if isinstance(value, int) else 0
