"""Rules in words: conditions and actions of a rule, actions for a message. For `fabric rules ls` and `test`."""

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
from fabric.system.terminal import to_json


def conditions(rule: Rule) -> str:
    """The conditions of a rule in a few words."""
    words = [
        f"{key} {' or '.join(each.text or '(none)' for each in patterns)}" for key, patterns in rule.conditions.names
    ]
    for where in rule.conditions.where:
        wanted = " or ".join(to_json(getattr(each, "text", each)) for each in where.values)
        words.append(f"{where.text} {wanted}")
    return ", ".join(words) or "any"


def actions(rule: Rule) -> str:
    """The actions of a rule in a few words."""
    return ", ".join(_action(each) for each in rule.actions) or "nothing"


def _action(action: Action) -> str:
    if isinstance(action, ExecAction):
        return f"exec {str(action.command.argv[0]).rpartition('/')[2]}"
    if isinstance(action, PublishAction):
        return f"publish {action.topic}"
    if isinstance(action, SendAction):
        return f"send {action.to}"
    return action.kind


def plan(planned: Planned) -> dict[str, Any]:
    """What an action would do: `rule`, `action`, and depending on its kind `text`, `argv`, `topic`, `payload` …

    In place of these `problem`, if it would fail. Programs are not run: a format that is one is shown as `program`.
    """
    found: dict[str, Any] = {"rule": planned.rule.name, "action": planned.kind}
    try:
        return found | _details(planned)
    except ValueError as error:
        return found | {"problem": str(error)}


def _details(planned: Planned) -> dict[str, Any]:
    action = planned.action
    if isinstance(action, ExecAction):
        return {"argv": arguments(action.command, planned.context()), "timeout": action.command.timeout}
    if isinstance(action, PublishAction):
        return {"topic": topic_of(planned), "payload": body_of(planned)}
    if isinstance(action, SendAction):
        return {"to": receiver_of(planned), "body": body_of(planned)}
    assert isinstance(action, PrintAction | InboxAction | RouteAction)
    found: dict[str, Any] = {"channel": channel_of(planned)} if isinstance(action, RouteAction) else {}
    if (command := command_of(action)) is not None:
        return found | {"program": arguments(command, planned.context())}
    return found | {"text": text_of(planned)}
