"""Rules as values: a file of rules, read and checked.

RuleSet ── Rule ── Conditions        (fabric.rules.conditions)
              └── actions: Print Inbox Exec Route Publish Send, each with its settings
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fabric.errors import SettingsError
from fabric.rules.conditions import Conditions
from fabric.rules.template import Template, TemplateName, template


class RulesError(SettingsError):
    """A file of rules is wrong. `file`, `line` (None if unknown), `key`, and `problem` are its parts.

    A key reads as `rule 'done': print.format`; it is empty where the whole file is meant.
    """

    def __init__(self, file: str, line: int | None, key: str, problem: str) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(key, place, problem)
        self.args = (f"{place}: {key}: {problem}" if key else f"{place}: {problem}",)
        self.file = file
        self.line = line
        self.key = key


#: Default of `limit`, characters of values in one text: for a line on a terminal, and for a text that is read as a whole.
PRINT_LIMIT = 4_000
TEXT_LIMIT = 100_000


@dataclass(frozen=True)
class Command:
    """A program and its limits. Each template makes exactly one argument."""

    argv: tuple[Template, ...]
    #: Seconds.
    timeout: float
    #: Environment variables besides `FABRIC_*`.
    environment: tuple[tuple[str, Template], ...] = ()
    #: After this number of consecutive failures the program is skipped for `cooldown` seconds.
    max_failures: int = 3
    cooldown: float = 300.0


@dataclass(frozen=True)
class ProgramFormat:
    """A format that is a program: its output is the text."""

    command: Command
    #: Whether colours in its output are kept.
    colour: bool = False


Format = Template | ProgramFormat


@dataclass(frozen=True)
class PrintAction:
    """Show a line."""

    kind: ClassVar[str] = "print"
    format: Format | None = None
    limit: int = PRINT_LIMIT


@dataclass(frozen=True)
class InboxAction:
    """Hand a text to the host."""

    kind: ClassVar[str] = "inbox"
    format: Format | None = None
    limit: int = TEXT_LIMIT
    #: Whether a busy host gets it at once, instead of when it is idle again.
    now: bool = False


@dataclass(frozen=True)
class ExecAction:
    """Run a program."""

    kind: ClassVar[str] = "exec"
    command: Command
    concurrency: int = 1
    queue: int = 1_000
    #: Whether its output answers a request.
    answer: bool = False


@dataclass(frozen=True)
class RouteAction:
    """Hand a text to the router, for a channel."""

    kind: ClassVar[str] = "route"
    channel: Template
    format: Format | None = None
    limit: int = TEXT_LIMIT
    queue: int = 1_000
    #: `print`, `inbox` or empty: fallback for a text that could not be routed.
    otherwise: str = ""


@dataclass(frozen=True)
class PublishAction:
    """Publish an event. `payload` is JSON with templates for its texts; None: the body of the item, unchanged."""

    kind: ClassVar[str] = "publish"
    topic: Template
    payload: Any = None


@dataclass(frozen=True)
class SendAction:
    """Send a message. `body` as `PublishAction.payload`."""

    kind: ClassVar[str] = "send"
    to: Template
    body: Any = None
    #: Seconds.
    timeout: float = 5.0


Action = PrintAction | InboxAction | ExecAction | RouteAction | PublishAction | SendAction
KINDS = ("print", "inbox", "exec", "route", "publish", "send")

#: Format of an action that has none, by kind of action and of item.
DEFAULT_FORMATS: Mapping[tuple[str, str], Template] = {
    ("print", "message"): template("{ts:%H:%M:%S}  {color:from}{name}{reset}  {summary}"),
    ("print", "event"): template("{ts:%H:%M:%S}  {topic}  {summary}"),
    ("inbox", "message"): template("{summary:lines}"),
    ("inbox", "event"): template("{topic}: {summary:lines}"),
    ("route", "message"): template("{summary:lines}"),
    ("route", "event"): template("{topic}: {summary:lines}"),
}


@dataclass(frozen=True)
class Rule:
    """Conditions for messages (or events), and actions."""

    name: str
    on: str = "message"
    conditions: Conditions = field(default_factory=Conditions)
    actions: tuple[Action, ...] = ()
    #: Whether later rules may match, too.
    goes_on: bool = False
    #: Line in its file.
    line: int | None = None


DEFAULT = "default"


@dataclass(frozen=True)
class RuleSet:
    """A whole file."""

    rules: tuple[Rule, ...] = ()
    #: For messages that no rule matches.
    default: Rule | None = None
    #: Endpoint → the name and colour it is shown with.
    names: Mapping[str, TemplateName] = field(default_factory=dict)
    #: The endpoint that they are for; empty if the file names none.
    endpoint: str = ""

    @property
    def topics(self) -> tuple[str, ...]:
        """Patterns of the topics that rules for events need, each once."""
        return tuple(
            dict.fromkeys(
                pattern for rule in self.rules if rule.on == "event" for pattern in rule.conditions.patterns("topic")
            )
        )
