"""Decision: which rules match a message or an event, and which actions follow. Takes none of them.

rules in their order ── on? conditions? ──▸ its actions ── continue? ──▸ the next rule …
                                        no rule: the default's, for a message; nothing, for an event
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fabric.rules.fill import Context
from fabric.rules.item import Item
from fabric.rules.model import Action, Rule, RuleSet
from fabric.rules.template import TemplateName


class Planned(NamedTuple):
    """One action of one rule, to be taken for one item."""

    rule: Rule
    #: Index among the rule's actions.
    number: int
    item: Item
    names: Mapping[str, TemplateName] = {}

    @property
    def action(self) -> Action:
        """The action."""
        return self.rule.actions[self.number]

    @property
    def kind(self) -> str:
        """`print`, `inbox`, `exec`, `route`, `publish` or `send`."""
        return self.action.kind

    def context(self, *, colour: bool = False) -> Context:
        """The context of its templates."""
        return Context(self.item, self.rule.name, self.names, colour)


class Decision(NamedTuple):
    """All actions for one item."""

    matched: tuple[Rule, ...]
    #: The matched rules, or the default if there are none.
    acting: tuple[Rule, ...]
    planned: tuple[Planned, ...]


def decide(rules: RuleSet, item: Item) -> Decision:
    """Match `item` against `rules`, in order, up to the first match without `continue`."""
    matched = []
    for rule in rules.rules:
        if rule.on == item.kind and rule.conditions.match(item):
            matched.append(rule)
            if not rule.goes_on:
                break
    acting = list(matched)
    if not matched and rules.default is not None and item.kind == "message":
        acting.append(rules.default)
    return Decision(
        tuple(matched),
        tuple(acting),
        tuple(Planned(rule, number, item, rules.names) for rule in acting for number in range(len(rule.actions))),
    )
