"""Which rules match a message or an event, and what is to be done then. Does none of it.

rules in their order ── on? conditions? ──▸ its actions ── continue? ──▸ the next rule …
                                        no rule: the default's, for a message; nothing, for an event
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fabric.rules.item import Item
from fabric.rules.model import Action, Rule, RuleSet
from fabric.rules.template import Context, TemplateName


class Planned(NamedTuple):
    """One action of one rule, for one item."""

    rule: Rule
    #: Which of the rule's actions.
    number: int
    item: Item
    names: Mapping[str, TemplateName] = {}

    @property
    def action(self) -> Action:
        """What is to be done."""
        return self.rule.actions[self.number]

    @property
    def kind(self) -> str:
        """`print`, `inbox`, `exec`, `route`, `publish` or `send`."""
        return self.action.kind

    def context(self, *, colour: bool = False) -> Context:
        """What its templates are filled in with."""
        return Context(self.item, self.rule.name, self.names, colour)


class Decision(NamedTuple):
    """All that is to be done for one item."""

    #: The rules that matched.
    matched: tuple[Rule, ...]
    #: These, or the default if there are none.
    acting: tuple[Rule, ...]
    planned: tuple[Planned, ...]


def decide(rules: RuleSet, item: Item) -> Decision:
    """What `rules` say about `item`."""
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
