"""Tools for language models: send to an endpoint, list the endpoints, describe this node.

    for tool in fabric.tools.tools(node, sender="lead-agent"):
        host.register(name=tool.name, description=tool.description, parameters=tool.parameters, handler=tool)

A tool is called with a dict of arguments, or with keywords, and returns a text, also for an error: it never raises. It
runs in this process: no program, no shell, no argument that could be taken for an option. In a coroutine: `await
tool.acall(…)`. Names given by other programs are escaped (`fabric.system.terminal`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fabric.errors import NotReady
from fabric.system.terminal import safe

if TYPE_CHECKING:
    from fabric.node.node import Node

#: Characters of a text, and names of endpoints, in an answer.
MAX_SHOWN = 60
MAX_NAMED = 100
_TYPES = "directive, ack, progress, task_start, task_complete, task_error, need_decision"
_TEXT = {"type": "string"}


@dataclass(frozen=True)
class Tool:
    """One tool. `parameters` is a JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]
    handler: Callable[[dict[str, Any]], str]

    def __call__(self, arguments: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """Call it. An error is a text that begins with `Failed: `. Blocks for the timeout of `tools` at most."""
        try:
            given = {**(arguments or {}), **more}
            problem = problem_with(given, self.parameters)
            return f"Failed: {problem}" if problem else self.handler(given)
        except Exception as error:
            return f"Failed: {safe(str(error) or type(error).__name__)}"

    async def acall(self, arguments: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """The awaitable twin, on a thread of its own."""
        import asyncio

        return await asyncio.to_thread(self, arguments, **more)

    def schema(self) -> dict[str, Any]:
        """Name, description and parameters, in the form that models get."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}


def tools(node: Node, *, sender: str = "", timeout: float = 5.0) -> list[Tool]:
    """The tools of `node`. They send as its endpoint `sender`, without one as `anonymous:` and the node's name.

    `timeout`: seconds for each call.
    """
    handlers = _Handlers(node, sender, timeout)
    return [
        Tool(
            "bus_send",
            "Send a message to another program or agent on the bus, by the name of its endpoint. It says whether the "
            "message was delivered. bus_status tells which names there are.",
            _object(
                {
                    "target": _TEXT | {"description": "The endpoint's exact name; * is everybody.", "minLength": 1},
                    "type": _TEXT
                    | {"description": f"What kind of message it is, one word: {_TYPES}, …", "minLength": 1},
                    "text": _TEXT | {"description": "The message itself."},
                    "channel": _TEXT
                    | {
                        "description": "Where an answer for a person belongs. Hand on the channel of the message that this "
                        "answers, unchanged; else leave it out."
                    },
                },
                ("target", "type", "text"),
            ),
            handlers.send,
        ),
        Tool(
            "bus_status",
            "Say whether the bus is running, and which endpoints are connected to it.",
            _object({}, ()),
            handlers.status,
        ),
        Tool(
            "bus_info",
            "Say who you are on the bus: your endpoint's name and session, and whether you are connected.",
            _object({}, ()),
            handlers.info,
        ),
    ]


def _object(properties: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def problem_with(arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """The first error in the arguments, as a sentence for a model; empty if there is none. Optional ones may be null."""
    properties = parameters["properties"]
    for name in parameters["required"]:
        if arguments.get(name) is None:
            return f"the argument {name!r} is missing"
    for name, value in arguments.items():
        if name not in properties:
            known = ", ".join(properties) or "no arguments"
            return f"there is no argument {safe(str(name))!r}: {known}"
        if value is not None and not isinstance(value, str):
            return f"the argument {name!r} is text, not {type(value).__name__}"
        if value is not None and not value.strip() and properties[name].get("minLength"):
            return f"the argument {name!r} is empty"
    return ""


class _Handlers:
    """The handlers of the tools of one node."""

    def __init__(self, node: Node, sender: str, timeout: float) -> None:
        self._node = node
        self._sender = sender
        self._timeout = timeout

    def send(self, given: dict[str, Any]) -> str:
        """`bus_send`."""
        target, text = given["target"], given["text"]
        receipt = self._node.send(
            target,
            {"text": text},
            type=given["type"],
            channel=given.get("channel"),
            sender=self._sender,
            timeout=self._timeout,
        )
        holders = receipt.wait()
        shown = safe(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…")
        to = f"{holders} endpoints" if target == "*" else safe(target)
        return f"Sent {safe(given['type'])} to {to}: {shown}"

    def status(self, _given: dict[str, Any]) -> str:
        """`bus_status`."""
        try:
            members = self._node.members(self._timeout)
        except NotReady as error:
            return f"Bus not running: {safe(str(error))}"
        named = [f"{safe(str(each['endpoint']))} (sid={str(each['session'])[:8]})" for each in members.endpoints]
        if not named:
            return "Bus running. No connected endpoints."
        more = f", and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        also = " (not all are listed)" if members.truncated else ""
        return f"Bus running. Endpoints ({len(named)}){also}: {', '.join(sorted(named)[:MAX_NAMED])}{more}"

    def info(self, _given: dict[str, Any]) -> str:
        """`bus_info`."""
        node = self._node
        lines = [f"Endpoint: {safe(self._sender) or '(none)'}"]
        if self._sender and node.state == "up":
            mine = [each for each in node.members(self._timeout).endpoints if each["endpoint"] == self._sender]
            ours = [each for each in mine if each["origin"] == node.origin.hex()]
            lines.append(f"Session ID: {ours[0]['session'] if ours else '(not registered by this program)'}")
        lines += [f"Node: {safe(node.name)}", f"Bus: {safe(node.url)}", f"State: {node.state}"]
        return "\n".join(lines)
