"""A planned action → its text, arguments, topic, payload. ValueError if the item cannot be used for it.

Takes no action: `fabric.rules.running.actions` does, and `describe` shows what it would do.
"""

from __future__ import annotations

from typing import Any

import orjson

from fabric.protocol.topics import check_topic, is_reserved
from fabric.rules.fill import Context, in_topic, plain, shown, value
from fabric.rules.item import HOPS, MAX_HOPS, STAMPED, Item
from fabric.rules.match import Planned
from fabric.rules.model import (
    DEFAULT_FORMATS,
    Action,
    Command,
    ExecAction,
    InboxAction,
    PrintAction,
    ProgramFormat,
    PublishAction,
    RouteAction,
    SendAction,
)
from fabric.rules.template import Template

#: Bytes of one argument; execve takes 128 KiB. A longer text is on stdin, whole.
MAX_ARGUMENT = 32 * 1024


def text_of(planned: Planned, *, colour: bool = False) -> str:
    """The text of `print`, `inbox` and `route`. If the format is a program: the default text, used if the program fails."""
    action = planned.action
    assert isinstance(action, PrintAction | InboxAction | RouteAction)
    template = action.format
    if template is None or isinstance(template, ProgramFormat):
        template = DEFAULT_FORMATS[action.kind, planned.item.kind]
    return shown(template, planned.context(colour=colour), limit=action.limit)


def command_of(action: Action) -> Command | None:
    """The program that the action runs, if any."""
    if isinstance(action, ExecAction):
        return action.command
    found = getattr(action, "format", None)
    return found.command if isinstance(found, ProgramFormat) else None


def arguments(command: Command, context: Context) -> list[str]:
    """The arguments of a program: each of bounded length, without line breaks, other controls or NUL.

    ValueError for a value that begins with `-` at the beginning of an argument, because the program would take it for an
    option; not after an argument `--`.
    """
    made: list[str] = []
    for number, template in enumerate(command.argv, 1):
        text = shown(template, context, limit=MAX_ARGUMENT).replace("\0", "")
        data = text.encode(errors="replace")
        if len(data) > MAX_ARGUMENT:
            text = data[:MAX_ARGUMENT].decode(errors="ignore")
        if template.begins_with_a_value and text.startswith("-") and "--" not in made:
            raise ValueError(f'argument {number} would be taken for an option: {text[:40]!r} (put "--" before it)')
        made.append(text)
    return made


def variables_of(command: Command, context: Context) -> dict[str, str]:
    """The environment variables besides `FABRIC_*`; values unchanged."""
    return {name: plain(template, context) for name, template in command.environment}


def facts(planned: Planned) -> dict[str, Any]:
    """The item and the rule, as a program gets them on its stdin."""
    item = planned.item
    if item.kind == "message":
        return {**item.source, "request": item.request, "rule": planned.rule.name}
    return {
        "type": "event",
        "topic": item.topic,
        "from": item.sender,
        "ts": item.ts,
        "body": item.body,
        "rule": planned.rule.name,
    }


def encoded(planned: Planned) -> bytes:
    """`facts` as a line of JSON."""
    try:
        return orjson.dumps(facts(planned)) + b"\n"
    except TypeError as error:  # nested deeper than orjson writes, which is less than it reads
        raise ValueError(f"it cannot be handed on: {error}") from None


def topic_of(planned: Planned) -> str:
    """The topic of `publish`."""
    action = planned.action
    assert isinstance(action, PublishAction)
    topic = check_topic(in_topic(action.topic, planned.context()))
    if is_reserved(topic):
        raise ValueError(f"{topic!r} is one of the system's own topics")
    return topic


def receiver_of(planned: Planned) -> str:
    """The endpoint of `send`. ValueError for `*` from a message: a sender must not be able to cause a broadcast."""
    action = planned.action
    assert isinstance(action, SendAction)
    to = plain(action.to, planned.context())
    if to == "*" and not action.to.is_fixed:
        raise ValueError("'*' is everybody, and only a rule itself may say that")
    return to


def channel_of(planned: Planned) -> str:
    """The channel of `route`."""
    action = planned.action
    assert isinstance(action, RouteAction)
    if channel := plain(action.channel, planned.context()):
        return channel
    raise ValueError("there is no channel to route to")


def body_of(planned: Planned) -> dict[str, Any]:
    """The body of `publish` and `send`, with the hop counted."""
    action = planned.action
    assert isinstance(action, PublishAction | SendAction)
    item = planned.item
    template = action.payload if isinstance(action, PublishAction) else action.body
    body = _unchanged(action, item) if template is None else _filled(template, planned.context())
    return {**body, HOPS: _next_hop(item)}


def _unchanged(action: PublishAction | SendAction, item: Item) -> dict[str, Any]:
    if isinstance(action, SendAction) or item.kind == "event":
        return dict(item.body)
    # `src`, `ts` and `type` of the message would become those of the event.
    own = {key: value for key, value in item.body.items() if key not in STAMPED}
    return {**own, "from": item.sender, "message_type": item.type}


def _next_hop(item: Item) -> int:
    if item.hops >= MAX_HOPS:
        raise ValueError(f"{item.hops} rules have passed it on: they answer each other in a circle, cut here")
    return item.hops + 1


def _filled(template: Any, context: Context) -> Any:
    if isinstance(template, Template):
        return value(template, context)
    if isinstance(template, dict):
        return {key: _filled(each, context) for key, each in template.items()}
    if isinstance(template, list):
        return [_filled(each, context) for each in template]
    return template
