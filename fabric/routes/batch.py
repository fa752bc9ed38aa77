"""A batch: texts of one channel that are sent as one, and its rounds through the senders of the platform.

    round 1: 1st sender ──ok──▸ sent
               └─ failed ─▸ 2nd sender … ─▸ last ──▸ back-off ──▸ round 2 … at most `attempts` rounds ──▸ undeliverable

A sender that refuses for good is not asked again in later rounds. Knows no channels' queues and no clock: that is
`fabric.routes.scheduler`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fabric.routes.model import Result

#: Seconds, at most, of a pause that a sender asks for.
MAX_RETRY_AFTER = 300.0


@dataclass(frozen=True)
class Policy:
    """How a platform is sent to. Durations are seconds."""

    #: Between the starts of two sends to one channel.
    interval: float = 1.0
    #: Rounds through the senders.
    attempts: int = 5
    #: Pause after the first round that failed. It doubles with each further round, up to the maximum.
    backoff: float = 1.0
    max_backoff: float = 30.0
    #: Limits of one send. A longer text is sent alone, uncut.
    max_texts: int = 100
    max_characters: int = 20_000


class QueuedText(NamedTuple):
    """One text. `item` belongs to the caller, and is not looked at."""

    channel: str
    text: str
    item: Any = None


@dataclass(eq=False)
class PlatformSender:
    """One sender of a platform, and its load."""

    name: str
    #: Called by the router, not here.
    send: Any
    timeout: float = 10.0
    needs_chat: bool = True
    concurrency: int = 8
    #: Calls that run, and those of them that have exceeded their timeout.
    calls: int = 0
    hanging: int = 0
    sent: int = 0
    failed: int = 0
    #: Channels that wait for a free slot.
    queue: deque[str] = field(default_factory=deque)

    @property
    def is_full(self) -> bool:
        """Whether all slots are taken."""
        return self.calls >= self.concurrency

    @property
    def is_stuck(self) -> bool:
        """Whether all slots are taken by calls that hang."""
        return self.hanging >= self.concurrency


class ChannelSenders(NamedTuple):
    """The senders of a channel at one moment, its chat (empty: none), and the policy of its platform."""

    senders: tuple[PlatformSender, ...]
    chat: str
    policy: Policy


@dataclass(eq=False)
class Batch:
    """Texts that are sent as one. Times are monotonic seconds."""

    number: int
    channel: str
    texts: tuple[QueuedText, ...]
    route: ChannelSenders
    #: Calls of senders so far.
    attempts: int = 0
    #: When the next round may begin.
    not_before: float = 0.0
    _round: int = 1
    #: Index of the next sender to ask.
    _position: int = 0
    #: Senders that refused for good.
    _refused: set[PlatformSender] = field(default_factory=set)
    #: Failures of this round.
    _problems: list[str] = field(default_factory=list)
    #: Longest pause that a sender asked for in this round.
    _retry_after: float = 0.0

    def next_sender(self) -> PlatformSender | None:
        """The next sender to ask in this round, which may be full; None if none is left. Skips those that cannot send."""
        while self._position < len(self.route.senders):
            sender = self.route.senders[self._position]
            if sender in self._refused:
                self._position += 1
            elif sender.needs_chat and not self.route.chat:
                self._refused.add(sender)
                self._problems.append(f"{sender.name}: the channel has no chat, and its platform no default")
            elif sender.is_stuck:
                sender.failed += 1
                self._problems.append(f"{sender.name}: {sender.hanging} calls of it hang")
                self._position += 1
            else:
                return sender
        return None

    def failed(self, sender: PlatformSender, result: Result) -> None:
        """Note the failure of a sender; the next one is asked."""
        self._problems.append(f"{sender.name}: {result.problem or 'failed'}")
        self._retry_after = max(self._retry_after, min(result.after, MAX_RETRY_AFTER))
        if not result.retry:
            self._refused.add(sender)
        self._position += 1

    def next_round(self, now: float) -> bool:
        """After the last sender: begin another round, not before `not_before`. False if the batch is undeliverable."""
        policy = self.route.policy
        if self._round >= policy.attempts or all(sender in self._refused for sender in self.route.senders):
            return False
        backoff = min(policy.max_backoff, policy.backoff * 2 ** min(self._round - 1, 30))
        self.not_before = now + max(backoff, self._retry_after)
        self._round += 1
        self._position, self._retry_after = 0, 0.0
        self._problems.clear()
        return True

    def problem(self, last: str = "") -> str:
        """The failures of this round, and `last`, as one text."""
        problems = [*self._problems, last] if last else self._problems
        return "; ".join(problems) or "nobody sends to its platform"
