"""Rules in words: what one does, and what would be done for a message. For `fabric rules ls` and `test`."""

from __future__ import annotations

from typing import Any

from fabric.rules.match import Planned
from fabric.rules.model import (
    Action,
    ExecAction,
    InboxAction,
    PrintAction,
    PublishAction,
    RouteAction,
    Rule,
    SendAction,
)
from fabric.rules.running.render import (
    arguments,
    body_of,
    channel_of,
    command_of,
    receiver_of,
    text_of,
    topic_of,
)
from fabric.rules.template import Field, Template
from fabric.system.terminal import to_json


def conditions(rule: Rule) -> str:
    """When it matches, in a few words."""
    said = [
        f"{key} {' or '.join(each.text or '(none)' for each in patterns)}" for key, patterns in rule.conditions.names
    ]
    for where in rule.conditions.where:
        wanted = " or ".join(to_json(getattr(each, "text", each)) for each in where.values)
        said.append(f"{where.text} {wanted}")
    return ", ".join(said) or "any"


def actions(rule: Rule) -> str:
    """What it does, in a few words."""
    return ", ".join(_action(each) for each in rule.actions) or "nothing"


def _action(action: Action) -> str:
    if isinstance(action, ExecAction):
        return f"exec {_text(action.command.argv[0]).rpartition('/')[2]}"
    if isinstance(action, PublishAction):
        return f"publish {_text(action.topic)}"
    if isinstance(action, SendAction):
        return f"send {_text(action.to)}"
    return action.kind


def _text(template: Template) -> str:
    """A template as it was written, nearly."""
    return "".join(part if isinstance(part, str) else _placeholder(part) for part in template.parts)


def _placeholder(field: Field) -> str:
    return "{" + ".".join((field.name, *field.keys)) + (f":{field.spec}" if field.spec else "") + "}"


def plan(planned: Planned) -> dict[str, Any]:
    """What would be done: `rule`, `action`, and by what it is: `text`, `argv`, `topic`, `payload` …; or `problem`.

    A program is not run: where its output would be shown, `program` says which.
    """
    said: dict[str, Any] = {"rule": planned.rule.name, "action": planned.kind}
    try:
        return said | _details(planned)
    except ValueError as error:
        return said | {"problem": str(error)}


def _details(planned: Planned) -> dict[str, Any]:
    action = planned.action
    command = command_of(planned)
    if isinstance(action, ExecAction):
        return {"argv": arguments(action.command, planned.context()), "timeout": action.command.timeout}
    if isinstance(action, PublishAction):
        return {"topic": topic_of(planned), "payload": body_of(planned)}
    if isinstance(action, SendAction):
        return {"to": receiver_of(planned), "body": body_of(planned)}
    assert isinstance(action, PrintAction | InboxAction | RouteAction)
    said: dict[str, Any] = {"channel": channel_of(planned)} if isinstance(action, RouteAction) else {}
    if command is not None:
        return said | {"program": arguments(command, planned.context())}
    return said | {"text": text_of(planned)}
