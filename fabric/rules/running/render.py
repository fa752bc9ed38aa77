"""From a planned action to what is handed out: text, arguments, payload. ValueError says why it cannot be."""

from __future__ import annotations

from typing import Any

import orjson

from fabric.protocol.topics import check_topic, is_reserved
from fabric.rules.fill import Context, in_topic, plain, shown, value
from fabric.rules.item import HOPS, MAX_HOPS, STAMPED, Item
from fabric.rules.match import Planned
from fabric.rules.model import (
    DEFAULT_FORMATS,
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

#: Bytes of one argument; execve takes 128 KiB, and whoever wants all of a text finds it on stdin.
MAX_ARGUMENT = 32 * 1024


def text_of(planned: Planned, *, colour: bool = False) -> str:
    """What `print`, `inbox` and `route` show; with a program for a format, what is shown if that fails."""
    action = planned.action
    assert isinstance(action, PrintAction | InboxAction | RouteAction)
    template = action.format
    if template is None or isinstance(template, ProgramFormat):
        template = DEFAULT_FORMATS[action.kind, planned.item.kind]
    return shown(template, planned.context(colour=colour), limit=action.limit)


def command_of(planned: Planned) -> Command | None:
    """The program that the action runs, if it does."""
    action = planned.action
    if isinstance(action, ExecAction):
        return action.command
    found = getattr(action, "format", None)
    return found.command if isinstance(found, ProgramFormat) else None


def arguments(command: Command, context: Context) -> list[str]:
    """Each argument is one, whatever is in it: no line breaks or other controls, no NUL, of bounded length.

    One that begins with a value which begins with `-` would be an option to the program: that is refused, unless `--`
    stands before it.
    """
    said: list[str] = []
    for number, template in enumerate(command.argv, 1):
        text = shown(template, context, limit=MAX_ARGUMENT).replace("\0", "")
        data = text.encode(errors="replace")
        if len(data) > MAX_ARGUMENT:
            text = data[:MAX_ARGUMENT].decode(errors="ignore")
        if template.begins_with_a_value and text.startswith("-") and "--" not in said:
            raise ValueError(f'argument {number} would be taken for an option: {text[:40]!r} (put "--" before it)')
        said.append(text)
    return said


def variables(command: Command, context: Context) -> dict[str, str]:
    """The variables besides `FABRIC_*`, as they are."""
    return {name: plain(template, context) for name, template in command.environment}


def facts(planned: Planned) -> dict[str, Any]:
    """What a program gets on its stdin."""
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
    except TypeError as error:  # what can be read may be nested too deeply to be written
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
    """The endpoint of `send`. Nobody who sends something makes it a broadcast."""
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
    """What `publish` and `send` say."""
    action = planned.action
    assert isinstance(action, PublishAction | SendAction)
    item = planned.item
    template = action.payload if isinstance(action, PublishAction) else action.body
    body = _as_it_came(action, item) if template is None else _filled(template, planned.context())
    return {**body, HOPS: _next_hop(item)}


def _as_it_came(action: PublishAction | SendAction, item: Item) -> dict[str, Any]:
    if isinstance(action, SendAction) or item.kind == "event":
        return dict(item.body)
    # A sender's `src`, `ts` or `type` would pass for the event's own.
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
